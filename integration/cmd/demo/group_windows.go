package main

import (
	"os/exec"
	"syscall"
)

// ownProcessGroup keeps the console's signals away from the process.
func ownProcessGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

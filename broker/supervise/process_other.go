//go:build !linux

package supervise

import "syscall"

// bindToParent does nothing: package group ends the child with this process.
func bindToParent() *syscall.SysProcAttr { return nil }

// residentMemory is not known on this system.
func residentMemory(int) int64 { return 0 }

//go:build unix

package supervise

import (
	"os"
	"syscall"
)

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// executable reports whether the system runs the file itself.
func executable(_ string, info os.FileInfo) bool { return info.Mode()&0o111 != 0 }

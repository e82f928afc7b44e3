package supervise

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/windows"
)

// terminate sends CTRL_BREAK, which Go and Python programs take for an
// interrupt. It reaches the child only if both share a console.
func terminate(p *os.Process) error {
	return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.Pid))
}

// executable reports whether the system runs the file itself.
func executable(path string, _ os.FileInfo) bool {
	return slices.Contains([]string{".exe", ".bat", ".cmd", ".com"}, strings.ToLower(filepath.Ext(path)))
}

package atomicfile

import (
	"errors"
	"syscall"
)

// errSharing is ERROR_SHARING_VIOLATION, which package syscall does not name.
const errSharing = syscall.Errno(32)

// inUse reports whether the error may be that another program has the file open.
// Windows says the same of a file that this user may never touch.
func inUse(err error) bool {
	return errors.Is(err, syscall.ERROR_ACCESS_DENIED) || errors.Is(err, errSharing)
}

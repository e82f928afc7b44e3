//go:build unix && (!linux || 386 || s390x)

package zmtp

import "syscall"

// send writes what the kernel takes at once.
func send(fd uintptr, b []byte) (int, error) {
	n, err := syscall.Write(int(fd), b)
	return max(n, 0), err
}

// vectored would send two buffers with one system call.
type vectored struct{}

// send leaves that to an ordinary write: two packets are worse.
func (*vectored) send(uintptr, []byte, []byte) (int, error) { return 0, syscall.ENOSYS }

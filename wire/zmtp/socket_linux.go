//go:build !386 && !s390x

package zmtp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// maxUnseen bounds the bytes of a call of which the runtime is not told: the garbage
// collector waits for its end. A pooled buffer of the usual size is less.
const maxUnseen = 128 << 10

// Flags of every call: it does not block even if somebody has made the socket such,
// through os.File.Fd, and a broken connection is an error, not a signal.
const dontWait = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL

// receive reads what has come, without blocking.
func receive(fd uintptr, b []byte) (int, error) {
	if raceDetector {
		n, err := syscall.Read(int(fd), b)
		return max(n, 0), err
	}
	return call(syscall.SYS_RECVFROM, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), dontWait, len(b))
}

// send writes what the kernel takes at once.
func send(fd uintptr, b []byte) (int, error) {
	if raceDetector {
		n, err := syscall.Write(int(fd), b)
		return max(n, 0), err
	}
	return call(syscall.SYS_SENDTO, fd, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), dontWait, len(b))
}

// vectored is the scratch of its send, which would escape.
type vectored struct {
	vectors [2]syscall.Iovec
	header  syscall.Msghdr
}

// send sends a and b with one system call: two would be two packets.
func (v *vectored) send(fd uintptr, a, b []byte) (int, error) {
	if raceDetector {
		n, err := send(fd, a)
		if n == len(a) {
			var more int
			more, err = send(fd, b)
			n += more
		}
		return n, err
	}
	for i, b := range [][]byte{a, b} {
		v.vectors[i].Base = unsafe.SliceData(b)
		v.vectors[i].SetLen(len(b))
	}
	v.header.Iov, v.header.Iovlen = &v.vectors[0], 2
	n, err := call(syscall.SYS_SENDMSG, fd, unsafe.Pointer(&v.header), dontWait, 0, len(a)+len(b))
	v.vectors = [2]syscall.Iovec{}
	return n, err
}

// call is a system call on a socket which moves up to size bytes. Its third and
// fourth argument are as the call has them.
func call(number, fd uintptr, p unsafe.Pointer, third, fourth uintptr, size int) (int, error) {
	var n uintptr
	var errno syscall.Errno
	if size <= maxUnseen && theMonitor.unseen() {
		n, _, errno = syscall.RawSyscall6(number, fd, uintptr(p), third, fourth, 0, 0)
	} else {
		n, _, errno = syscall.Syscall6(number, fd, uintptr(p), third, fourth, 0, 0)
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// source reads a connection; see monitor. Its fields belong to the read loop. The function
// and what it works on are here, and not on the stack, because they would escape.
type source struct {
	conn net.Conn
	raw  syscall.RawConn // nil if the connection is none of package net
	fn   func(fd uintptr) bool
	b    []byte
	n    int
	err  error
	dry  int // reads, of up to maxUnseen, that had to wait

	unread atomic.Bool // nobody has found the connection empty since the goroutine that reads it changed

	hangUp hangUp
}

func (s *source) init(conn net.Conn) {
	s.conn = conn
	if raw := rawOf(conn); raw != nil {
		s.raw, s.fn = raw, s.try
		s.hangUp.init()
	}
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	if s.raw == nil || len(b) > maxUnseen || len(b) == 0 {
		return s.conn.Read(b)
	}
	s.b = b
	err := s.raw.Read(s.fn)
	s.b = nil
	switch {
	case err != nil: // closed, or a deadline has passed: an error of raw would name another operation
		return s.conn.Read(b)
	case s.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: s.conn.LocalAddr(), Addr: s.conn.RemoteAddr(), Err: os.NewSyscallError("read", s.err)}
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}

// try reports whether there is an end to waiting for bytes.
func (s *source) try(fd uintptr) bool {
	for {
		s.n, s.err = receive(fd, s.b)
		switch {
		case errors.Is(s.err, syscall.EAGAIN):
			s.dry++
			if s.unread.Load() {
				s.unread.Store(false)
			}
			return false
		case !errors.Is(s.err, syscall.EINTR):
			return true
		}
	}
}

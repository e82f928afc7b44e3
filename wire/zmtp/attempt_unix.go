//go:build unix

package zmtp

import (
	"net"
	"syscall"
)

// attempt is a write that takes what the kernel takes at once and never waits. It
// belongs to the writer. The function and what it works on are here, and not on the
// stack, because they would escape: two allocations for each write.
type attempt struct {
	raw  syscall.RawConn // nil if the connection is none of package net: nothing can be tried
	fn   func(fd uintptr) bool
	b    []byte
	rest []byte // behind b
	n    int

	vectored vectored
}

// rawOf returns how system calls reach a connection, or nil. What embeds one of
// package net has that, too, but may read and write in a way of its own.
func rawOf(conn net.Conn) syscall.RawConn {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

func (a *attempt) init(conn net.Conn) {
	if raw := rawOf(conn); raw != nil {
		a.raw, a.fn = raw, a.try
	}
}

// write writes b and the rest behind it, and returns how many bytes were taken. What
// is wrong with the connection is for an ordinary write to find out.
func (a *attempt) write(b, rest []byte) int {
	if a.raw == nil {
		return 0
	}
	a.b, a.rest, a.n = b, rest, 0
	if err := a.raw.Write(a.fn); err != nil {
		a.n = 0
	}
	a.b, a.rest = nil, nil
	return a.n
}

func (a *attempt) try(fd uintptr) bool {
	switch {
	case len(a.rest) == 0:
		a.n, _ = send(fd, a.b)
	case len(a.b) == 0:
		a.n, _ = send(fd, a.rest)
	default:
		a.n, _ = a.vectored.send(fd, a.b, a.rest)
	}
	return true // whatever came of it: do not wait
}

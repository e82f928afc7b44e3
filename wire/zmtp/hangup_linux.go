//go:build !386 && !s390x

package zmtp

import (
	"syscall"
	"unsafe"
)

// hangUp is the scratch of source.hungUp, which would escape. Guarded by the link's mu.
type hangUp struct {
	ask    func(fd uintptr) // poll, as a value
	of     pollFD
	noWait syscall.Timespec // zero
	err    syscall.Errno
}

// pollFD is struct pollfd of poll(2).
type pollFD struct {
	fd      int32
	events  int16
	revents int16
}

// Events of poll(2), which package syscall does not have.
const (
	pollErr   = 0x8
	pollHup   = 0x10
	pollRdHup = 0x2000 // the peer has closed its side, whatever is still to be read
	pollEnd   = pollErr | pollHup | pollRdHup
)

// tells reports whether reads are counted in dry, and hungUp may be called, which the system may
// forbid. Nobody else may use s meanwhile.
func (s *source) tells() bool {
	return s.raw != nil && s.raw.Control(s.hangUp.ask) == nil && s.hangUp.err == 0
}

// hungUp reports whether the peer has closed its side of the connection, or that is broken. It
// does not wait, and needs the link's mu.
func (s *source) hungUp() bool {
	return s.raw.Control(s.hangUp.ask) == nil && s.hangUp.of.revents&pollEnd != 0
}

func (h *hangUp) init() { h.ask = h.poll }

func (h *hangUp) poll(fd uintptr) {
	h.of = pollFD{fd: int32(fd), events: pollRdHup}
	_, _, h.err = syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&h.of)), 1, uintptr(unsafe.Pointer(&h.noWait)), 0, 0, 0)
}

//go:build !linux || 386 || s390x

package zmtp

import (
	"net"
	"sync/atomic"
)

// source reads a connection.
type source struct {
	net.Conn
	dry    int         // not counted
	unread atomic.Bool // never set
}

func (s *source) init(conn net.Conn) { s.Conn = conn }

// tells reports whether reads are counted in dry, and hungUp may be called.
func (s *source) tells() bool { return false }

func (s *source) hungUp() bool { return false }

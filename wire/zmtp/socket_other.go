//go:build !linux || 386 || s390x

package zmtp

import "net"

// source reads a connection.
type source struct{ net.Conn }

func (s *source) init(conn net.Conn) { s.Conn = conn }

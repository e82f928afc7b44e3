package curve

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// commands is zmtp.Commands over a bare connection: frames of handshake
// commands, no greeting.
type commands struct {
	net.Conn
	held  atomic.Int64             // nanoseconds asked of Hold
	alter func(body []byte) []byte // what WriteCommand sends instead; nil sends body
}

var errTooLong = errors.New("command exceeds the limit")

func (c *commands) ReadCommand(limit int) ([]byte, error) {
	flags, body, err := readFrame(c.Conn, limit)
	if err == nil && flags&^zmtp.FlagLong != zmtp.FlagCommand {
		return nil, errors.New("frame is not a command")
	}
	return body, err
}

func (c *commands) WriteCommand(body []byte) error {
	if c.alter != nil {
		body = c.alter(append([]byte(nil), body...))
	}
	return writeFrame(c.Conn, zmtp.FlagCommand, body)
}

func (c *commands) Hold(d time.Duration) { c.held.Add(int64(d)) }

func readFrame(r io.Reader, limit int) (zmtp.FrameFlags, []byte, error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	flags, size := zmtp.FrameFlags(head[0]), uint64(head[1])
	if flags&zmtp.FlagLong != 0 {
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	if size > uint64(limit) {
		return 0, nil, errTooLong
	}
	body := make([]byte, size)
	_, err := io.ReadFull(r, body)
	return flags, body, err
}

func writeFrame(w io.Writer, flags zmtp.FrameFlags, body []byte) error {
	var frame []byte
	if len(body) <= 255 {
		frame = append(frame, byte(flags), byte(len(body)))
	} else {
		frame = binary.BigEndian.AppendUint64([]byte{byte(flags | zmtp.FlagLong)}, uint64(len(body)))
	}
	_, err := w.Write(append(frame, body...))
	return err
}

// outcome is what one side's handshake returned.
type outcome struct {
	zmtp.Security
	err error
}

// shake runs both sides of a handshake over a pipe. Each side closes its end
// when it fails, as a link does.
func shake(t testing.TB, client, server zmtp.Mechanism, alter ...func(c, s *commands)) (c, s outcome, cc, sc *commands) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	cc, sc = &commands{Conn: a}, &commands{Conn: b}
	for _, f := range alter {
		f(cc, sc)
	}
	deadline := time.Now().Add(30 * time.Second)
	_ = a.SetDeadline(deadline)
	_ = b.SetDeadline(deadline)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Security, s.err = server.Handshake(sc, serverMetadata)
		if s.err != nil {
			b.Close()
		}
	}()
	c.Security, c.err = client.Handshake(cc, clientMetadata)
	if c.err != nil {
		a.Close()
	}
	<-done
	return c, s, cc, sc
}

var (
	clientMetadata = zmtp.Metadata{{Name: "Socket-Type", Value: "DEALER"}, {Name: "Identity", Value: ""}}
	serverMetadata = zmtp.Metadata{{Name: "Socket-Type", Value: "ROUTER"}}
)

func admitAll(PublicKey, zmtp.Metadata) (any, error) { return "subject", nil }

// pair returns a client and a server that know each other.
func pair() (*Client, *Server) {
	server := &Server{Key: GenerateKey(), Admit: admitAll}
	return &Client{Key: GenerateKey(), ServerKey: server.Key.Public()}, server
}

//go:build !386 && !s390x

package zmtp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// How a connection ends looks as it does from the connection itself.
func TestSource_ends(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(ours, theirs *net.TCPConn)
		want func(error) bool
	}{
		{"the peer closes", func(_, theirs *net.TCPConn) { theirs.Close() }, func(err error) bool { return err == io.EOF }},
		{"the peer resets", func(_, theirs *net.TCPConn) { _ = theirs.SetLinger(0); theirs.Close() }, func(err error) bool {
			var of *net.OpError
			return errors.Is(err, syscall.ECONNRESET) && errors.As(err, &of) && of.Op == "read" && of.Addr != nil
		}},
		{"we close", func(ours, _ *net.TCPConn) { ours.Close() }, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		{"a deadline passes", func(ours, _ *net.TCPConn) { _ = ours.SetReadDeadline(time.Unix(1, 0)) }, func(err error) bool {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}},
	} {
		for _, waits := range []bool{false, true} {
			ours, theirs := connected(t)
			var s source
			s.init(ours)
			if _, err := theirs.Write([]byte("first")); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			if _, err := io.ReadFull(&s, b[:5]); err != nil || string(b[:5]) != "first" {
				t.Fatalf("%s: got %q, %v", test.name, b[:5], err)
			}
			failed := make(chan error)
			read := func() { _, err := s.Read(b); failed <- err }
			if waits {
				go read()
				test.end(ours, theirs)
			} else {
				test.end(ours, theirs)
				go read()
			}
			if err := <-failed; !test.want(err) {
				t.Errorf("%s, while it is read %v: %v", test.name, waits, err)
			}
		}
	}
}

// own is a connection that has read some bytes already, and counts what it writes.
type own struct {
	*net.TCPConn
	head    io.Reader
	written int
}

func (o *own) Read(b []byte) (int, error) {
	if n, err := o.head.Read(b); err == nil {
		return n, nil
	}
	return o.TCPConn.Read(b)
}

func (o *own) Write(b []byte) (int, error) {
	o.written += len(b)
	return o.TCPConn.Write(b)
}

// What embeds a connection of package net is asked itself.
func TestLink_connectionWithItsOwnWay(t *testing.T) {
	ours, theirs := connected(t)
	o := &own{TCPConn: ours, head: bytes.NewReader([]byte("\x00\x01a"))}
	l := nullLink(o, Limits{})
	var got []byte
	ended := run(l, func(m *Message) error {
		got = append(got, m.Frame(0)...)
		if _, err := l.AppendHeld(func(dst []byte) []byte { return append(dst, got...) }); err != nil {
			return err
		}
		l.Flush()
		return nil
	})
	if _, err := theirs.Write([]byte("\x00\x01b")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 7)
	if _, err := io.ReadFull(theirs, answer); err != nil || string(answer) != "\x00\x01a\x00\x02ab" {
		t.Errorf("the peer got %q, %v", answer, err)
	}
	theirs.Close()
	if err := <-ended; err != io.EOF || string(got) != "ab" || o.written != len(answer) {
		t.Errorf("%v after %q; it wrote %d of %d bytes itself", err, got, o.written, len(answer))
	}
}

// A socket that somebody has made blocking stops nobody but who reads it.
func TestSource_blockingSocket(t *testing.T) {
	ours, theirs := connected(t)
	f, err := ours.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.SetNonblock(int(f.Fd()), false); err != nil { // of both of them
		t.Fatal(err)
	}
	var s source
	s.init(ours)
	got := make(chan string)
	go func() {
		b := make([]byte, 100)
		for {
			n, err := s.Read(b)
			if err != nil {
				close(got)
				return
			}
			got <- string(b[:n])
		}
	}()
	for range 10 { // the first is a call of which the runtime knows
		if _, err := theirs.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if b := <-got; b != "x" {
			t.Errorf("got %q", b)
		}
		runtime.GC() // stops all that run
	}
	theirs.Close()
	<-got
}

// What comes before a write of whoever shares this process comes before what a link
// does with it: the race detector knows that.
func TestSource_afterTheWrite(t *testing.T) {
	ours, theirs := connected(t)
	x := 0
	l := nullLink(ours, Limits{})
	ended := run(l, func(m *Message) error {
		x++
		_, err := l.AppendHeld(func(dst []byte) []byte { return append(dst, 'b') })
		l.Flush()
		return err
	})
	for range 10 {
		x++
		if _, err := theirs.Write([]byte("\x00\x01a")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(theirs, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
	}
	theirs.Close()
	if err := <-ended; err != io.EOF || x != 20 {
		t.Errorf("%v, and x is %d", err, x)
	}
}

package chaos

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echoServer answers every byte with itself and reports how each connection ended.
func echoServer(t *testing.T) (addr string, ended chan error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	ended = make(chan error, 16)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, err := io.Copy(c, c)
				c.Close()
				ended <- err
			}()
		}
	}()
	return listener.Addr().String(), ended
}

func TestProxy(t *testing.T) {
	target, ended := echoServer(t)
	p, err := NewProxy("127.0.0.1:0", target)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	send := func(c net.Conn) {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	read := func(c net.Conn, wait time.Duration) error {
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}

	c := dial()
	send(c)
	if err := read(c, time.Minute); err != nil {
		t.Fatal("passing on:", err)
	}

	p.Freeze()
	send(c)
	if err := read(c, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("frozen:", err)
	}
	p.Thaw()
	if err := read(c, time.Minute); err != nil {
		t.Fatal("thawed:", err)
	}

	p.Cut()
	if err := read(c, time.Minute); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("cut:", err)
	}
	<-ended

	for _, forTarget := range []bool{true, false} {
		c = dial()
		send(c)
		if err := read(c, time.Minute); err != nil {
			t.Fatal("after a cut:", err)
		}
		p.HalfOpen(forTarget)
		if !forTarget {
			if err := read(c, time.Minute); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("half-open: the near end sees", err)
			}
			select {
			case err := <-ended:
				t.Fatal("half-open: the far end saw", err)
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if err := <-ended; err == nil {
			t.Fatal("half-open: the far end must see a reset")
		}
		send(c)
		if err := read(c, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("half-open: the near end sees", err)
		}
	}
}

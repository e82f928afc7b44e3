package zmtp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// pair returns the two ends of a link over loopback TCP, with Run under way on
// neither. Both are closed when the test ends.
func pair(t testing.TB, a, b *Config) (*Link, *Link) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type result struct {
		link *Link
		err  error
	}
	accepted := make(chan result, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			accepted <- result{nil, err}
			return
		}
		link, err := Handshake(context.Background(), conn, a)
		accepted <- result{link, err}
	}()
	dialled, err := Dial(t.Context(), "tcp://"+ln.Addr().String(), b)
	if err != nil {
		t.Fatal(err)
	}
	r := <-accepted
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.link.Close(nil); dialled.Close(nil) })
	return r.link, dialled
}

// connected returns the two ends of a TCP connection, which the test closes.
func connected(t *testing.T) (ours, theirs *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

func nullPair(t testing.TB) (router, dealer *Link) {
	return pair(t, &Config{SocketType: "ROUTER", Mechanism: Null{}}, &Config{SocketType: "DEALER", Mechanism: Null{}})
}

// run starts l.Run and returns a channel with its result.
func run(l *Link, handle func(*Message) error) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- l.Run(handle) }()
	return ended
}

func TestLink_carriesMessagesOfEverySize(t *testing.T) {
	router, dealer := nullPair(t)
	echoed := run(router, func(m *Message) error {
		frames := make([][]byte, m.Len())
		for i := range frames {
			frames[i] = bytes.Clone(m.Frame(i))
		}
		return router.Send(frames...)
	})
	got := make(chan [][]byte, 1)
	ended := run(dealer, func(m *Message) error {
		var frames [][]byte
		for i := range m.Len() {
			frames = append(frames, bytes.Clone(m.Frame(i)))
		}
		got <- frames
		return nil
	})
	for _, size := range []int{0, 1, 255, 256, 511, 512, 65535, 65536, 1 << 20, 8 << 20} {
		want := [][]byte{nil, bytes.Repeat([]byte{byte(size)}, size), []byte("tail")}
		if err := dealer.Send(want...); err != nil {
			t.Fatal(err)
		}
		frames := <-got
		if len(frames) != 3 || !bytes.Equal(frames[1], want[1]) || string(frames[2]) != "tail" {
			t.Fatalf("a message around %d bytes came back changed", size)
		}
	}
	dealer.Finish()
	if err := <-echoed; !errors.Is(err, io.EOF) {
		t.Errorf("the router's link ended with %v, want EOF", err)
	}
	router.Close(nil)
	if err := <-ended; err == nil {
		t.Error("the dealer's link ended without a cause")
	}
}

func TestLink_batchesEnvelopesAndCutsLargeOnes(t *testing.T) {
	router, dealer := nullPair(t)
	var got []byte
	done := make(chan struct{})
	total := 0
	for i := range 2000 {
		total += 100 + i%7
	}
	total += 3 << 20
	ended := run(router, func(m *Message) error {
		got = append(got, m.Bytes()...)
		if len(got) == total {
			close(done)
		}
		return nil
	})
	dealerEnded := run(dealer, func(*Message) error { return nil })
	var want []byte
	appendBytes := func(b []byte) {
		start, err := dealer.Append(func(dst []byte) []byte { return append(dst, b...) })
		if err != nil {
			t.Fatal(err)
		}
		if start != uint64(len(want)) {
			t.Fatalf("stream offset %d, want %d", start, len(want))
		}
		want = append(want, b...)
	}
	for i := range 2000 {
		if i == 1000 {
			appendBytes(bytes.Repeat([]byte("large"), 3<<20/5+1)[:3<<20])
		}
		appendBytes(bytes.Repeat([]byte{byte(i)}, 100+i%7))
	}
	<-done
	if !bytes.Equal(got, want) {
		t.Error("the stream of envelopes came changed")
	}
	dealer.Finish()
	<-ended
	router.Close(nil)
	<-dealerEnded
	if h := dealer.Handed(); h != uint64(total) {
		t.Errorf("handed over %d bytes, want %d", h, total)
	}
}

func TestLink_pingIsAnsweredWithItsContext(t *testing.T) {
	router, dealer := nullPair(t)
	ended := run(router, func(*Message) error { return nil })
	if err := dealer.sendCommand(AppendPing(nil, 10, []byte("context"))); err != nil {
		t.Fatal(err)
	}
	want := append([]byte{4, 12}, "\x04PONGcontext"...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(dealer.conn, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("answer %q, %v; want %q", got, err, want)
	}
	router.Close(nil)
	<-ended
}

func TestLink_silentPeerIsCut(t *testing.T) {
	router, _ := nullPair(t)
	ended := run(router, func(*Message) error { return nil })
	router.Beat(time.Now().Add(16*time.Second), 5*time.Second, 15*time.Second)
	if err := <-ended; !errors.Is(err, ErrSilent) {
		t.Errorf("ended with %v, want ErrSilent", err)
	}
}

func TestLink_handlerPanicEndsOnlyTheLink(t *testing.T) {
	router, dealer := nullPair(t)
	ended := run(router, func(*Message) error { panic("boom") })
	if err := dealer.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	var p *PanicError
	if err := <-ended; !errors.As(err, &p) || p.Value != "boom" || len(p.Stack) == 0 {
		t.Errorf("ended with %v, want a PanicError with its stack", err)
	}
}

func byteCount(n int) string {
	if n >= 1<<10 {
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " B"
}

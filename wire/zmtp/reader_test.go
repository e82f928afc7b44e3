package zmtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// readConn is a connection that is only read.
type readConn struct {
	io.Reader
	deadConn
}

func (c readConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }

// readAll returns what Run delivers of a stream, each message as its frames.
func readAll(t testing.TB, r io.Reader, limits Limits) ([][]string, error) {
	t.Helper()
	l := newLink(readConn{Reader: r}, Security{Sealer: nullRecord{}, Opener: nullRecord{}}, limits.withDefaults())
	var got [][]string
	err := l.Run(func(m *Message) error {
		var frames []string
		for i := range m.Len() {
			frames = append(frames, string(m.Frame(i)))
		}
		if string(m.Bytes()) != strings.Join(frames, "") {
			t.Error("Bytes is not the concatenation of the frames")
		}
		got = append(got, frames)
		return nil
	})
	return got, err
}

// frames returns the wire form of one message.
func frames(bodies ...string) (b []byte) {
	for i, body := range bodies {
		flags := FlagMore
		if i == len(bodies)-1 {
			flags = 0
		}
		b = append(AppendFrameHeader(b, flags, len(body)), body...)
	}
	return b
}

// The buffer's size may never show: every way to cut a stream gives the same messages.
func TestReader_anyCutOfTheStream(t *testing.T) {
	var stream []byte
	var want [][]string
	for _, n := range []int{0, 1, 8, 62, 64, 255, 256, 502, 503, 504, 512, 1000, 65527, 66560, 66561, 140000, 300000} {
		message := []string{"", strings.Repeat("x", n), "tail"}
		stream = append(stream, frames(message...)...)
		stream = append(stream, frames(message[1])...)
		want = append(want, message, message[1:2])
	}
	random := rand.New(rand.NewPCG(1, 2))
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(stream),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
		"halves":       iotest.HalfReader(bytes.NewReader(stream)),
		"with EOF":     iotest.DataErrReader(bytes.NewReader(stream)),
		"64 bytes":     atMost{bytes.NewReader(stream), func() int { return 64 }},
		"512 bytes":    atMost{bytes.NewReader(stream), func() int { return 512 }},
		"at random":    atMost{bytes.NewReader(stream), func() int { return 1 + random.IntN(1<<random.IntN(18)) }},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(t, r, Limits{})
			if err != io.EOF || len(got) != len(want) {
				t.Fatalf("%d messages, %v; want %d", len(got), err, len(want))
			}
			for i := range want {
				if strings.Join(got[i], "|") != strings.Join(want[i], "|") {
					t.Fatalf("message %d came changed", i)
				}
			}
		})
	}
}

// atMost reads at most n() bytes at a time.
type atMost struct {
	io.Reader
	n func() int
}

func (a atMost) Read(b []byte) (int, error) { return a.Reader.Read(b[:min(len(b), a.n())]) }

func TestReader_endsInTheMiddle(t *testing.T) {
	whole := frames("one", "two")
	for n := range whole {
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if got, err := readAll(t, bytes.NewReader(whole[:n]), Limits{}); err != want || len(got) != 0 {
			t.Errorf("after %d bytes: %v, %v", n, got, err)
		}
	}
}

// Lengths are compared before they are believed. (hazards A1b, A1b3)
func TestReader_limits(t *testing.T) {
	limits := Limits{MaxMessage: 1000, MaxFrames: 3}
	long := func(size uint64) string {
		return "\x02" + string(binary.BigEndian.AppendUint64(nil, size)) + strings.Repeat("x", 10)
	}
	x := strings.Repeat
	for _, test := range []struct {
		name, stream string
		delivered    int
		want         error
	}{
		{"as large as the limit", string(frames(x("x", 1000))), 1, io.EOF},
		{"one byte more", string(frames(x("x", 1001))), 0, ErrTooLarge},
		{"as large as the limit in frames", string(frames(x("x", 500), x("x", 500))), 1, io.EOF},
		{"one byte more in frames", string(frames(x("x", 500), x("x", 501))), 0, ErrTooLarge},
		{"as many frames as the limit", string(frames("", "", "")), 1, io.EOF},
		{"one frame more", string(frames("", "", "", "")), 0, ErrTooLarge},
		{"the limits are of each message", string(append(frames(x("x", 1000)), frames(x("x", 999), "")...)), 2, io.EOF},
		{"announces 2^62", long(1 << 62), 0, ErrTooLarge},
		{"announces 2^40", long(1 << 40), 0, ErrTooLarge},
		{"announces the limit and one", long(1001), 0, ErrTooLarge},
		{"announces 2^63", long(1 << 63), 0, ErrProtocol},
		{"endless MORE", x("\x01\x00", 100), 0, ErrTooLarge},
		{"reserved flags", "\xf8\x00", 0, ErrProtocol},
		{"a command with MORE", "\x05\x01A", 0, ErrProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(test.stream), iotest.OneByteReader(strings.NewReader(test.stream))} {
				got, err := readAll(t, r, limits)
				if !errors.Is(err, test.want) || len(got) != test.delivered {
					t.Errorf("%d messages, %v; want %d, %v", len(got), err, test.delivered, test.want)
				}
			}
		})
	}
}

// A length costs the peer as many bytes as it costs us.
func TestReader_allocatesWhatComes(t *testing.T) {
	stream := append(binary.BigEndian.AppendUint64([]byte{2}, 16<<20), make([]byte, 1000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		if _, err := readAll(t, bytes.NewReader(stream), Limits{}); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / 10; n > 150<<10 {
		t.Errorf("%d bytes allocated for 1,009 that came and 16 MiB that were announced", n)
	}
}

// What a burst needed is given back with the first quiet read, a heartbeat at
// the latest; a half-sent message keeps only what has come.
func TestReader_keepsNoBufferWhileQuiet(t *testing.T) {
	router, dealer := nullPair(t)
	got := make(chan int)
	ended := run(router, func(m *Message) error { got <- len(m.Bytes()); return nil })
	large := make([]byte, 4<<20)
	if err := dealer.Send(large, large[:1000]); err != nil {
		t.Fatal(err)
	}
	<-got
	if err := dealer.Send([]byte("small")); err != nil {
		t.Fatal(err)
	}
	<-got
	if err := dealer.Send([]byte("small")); err != nil {
		t.Fatal(err)
	}
	<-got
	router.Close(nil)
	<-ended
	rd := &router.reader
	if len(rd.buf) != smallRead || rd.memory != nil || cap(rd.message.own) > smallRead {
		t.Errorf("the quiet link keeps %d and %d bytes", len(rd.buf), cap(rd.message.own))
	}
}

func FuzzReader(f *testing.F) {
	f.Add(frames("one", "", "three"), uint8(1))
	f.Add(append(frames(strings.Repeat("x", 600)), "\x04\x07\x04PING\x00\x0a"...), uint8(100))
	f.Add([]byte("\x02\x40\x00\x00\x00\x00\x00\x00\x00"), uint8(9))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		limits := Limits{MaxMessage: 2000, MaxFrames: 8}
		whole, err1 := readAll(t, bytes.NewReader(stream), limits)
		pieces, err2 := readAll(t, atMost{bytes.NewReader(stream), func() int { return int(cut) + 1 }}, limits)
		if (err1 == nil) || err1.Error() != err2.Error() || len(whole) != len(pieces) {
			t.Fatalf("%d messages and %v at once, %d and %v in pieces", len(whole), err1, len(pieces), err2)
		}
		var again []byte
		for i, m := range whole {
			if strings.Join(m, "|") != strings.Join(pieces[i], "|") || len(m) > limits.MaxFrames || len(strings.Join(m, "")) > limits.MaxMessage {
				t.Fatalf("message %d differs or exceeds the limits", i)
			}
			again = append(again, frames(m...)...)
		}
		if got, err := readAll(t, bytes.NewReader(again), limits); err != io.EOF || len(got) != len(whole) {
			t.Errorf("%d messages became %d, %v", len(whole), len(got), err)
		}
	})
}

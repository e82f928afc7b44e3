package zmtp

import (
	"bytes"
	"errors"
	"testing"
)

func TestFrameHeader(t *testing.T) {
	for _, test := range []struct {
		name  string
		bytes string
		flags FrameFlags
		body  uint64
		size  int
		bad   bool
	}{
		{"empty", "", 0, 0, 0, false},
		{"flags alone", "\x00", 0, 0, 0, false},
		{"short", "\x00\x05", 0, 5, 2, false},
		{"short, 255", "\x01\xff", FlagMore, 255, 2, false},
		{"command", "\x04\x05", FlagCommand, 5, 2, false},
		{"long, cut", "\x02\x00\x00\x00\x00\x00\x00\x01", 0, 0, 0, false},
		{"long", "\x02\x00\x00\x00\x00\x00\x00\x01\x00", 0, 256, 9, false},
		{"long form of a short size: only a SHOULD forbids it", "\x02\x00\x00\x00\x00\x00\x00\x00\x05", 0, 5, 9, false},
		{"2^62 is for the limits to refuse", "\x02\x40\x00\x00\x00\x00\x00\x00\x00", 0, 1 << 62, 9, false},
		{"2^63", "\x02\x80\x00\x00\x00\x00\x00\x00\x00", 0, 0, 0, true},
		{"2^64-1", "\x02\xff\xff\xff\xff\xff\xff\xff\xff", 0, 0, 0, true},
		{"reserved flag 0x08", "\x08\x00", 0, 0, 0, true},
		{"reserved flags 0xf8", "\xf8\x00", 0, 0, 0, true},
		{"command with MORE", "\x05\x00", 0, 0, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			flags, body, size, err := parseFrameHeader([]byte(test.bytes))
			if test.bad {
				if !errors.Is(err, ErrProtocol) {
					t.Errorf("error %v, want ErrProtocol", err)
				}
				return
			}
			if err != nil || flags != test.flags || body != test.body || size != test.size {
				t.Errorf("got %v, %d, %d, %v; want %v, %d, %d", flags, body, size, err, test.flags, test.body, test.size)
			}
		})
	}
}

func FuzzFrameHeader(f *testing.F) {
	f.Add([]byte{0, 5})
	f.Add([]byte{2, 0x40, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{7, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		flags, body, size, err := parseFrameHeader(b)
		if err != nil || size == 0 {
			return
		}
		if body > 1<<40 {
			return // no frame of ours
		}
		again := AppendFrameHeader(nil, flags, int(body))
		flags2, body2, size2, err := parseFrameHeader(again)
		if err != nil || flags2 != flags || body2 != body || size2 != len(again) || len(again) > size {
			t.Errorf("% x became % x", b[:size], again)
		}
	})
}

// A header is parsed for each frame of each message.
func TestFrameHeader_doesNotAllocate(t *testing.T) {
	b := AppendFrameHeader(nil, FlagMore, 1<<20)
	if n := testing.AllocsPerRun(100, func() {
		if _, _, size, err := parseFrameHeader(b); size != 9 || err != nil {
			t.Fatal(size, err)
		}
		b = AppendFrameHeader(b[:0], FlagMore, 1<<20)
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func BenchmarkNullRecord(b *testing.B) {
	for _, size := range []int{100, 64 << 10} {
		b.Run(byteCount(size), func(b *testing.B) {
			plain := bytes.Repeat([]byte{7}, 1+size)
			var out []byte
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				out, _ = nullRecord{}.Seal(out[:0], 0, plain)
				flags, n, head, err := parseFrameHeader(out)
				if err != nil || flags != 0 || int(n) != size || head+size != len(out) {
					b.Fatal("broken frame")
				}
			}
		})
	}
}

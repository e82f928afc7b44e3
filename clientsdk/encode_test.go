package clientsdk

import (
	"bytes"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// What is encoded here is what the library makes of it.
func TestEncoding_asTheLibraryDoes(t *testing.T) {
	var rows [][]any
	for _, n := range []int{0, 1, 255, 256, 1<<16 - 1, 1 << 16} {
		rows = append(rows, []any{content(n, n)})
	}
	for _, n := range []int{0, 1, 15, 16, 1<<16 - 1, 1 << 16} {
		rows = append(rows, make([]any, n))
	}
	for _, args := range append(rows, []any{[]byte(nil)}) {
		w := encodings.Get().(*encoding)
		w.b = nil
		if err := w.body(args); err != nil {
			t.Fatal(err)
		}
		want, err := msgpack.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		if want = append(want, 0xc0); !bytes.Equal(w.b, want) { // no named arguments
			t.Errorf("%d arguments, %.40x: %d bytes, the library's are %d", len(args), w.b, len(w.b), len(want))
		}
	}
}

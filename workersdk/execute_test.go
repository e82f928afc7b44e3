package workersdk

import (
	"testing"

	"github.com/servicetools/servicetools/wire/buffer"
)

// A result takes over the memory of a small request that is not borrowed, and of no
// other: it is kept until it is acknowledged.
func TestCall_resultBuffer(t *testing.T) {
	w, err := New(newLab(), Config{Addr: "tcp://127.0.0.1:1", Insecure: true, Concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	for size, taken := range map[int]bool{0: true, 100: true, smallRequest: true, smallRequest + 1: false, buffer.Large - 1: false, buffer.Large: false} {
		c := &call{worker: w, method: w.table.Lookup([]byte("gate")), body: buffer.Keep(make([]byte, size), nil)}
		request := c.body.Memory
		result := c.resultBuffer()
		if (result.Memory == request) != taken || cap(result.Bytes) > 2*smallRequest {
			t.Errorf("a request of %d bytes: its memory is taken over: %v; the result has room for %d", size, result.Memory == request, cap(result.Bytes))
		}
		if (c.body.Memory == nil) != taken {
			t.Errorf("a request of %d bytes: its memory has two owners or none", size)
		}
		c.body.Release()
		result.Release()
	}
	w, err = New(newLender(), Config{Addr: "tcp://127.0.0.1:1", Insecure: true, Concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := &call{worker: w, method: w.table.Lookup([]byte("invert")), body: buffer.Keep(make([]byte, 100), nil)}
	if request := c.body.Memory; request == nil || c.resultBuffer().Memory == request || c.body.Memory != request {
		t.Error("the memory of a request is taken over that is borrowed")
	}
}

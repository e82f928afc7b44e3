package broker

import (
	"sync"

	"github.com/servicetools/servicetools/broker/dispatch"
)

// batch is what came in one message to be given to the dispatcher together: it takes its
// lock once for all of it. It is pooled, since an idle link needs none.
type batch[T any] struct{ list []T }

// batches is a pool of them, for one type.
type batches[T any] struct{ pool sync.Pool }

var (
	requests batches[dispatch.Request]
	replies  batches[dispatch.Reply]
)

func (p *batches[T]) get() *batch[T] {
	if b, ok := p.pool.Get().(*batch[T]); ok {
		return b
	}
	return &batch[T]{list: make([]T, 0, dispatch.Together)}
}

// put takes back an empty batch, but not one that a panic has left: it may hold anything.
func (p *batches[T]) put(b *batch[T]) {
	if len(b.list) == 0 {
		p.pool.Put(b)
	}
}

// next returns a place for one more.
func (b *batch[T]) next() *T {
	b.list = b.list[:len(b.list)+1]
	return &b.list[len(b.list)-1]
}

func (b *batch[T]) full() bool { return len(b.list) == cap(b.list) }

func (b *batch[T]) clear() {
	clear(b.list)
	b.list = b.list[:0]
}

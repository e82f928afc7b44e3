package clientsdk

import "sync/atomic"

// gate is closed once. Its channel is made by the first one who has to wait:
// whoever looks at a call that has ended, as a loop over many futures does,
// costs neither a channel nor a wake-up.
type gate struct{ channel atomic.Pointer[chan struct{}] }

// closed is the channel of every gate that was closed before somebody waited.
var closed = func() *chan struct{} {
	c := make(chan struct{})
	close(c)
	return &c
}()

func (g *gate) close() {
	if c := g.channel.Swap(closed); c != nil {
		close(*c)
	}
}

func (g *gate) isClosed() bool { return g.channel.Load() == closed }

// done returns a channel that is closed when the gate is.
func (g *gate) done() <-chan struct{} {
	if c := g.channel.Load(); c != nil {
		return *c
	}
	c := make(chan struct{})
	if g.channel.CompareAndSwap(nil, &c) {
		return c
	}
	return *g.channel.Load()
}

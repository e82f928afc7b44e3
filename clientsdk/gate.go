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

// close closes g. If somebody has asked for its channel, told is called before that is closed.
func (g *gate) close(told func()) {
	if c := g.channel.Swap(closed); c != nil {
		told()
		close(*c)
	}
}

func (g *gate) isClosed() bool { return g.channel.Load() == closed }

// asked reports whether the channel exists, or is not needed any more.
func (g *gate) asked() bool { return g.channel.Load() != nil }

// done returns a channel that is closed when the gate is, and whether it was made for the caller.
func (g *gate) done() (c <-chan struct{}, first bool) {
	if c := g.channel.Load(); c != nil {
		return *c, false
	}
	made := make(chan struct{})
	if g.channel.CompareAndSwap(nil, &made) {
		return made, true
	}
	return *g.channel.Load(), false
}

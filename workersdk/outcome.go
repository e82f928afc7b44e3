package workersdk

import (
	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// Bounds of the outcomes that wait for the broker's ACK. Beyond them the
// oldest are forgotten: they were sent, and only a broker that is restarted at
// that very moment would ask for them again.
const (
	maxKeptCount = 1 << 16
	maxKeptBytes = 32 << 20
)

// outcome is what a call ended in.
type outcome struct {
	kind    message.Kind
	known   bool // origin is set
	attempt uint8
	origin  message.Origin
	body    buffer.Content // its memory is nil when it was forgotten
	stream  *call          // whose items the client may not have seen; nil = there are none
}

// size is what o holds, in bytes: all of the memory that its body lies in.
func (o *outcome) size() int {
	n := cap(o.body.Memory.Bytes)
	if o.stream != nil {
		n += o.stream.flow.bytes
	}
	return n
}

// kept holds, in order, the outcomes that no broker has acknowledged. Guarded by Worker.mu.
type kept struct {
	spare *spare    // Worker.spare, to which small bodies are left; static
	list  []outcome // list[0] is number acked+1 of the link
	acked uint64    // outcomes acknowledged on this link
	bytes int
	whole int // list[whole:] still have their bodies
}

// add keeps o, and forgets older ones if there are too many.
func (k *kept) add(o outcome) {
	k.list = append(k.list, o)
	k.bytes += o.size()
	for k.whole < len(k.list)-1 && (k.bytes > maxKeptBytes || len(k.list)-k.whole > maxKeptCount) {
		k.forget(k.whole)
		k.whole++
	}
}

func (k *kept) forget(i int) {
	if o := &k.list[i]; o.body.Memory != nil {
		k.bytes -= o.size()
		k.spare.leaveBody(&o.body)
		o.stream = nil
	}
}

// ack drops what the broker has got: count outcomes on this link.
func (k *kept) ack(count uint64) bool {
	if count < k.acked || count-k.acked > uint64(len(k.list)) {
		return false
	}
	n := int(count - k.acked)
	k.acked = count
	k.drop(n)
	return true
}

// drop forgets the n oldest.
func (k *kept) drop(n int) {
	for i := range n {
		k.forget(i)
	}
	k.list = k.list[:copy(k.list, k.list[n:])]
	k.whole = max(0, k.whole-n)
}

// clear forgets all of them and begins to count anew.
func (k *kept) clear() {
	k.drop(len(k.list))
	*k = kept{spare: k.spare}
}

// move begins a link to another broker and returns what it has to be told: the
// outcomes that can be told to one that did not give out the calls, and apart
// from them those of streams, which it takes only behind their items.
func (k *kept) move() (told, streams []outcome) {
	told = k.list[:0]
	for i, o := range k.list {
		switch {
		case !o.known || o.body.Memory == nil:
			k.forget(i)
		case o.stream != nil:
			k.bytes -= o.size()
			streams = append(streams, o)
		default:
			told = append(told, o)
		}
	}
	clear(k.list[len(told):])
	k.list, k.acked, k.whole = told, 0, 0
	return told, streams
}

// finish ends c: failure, or the value in result, goes to the broker. result
// is given away.
func (w *Worker) finish(c *call, result buffer.Content, failure *message.Error) {
	c.result = buffer.Content{}
	kind := message.KindResult
	if failure != nil {
		kind = message.KindError
		result.Release()
		result = c.failed(failure)
	}
	if n := len(result.Bytes); n < buffer.Large && cap(result.Memory.Bytes) > 2*buffer.Large { // it may be kept for a while
		large := result
		result = buffer.Keep(large.Bytes, nil)
		large.Release()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.pokeLocked()
	defer w.spare.leaveCall(c)
	if c.fenced {
		result.Release()
		if c.running {
			w.strays--
			w.capacityLocked()
		}
		return
	}
	c.running = false
	o := outcome{kind: kind, known: c.known, origin: c.origin, attempt: c.attempt, body: result}
	if f := c.flow; f != nil {
		if len(f.parts) > 0 {
			o.stream = c
		}
		if f.paused && c.cause == nil {
			c.hold(o) // goes behind the items, once the broker wants them
			w.ended++
			if w.conn != nil {
				w.conn.claim(c)
			}
			return
		}
	}
	w.tellLocked(c, o, c.brief)
}

// failed returns the body of an ERROR.
func (c *call) failed(failure *message.Error) buffer.Content {
	memory := buffer.Get(0)
	memory.Bytes = failure.Append(memory.Bytes)
	if len(memory.Bytes) > max(c.limit, minMessage) {
		short := message.Errorf(failure.Code, "%s", short(failure.Message))
		short.Ran = failure.Ran
		memory.Bytes = short.Append(memory.Bytes[:0])
	}
	return buffer.Content{Bytes: memory.Bytes, Memory: memory}
}

// hold keeps o beside c. It is not part of finish, where it would be an allocation
// for every call.
func (c *call) hold(o outcome) { c.held = &o }

// tellLocked ends c with its outcome. Who says held calls flush afterwards.
func (w *Worker) tellLocked(c *call, o outcome, held bool) {
	w.removeLocked(c)
	c.held = nil
	w.kept.add(o)
	if w.conn != nil {
		e := c.head(o.kind)
		w.conn.appendBody(&e, o.body, held)
	}
}

// stopLocked asks c to stop. One that has ended, and waits to be asked for its
// items, has nobody who asks.
func (w *Worker) stopLocked(c *call, cause *message.Error) {
	c.stopLocked(cause)
	if c.held == nil {
		return
	}
	o := *c.held
	o.kind, o.stream = message.KindError, nil
	o.body.Release()
	o.body = c.failed(cause)
	w.tellLocked(c, o, false)
}

func (w *Worker) removeLocked(c *call) {
	if c.claimed {
		if c.held != nil {
			w.ended--
		}
		delete(w.claimed, c.origin)
	} else {
		w.calls.Delete(c.token)
	}
}

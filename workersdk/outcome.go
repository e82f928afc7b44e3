package workersdk

import (
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
	kind   message.Kind
	known  bool // origin is set
	origin message.Origin
	body   *[]byte // from buffers; nil when it was forgotten
}

// kept holds, in order, the outcomes that no broker has acknowledged. Guarded by Worker.mu.
type kept struct {
	list  []outcome // list[0] is number acked+1 of the link
	acked uint64    // outcomes acknowledged on this link
	bytes int
	whole int // list[whole:] still have their bodies
}

// add keeps o, and forgets older ones if there are too many.
func (k *kept) add(o outcome) {
	k.list = append(k.list, o)
	k.bytes += cap(*o.body)
	for k.whole < len(k.list)-1 && (k.bytes > maxKeptBytes || len(k.list)-k.whole > maxKeptCount) {
		k.forget(k.whole)
		k.whole++
	}
}

func (k *kept) forget(i int) {
	if b := k.list[i].body; b != nil {
		k.bytes -= cap(*b)
		putBuffer(b)
		k.list[i].body = nil
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

// move begins a link to another broker and returns what it has to be
// told: the outcomes that can be told to one that did not give out the calls.
func (k *kept) move() []outcome {
	told := k.list[:0]
	for i, o := range k.list {
		if o.known && o.body != nil {
			told = append(told, o)
		} else {
			k.forget(i)
		}
	}
	clear(k.list[len(told):])
	k.list, k.acked, k.whole = told, 0, 0
	return told
}

// finish ends c: failure, or the value in result, goes to the broker. result
// is given away.
func (w *Worker) finish(c *call, result *[]byte, failure *message.Error) {
	kind := message.KindResult
	if failure != nil {
		kind = message.KindError
		*result = failure.Append((*result)[:0])
		if len(*result) > max(c.limit, minMessage) {
			short := message.Errorf(failure.Code, "%s", short(failure.Message))
			short.Ran = failure.Ran
			*result = short.Append((*result)[:0])
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.pokeLocked()
	if c.fenced {
		putBuffer(result)
		if c.running {
			w.strays--
			w.capacityLocked()
		}
		return
	}
	w.removeLocked(c)
	o := outcome{kind: kind, known: c.known, origin: c.origin, body: result}
	w.kept.add(o)
	if w.conn != nil {
		e := c.head(kind)
		e.Body = *result
		w.conn.append(&e)
	}
}

func (w *Worker) removeLocked(c *call) {
	if c.claimed {
		delete(w.claimed, c.origin)
	} else {
		delete(w.calls, c.token)
	}
}

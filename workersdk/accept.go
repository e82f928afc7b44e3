package workersdk

import (
	"fmt"
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// accept makes the call of one CALL, which lies in memory if that is not nil.
// The calls of a message are admitted together: each lock is taken once for all, and
// Worker.mu once more for each stock of records.
func (k *connection) accept(e *message.Envelope, memory *buffer.Buffer, now time.Time) {
	w := k.worker
	// Only then, and not whenever the stock is low: Worker.spare may be empty, too, and each
	// call would take the lock in vain.
	if len(k.accepted)%stock == 0 && k.spare.low() {
		w.mu.Lock()
		k.spare.fetch(&w.spare)
		w.mu.Unlock()
	}
	c := k.spare.call()
	c.worker, c.method, c.token, c.attempt = w, w.table.Lookup(e.Method), e.ID, max(e.Attempt, 1)
	c.known, c.origin = e.Flags&message.FlagOrigin != 0, e.Origin
	if e.Timeout > 0 {
		c.deadline = now.Add(e.Timeout)
	}
	if c.method == nil {
		c.refusal = w.table.NoSuch(e.Method)
	} else if e.Flags&message.FlagStream != 0 && c.method.Info().Stream {
		c.stream, c.flow = true, newFlow()
	}
	c.body = k.spare.body(e.Body, memory)
	k.accepted = append(k.accepted, c)
}

// admit lets the accepted calls run, or refuses them. An error ends the link: the
// broker has broken its word.
func (k *connection) admit() error {
	if len(k.accepted) == 0 {
		return nil
	}
	w := k.worker
	var broken error
	admitted, refused := k.accepted[:0], []*call(nil)
	w.mu.Lock()
	for _, c := range k.accepted {
		if w.calls.Get(c.token) != nil || w.busyLocked() >= w.cfg.Concurrency {
			broken = fmt.Errorf("%w: a CALL repeats a token or exceeds the concurrency of %d", zmtp.ErrProtocol, w.cfg.Concurrency)
			break
		}
		w.calls.Put(c.token, c)
		c.limit = w.resultLimit
		if w.draining {
			c.refusal = errDraining
		}
		if c.refusal != nil {
			refused = append(refused, c)
		} else {
			admitted = append(admitted, c)
		}
	}
	w.mu.Unlock()
	w.pool.submitHere(admitted...)
	for _, c := range refused {
		c.body.Release()
		w.finish(c, buffer.Content{}, c.refusal)
	}
	clear(k.accepted)
	k.accepted = k.accepted[:0]
	if cap(k.accepted) > maxAccepted {
		k.accepted = nil
	}
	return broken
}

// maxAccepted is the largest list of accepted calls that a connection keeps.
const maxAccepted = 1024

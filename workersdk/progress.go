package workersdk

import (
	"context"
	"time"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/workersdk/method"
)

// progressPause is the least time between two reports of a call.
const progressPause = 50 * time.Millisecond

// progressPending is how much may wait on the link before reports are dropped, in bytes.
const progressPending = 256 << 10

// maxNote is the longest note of a report, in bytes.
const maxNote = 256

// Number is any number that counts progress.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// Progress tells the caller that done of total is behind the method of ctx, in
// units of its own; total 0 means unknown. It never blocks and may be called
// often: reports are lossy, a call makes at most 20 a second. Notes are cut at
// 256 bytes. Outside of a call it does nothing.
func Progress[N Number](ctx context.Context, done, total N, note string) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.worker.progress(c, float64(done), float64(total), note)
	}
}

func (w *Worker) progress(c *call, done, total float64, note string) {
	note = note[:min(len(note), maxNote)]
	age := time.Since(w.began)
	w.mu.Lock()
	defer w.mu.Unlock()
	complete := total > 0 && done >= total
	if w.conn == nil || !c.running || c.cause != nil || !complete && c.told > 0 && age-c.told < progressPause {
		return
	}
	if w.conn.link.Pending() > progressPending {
		return
	}
	c.told = age
	e := c.head(message.KindProgress)
	e.Body, _ = method.Append(nil, []any{done, total, note}, 1<<10) // numbers and a short text: cannot fail
	w.conn.append(&e)
}

package broker

import (
	"container/heap"
	"context"
	"time"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// deadAfter is how many intervals of silence end a link.
const deadAfter = 3

// watched is a link on the books.
type watched struct {
	link *zmtp.Link // static
	who  identity   // static

	at    time.Time // when it is to be looked after; guarded by links.mu
	index int       // in links.beats; -1 = gone; guarded by links.mu
}

// beats is a heap of links, for container/heap: the first one is to be looked
// after first. A silent peer is found when its time is over, not when a round
// comes to it.
type beats []*watched

func (b beats) Len() int           { return len(b) }
func (b beats) Less(i, j int) bool { return b[i].at.Before(b[j].at) }
func (b beats) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].index, b[j].index = i, j
}

// Push implements heap.Interface.
func (b *beats) Push(w any) {
	w.(*watched).index = len(*b)
	*b = append(*b, w.(*watched))
}

// Pop implements heap.Interface.
func (b *beats) Pop() any {
	last := len(*b) - 1
	w := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	w.index = -1
	return w
}

// watch looks after the links' liveness until ctx ends.
func (l *links) watch(ctx context.Context, interval time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case now := <-timer.C: // when the timer was to fire
			pause := l.beat(now, interval)
			if time.Since(now) > interval/4 {
				pause = interval / 4 // this process was stopped: what has come meanwhile is read first
			}
			timer.Reset(pause)
		case <-ctx.Done():
			return
		}
	}
}

// beat looks after the links whose time has come, and returns how long nothing
// is to be done then. A new link's time comes with the next call, a quarter of
// an interval from now at the latest.
func (l *links) beat(now time.Time, interval time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.beats) > 0 && !l.beats[0].at.After(now) {
		w := l.beats[0]
		l.mu.Unlock()
		next := w.link.Beat(now, interval, deadAfter*interval)
		l.mu.Lock()
		if w.at = now.Add(next); w.index >= 0 {
			heap.Fix(&l.beats, w.index)
		}
	}
	pause := interval / 4
	if len(l.beats) > 0 {
		pause = min(pause, time.Until(l.beats[0].at))
	}
	return max(pause, time.Millisecond)
}

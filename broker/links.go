package broker

import (
	"context"
	"sync"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// links holds every live link, for liveness, revocation and the end.
type links struct {
	mu     sync.Mutex
	live   map[*zmtp.Link]identity // guarded by mu
	ending bool                    // what is added now is finished at once; guarded by mu
}

func (l *links) add(link *zmtp.Link, i identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == nil {
		l.live = make(map[*zmtp.Link]identity)
	}
	l.live[link] = i
	if l.ending {
		farewell(link, i)
	}
}

// finish ends every link, also those that are yet to be added, once what is
// queued for it has left.
func (l *links) finish() {
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.each(farewell)
}

// farewell ends a link of a broker that stops. Every call that was taken has
// its outcome in front of the BYE: a client may call elsewhere what has none.
func farewell(link *zmtp.Link, who identity) {
	if who.sdk {
		bye := message.Errorf(message.ShuttingDown, "the broker was told to stop")
		_, _ = appendEnvelope(link, &message.Envelope{Kind: message.KindBye, Body: bye.Append(nil)}) // a dead link needs none
	}
	link.Finish()
}

func (l *links) remove(link *zmtp.Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, link)
}

func (l *links) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.live)
}

// each calls f for a snapshot of the links, without the lock.
func (l *links) each(f func(*zmtp.Link, identity)) {
	type pair struct {
		link *zmtp.Link
		who  identity
	}
	l.mu.Lock()
	all := make([]pair, 0, len(l.live))
	for link, who := range l.live {
		all = append(all, pair{link, who})
	}
	l.mu.Unlock()
	for _, p := range all {
		f(p.link, p.who)
	}
}

// endWait is how long the links of a key that is not admitted any more have for
// the words of farewell that are queued for them.
const endWait = 500 * time.Millisecond

// end ends the links of a key. What the peers send from now on is dropped.
func (l *links) end(key curve.PublicKey, cause error) {
	l.each(func(link *zmtp.Link, who identity) {
		if who.entry.Key == key {
			link.Finish()
			time.AfterFunc(endWait, func() { link.Close(cause) })
		}
	})
}

// beats is how often in one interval the links are looked after.
const beats = 4

// watch looks after the links' liveness until ctx ends.
func (l *links) watch(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval / beats)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			l.each(func(link *zmtp.Link, _ identity) { link.Beat(now, interval, 3*interval) })
		case <-ctx.Done():
			return
		}
	}
}

package broker

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// links holds every live link, for liveness, revocation and the end.
type links struct {
	mu     sync.Mutex
	live   map[*zmtp.Link]*watched // guarded by mu
	beats  beats                   // of live; guarded by mu
	perKey map[string]int          // live links by identity.key; guarded by mu
	ending bool                    // what is added now is finished at once; guarded by mu
}

// add puts a link on the books. It reports false, and does not, if the key has
// limit links already.
func (l *links) add(link *zmtp.Link, i identity, limit int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perKey[i.key] >= limit {
		return false
	}
	if l.live == nil {
		l.live, l.perKey = make(map[*zmtp.Link]*watched), make(map[string]int)
	}
	w := &watched{link: link, who: i}
	l.live[link] = w
	heap.Push(&l.beats, w)
	l.perKey[i.key]++
	if l.ending {
		farewell(link, i, message.Errorf(message.ShuttingDown, "the broker was told to stop"))
	}
	return true
}

// count returns how many links a key has.
func (l *links) count(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.perKey[key]
}

// finish ends every link, also those that are yet to be added, once what is
// queued for it has left.
func (l *links) finish() {
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.each(func(link *zmtp.Link, who identity) {
		farewell(link, who, message.Errorf(message.ShuttingDown, "the broker was told to stop"))
	})
}

// farewell ends a link and tells an SDK why. When a broker stops, every call
// that was taken has its outcome in front of the BYE: a client may call
// elsewhere what has none.
func farewell(link *zmtp.Link, who identity, bye *message.Error) {
	if who.sdk {
		_, _ = appendEnvelope(link, &message.Envelope{Kind: message.KindBye, Body: bye.Append(nil)}) // a dead link needs none
	}
	link.Finish()
}

func (l *links) remove(link *zmtp.Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.live[link]
	heap.Remove(&l.beats, w.index)
	key := w.who.key
	delete(l.live, link)
	if l.perKey[key]--; l.perKey[key] == 0 {
		delete(l.perKey, key)
	}
}

func (l *links) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.live)
}

// each calls f for a snapshot of the links, without the lock.
func (l *links) each(f func(*zmtp.Link, identity)) {
	l.mu.Lock()
	all := slices.Clone(l.beats)
	l.mu.Unlock()
	for _, w := range all {
		f(w.link, w.who)
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

package zmtp

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// waiting holds the connections in their handshake, oldest first.
type waiting struct {
	mu   sync.Mutex
	list list.List // of *waiter, guarded by mu
}

// waiter is one connection in its handshake.
type waiter struct {
	conn    net.Conn
	silent  atomic.Int64  // since when we wait for the peer, not it for us; 0 = we do not
	place   *list.Element // nil once removed; guarded by waiting.mu
	evicted bool          // guarded by waiting.mu
}

// add takes in a connection.
func (w *waiting) add(conn net.Conn) *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := &waiter{conn: conn}
	e.place = w.list.PushBack(e)
	return e
}

// patience is how long any peer may keep us waiting before it can be evicted.
const patience = int64(50 * time.Millisecond)

// evict closes the oldest of the connections that keep us waiting, if any does.
// One whose HELLO waits for a core is spared: in a crowd that reconnects it is
// the next to be done.
func (w *waiting) evict() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for place := w.list.Front(); place != nil; place = place.Next() {
		e := place.Value.(*waiter)
		if since := e.silent.Load(); since != 0 && sinceEpoch()-since > patience {
			w.list.Remove(place)
			e.place, e.evicted = nil, true
			e.conn.Close()
			return
		}
	}
}

// remove takes out a connection and reports whether it had been evicted.
func (w *waiting) remove(e *waiter) (evicted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.place != nil {
		w.list.Remove(e.place)
		e.place = nil
	}
	return e.evicted
}

func (w *waiting) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list.Len()
}

// maxFailing bounds the addresses that failures remembers within one second.
const maxFailing = 16 << 10

// failures counts failed handshakes by address over the present second.
type failures struct {
	perSecond int // static

	mu     sync.Mutex
	second int64              // guarded by mu
	count  map[netip.Addr]int // guarded by mu
}

// exceeded reports whether connections of addr are to be closed unseen.
func (f *failures) exceeded(addr net.Addr, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.second == now.Unix() && f.count[sourceOf(addr)] >= f.perSecond
}

func (f *failures) add(addr net.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := now.Unix(); s != f.second || f.count == nil {
		f.second, f.count = s, make(map[netip.Addr]int)
	}
	source := sourceOf(addr)
	if _, known := f.count[source]; known || len(f.count) < maxFailing {
		f.count[source]++
	}
}

// sourceOf returns what one peer surely has no more of than it was given: its
// IPv4 address, or the /64 of its IPv6 address. Other networks share one entry.
func sourceOf(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(tcp.IP)
	if ip = ip.Unmap(); ip.Is6() {
		network, _ := ip.Prefix(64) // 64 bits are within an IPv6 address
		return network.Addr()
	}
	return ip
}

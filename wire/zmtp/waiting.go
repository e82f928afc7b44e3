package zmtp

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

// waiting holds the connections in their handshake, oldest first.
type waiting struct {
	max int // static

	mu   sync.Mutex
	list list.List // of *waiter, guarded by mu
}

// waiter is one connection in its handshake.
type waiter struct {
	conn    net.Conn
	place   *list.Element // nil once removed; guarded by waiting.mu
	evicted bool          // guarded by waiting.mu
}

// add takes in a connection and closes the oldest one if that is one too many.
func (w *waiting) add(conn net.Conn) *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list.Len() >= w.max {
		oldest := w.list.Remove(w.list.Front()).(*waiter)
		oldest.place, oldest.evicted = nil, true
		oldest.conn.Close()
	}
	e := &waiter{conn: conn}
	e.place = w.list.PushBack(e)
	return e
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
	return f.second == now.Unix() && f.count[ipOf(addr)] >= f.perSecond
}

func (f *failures) add(addr net.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := now.Unix(); s != f.second || f.count == nil {
		f.second, f.count = s, make(map[netip.Addr]int)
	}
	if len(f.count) < maxFailing {
		f.count[ipOf(addr)]++
	}
}

// ipOf returns the address without its port; other networks share one entry.
func ipOf(addr net.Addr) netip.Addr {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		ip, _ := netip.AddrFromSlice(tcp.IP)
		return ip.Unmap()
	}
	return netip.Addr{}
}

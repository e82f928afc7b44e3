package chaos

import (
	"net"
	"sync"
	"time"
)

// Proxy passes TCP connections on, and breaks them when it is told to.
type Proxy struct {
	listener net.Listener // static

	running sync.WaitGroup // the accept loop and two goroutines a connection

	mu     sync.Mutex
	target string                // host:port; "" = nowhere; guarded by mu
	moved  sync.Cond             // frozen or closed has changed; waits with mu
	pairs  map[*proxied]struct{} // guarded by mu
	frozen bool                  // guarded by mu
	delay  time.Duration         // of each piece that is passed on; guarded by mu
	each   time.Duration         // of each byte; guarded by mu
	closed bool                  // guarded by mu
}

// proxied is one connection: its two halves.
type proxied struct {
	near, far net.Conn
	spared    net.Conn // the one that is not told that the other is gone; nil = both live; guarded by Proxy.mu
}

// NewProxy listens at an address and passes all on to target, host:port; with
// "" it waits for Lead.
func NewProxy(listen, target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: listener, target: target, pairs: make(map[*proxied]struct{})}
	p.moved.L = &p.mu
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns where to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		far, err := net.Dial("tcp", target)
		if err != nil {
			reset(near)
			continue
		}
		c := &proxied{near: near, far: far}
		p.mu.Lock()
		if p.closed || p.target != target {
			p.mu.Unlock()
			reset(near)
			reset(far)
			continue
		}
		p.pairs[c] = struct{}{}
		p.mu.Unlock()
		var halves sync.WaitGroup
		halves.Go(func() { p.pump(c, far, near) })
		halves.Go(func() { p.pump(c, near, far) })
		p.running.Go(func() {
			halves.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.pairs, c)
		})
	}
}

// pump copies one direction until an end of the connection is gone.
func (p *Proxy) pump(c *proxied, to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		switch deaf := p.wait(c, n); {
		case deaf != nil && from != deaf:
			return // deaf is not told
		case err == nil && deaf != nil: // swallowed
		case err == nil:
			if _, err = to.Write(buffer[:n]); err != nil && p.wait(c, 0) != nil {
				err = nil // to went meanwhile
			}
		}
		if err != nil {
			from.Close()
			to.Close()
			return
		}
	}
}

// wait holds n bytes back as long as they take, and while the proxy is frozen;
// it returns the end that was spared when the other one was ended.
func (p *Proxy) wait(c *proxied, n int) (deaf net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pace := p.delay + time.Duration(n)*p.each; n > 0 && pace > 0 {
		p.mu.Unlock()
		time.Sleep(pace)
		p.mu.Lock()
	}
	for p.frozen && !p.closed && c.spared == nil {
		p.moved.Wait()
	}
	return c.spared
}

// Lead resets all connections, and passes new ones on to target instead, or
// resets them too if it is "".
func (p *Proxy) Lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	p.cutLocked()
}

// Slow makes each piece that is passed on wait for delay, and for each of its bytes.
func (p *Proxy) Slow(delay, each time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.each = delay, each
}

// Cut resets all connections and returns how many there were; new ones are taken.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
	return len(p.pairs)
}

func (p *Proxy) cutLocked() {
	for c := range p.pairs {
		reset(c.near)
		reset(c.far)
	}
	p.moved.Broadcast()
}

// Freeze passes no byte on, in either direction and on new connections too,
// until Thaw. Nothing is lost, and both ends see a connection that is up.
func (p *Proxy) Freeze() { p.freeze(true) }

// Thaw ends Freeze: what was held back goes on its way.
func (p *Proxy) Thaw() { p.freeze(false) }

func (p *Proxy) freeze(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = frozen
	p.moved.Broadcast()
}

// HalfOpen ends all connections for one side only: for the target, or for
// those who connected here. The other side is told nothing, and what it sends
// is swallowed. New connections are whole.
func (p *Proxy) HalfOpen(forTarget bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		gone := c.far
		if c.spared = c.near; !forTarget {
			gone, c.spared = c.near, c.far
		}
		reset(gone)
	}
	p.moved.Broadcast()
}

// Close ends all and returns when every goroutine has ended.
func (p *Proxy) Close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut()
	p.running.Wait()
}

// reset ends a connection with RST instead of FIN, as a dead host's kernel does.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // without it the end is only more polite
	}
	c.Close()
}

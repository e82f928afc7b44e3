package workersdk

import (
	"errors"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// The same broker has given the calls of the last link up.
func TestWorker_sameBrokerFencesCalls(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	b.mute = true
	l := newLab()
	start(t, b, l, nil)
	p := b.worker()
	p.call(1, "add", 1, 1)
	p.result(1) // never acknowledged
	p.call(2, "wait")
	p.call(3, "gate", "x")
	receive(t, l.entered, "a method")
	receive(t, l.entered, "a method")
	p.link.Close(nil)

	p = b.worker()
	if p.register.Busy != 2 {
		t.Errorf("got busy %d, want 2", p.register.Busy)
	}
	if cause := receive(t, l.causes, "the end of the fenced call's context"); !errors.Is(cause, message.ErrWorkerLost) {
		t.Errorf("got cause %v", cause)
	}
	// The slot of gate is taken until it returns; nothing else is said of the old calls.
	n := uint64(0)
	for n != 3 {
		e := p.next()
		if e.Kind != message.KindCapacity {
			t.Fatalf("got %v %q", e.Kind, e.Body)
		}
		n = e.ID
	}
	close(l.open)
	if e := p.want(message.KindCapacity, 4); e.Flags != 0 {
		t.Errorf("got %v", e)
	}
	p.call(4, "add", 2, 2)
	p.result(4)
}

// Another broker is told of what runs and of what was not acknowledged.
func TestWorker_restartedBrokerIsToldOfCalls(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	b.mute = true
	l := newLab()
	start(t, b, l, nil)
	p := b.worker()
	p.call(1, "add", 1, 1)
	p.result(1) // never acknowledged
	p.callWith(message.Envelope{ID: 2, Attempt: 2}, "gate", "x")
	p.call(3, "wait")
	p.call(4, "wait")
	for range 3 {
		receive(t, l.entered, "a method")
	}
	p.send(message.Envelope{Kind: message.KindCancel, ID: 4})
	receive(t, l.causes, "the cancelled call")
	p.failure(4)
	b.kill()

	b = newScripted(t, b.addr, 2, nil)
	p = b.worker()
	if p.register.Busy != 2 {
		t.Errorf("got busy %d, want 2", p.register.Busy)
	}
	for _, number := range []uint64{1, 4} {
		if e := p.next(); e.Flags != message.FlagOrigin || e.Origin != origin(number) || e.ID != 1 {
			t.Errorf("got %v %+v, want the outcome of %d, attempt 1", e.Kind, e, number)
		}
	}
	claimed := map[uint64]uint64{} // their attempts
	for range 2 {
		e := p.next()
		if e.Kind != message.KindProgress || e.Flags != message.FlagOrigin|message.FlagClaim {
			t.Fatalf("got %v %+v", e.Kind, e)
		}
		claimed[e.Origin.Number] = e.ID
	}
	p.want(message.KindCapacity, 4)
	if claimed[2] != 2 || claimed[3] != 1 {
		t.Errorf("claimed %v", claimed)
	}
	// The new broker names the calls by their origin.
	p.send(message.Envelope{Kind: message.KindCancel, Flags: message.FlagOrigin, Origin: origin(3)})
	if e := p.next(); e.Kind != message.KindError || e.Origin != origin(3) || e.ID != 1 {
		t.Errorf("got %v %+v", e.Kind, e)
	}
	close(l.open)
	if e := p.next(); e.Kind != message.KindResult || e.Flags != message.FlagOrigin || e.Origin != origin(2) || e.ID != 2 {
		t.Errorf("got %v %+v", e.Kind, e)
	}
	p.call(1, "add", 5, 5) // tokens of a new link are its own
	p.result(1)
	if n := l.runs.Load(); n != 1 {
		t.Errorf("gate ran %d times", n)
	}
}

// An outcome that comes while there is no link is told to the next broker.
func TestWorker_outcomeWithoutALink(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLab()
	w := start(t, b, l, nil)
	p := b.worker()
	p.call(1, "gate", "x")
	receive(t, l.entered, "the method")
	b.kill()
	until(t, "the link is gone", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.conn == nil })
	close(l.open)
	until(t, "the outcome is kept", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.kept.list) == 1 })
	b = newScripted(t, b.addr, 2, nil)
	p = b.worker()
	if e := p.next(); e.Kind != message.KindResult || e.Origin != origin(1) {
		t.Errorf("got %v %+v", e.Kind, e)
	}
}

// A call that had not begun runs for the new broker, and not for the old one.
func TestWorker_waitingCallsOfALostLink(t *testing.T) {
	for _, c := range []struct {
		name string
		id   byte
		runs int64
	}{{"the same broker has given it to others", 1, 1}, {"another broker", 2, 2}} {
		t.Run(c.name, func(t *testing.T) {
			leakCheck(t)
			b := newScripted(t, "127.0.0.1:0", 1, nil)
			l := newLab()
			w := start(t, b, l, func(c *Config) { c.Concurrency = 2 })
			w.pool.limit = 1 // so that the second call waits
			p := b.worker()
			p.call(1, "gate", "first")
			p.call(2, "gate", "second")
			receive(t, l.entered, "the first")
			until(t, "the second waits", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.calls.Len() == 2 })
			b.kill()
			b = newScripted(t, b.addr, c.id, nil)
			p = b.worker()
			close(l.open)
			outcomes := 0
			for outcomes < int(c.runs) && c.runs > 1 {
				if e := p.next(); e.Kind == message.KindResult {
					outcomes++
				}
			}
			p.call(9, "add", 1, 1)
			for e := p.next(); e.ID != 9; e = p.next() {
			}
			if n := l.runs.Load(); n != c.runs {
				t.Errorf("gate ran %d times, want %d", n, c.runs)
			}
		})
	}
}

func TestKept_bounds(t *testing.T) {
	var k kept
	add := func(size int) {
		b := make([]byte, size)
		k.add(outcome{body: buffer.Content{Bytes: b, Memory: buffer.Of(b)}, known: true})
	}
	for range 10 {
		add(maxKeptBytes / 4)
	}
	if k.bytes > maxKeptBytes {
		t.Errorf("%d bytes are kept", k.bytes)
	}
	for range maxKeptCount + 10 {
		add(10)
	}
	if !k.ack(5) || k.ack(4) || k.ack(1<<40) {
		t.Error("ACK is taken wrongly")
	}
	if told, _ := k.move(); len(told) > maxKeptCount || len(told) < maxKeptCount-10 {
		t.Errorf("%d outcomes would be told", len(told))
	}
	k.drop(len(k.list))
	if k.bytes != 0 {
		t.Errorf("%d bytes are left of nothing", k.bytes)
	}
}

func TestWorker_drainOnStop(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLab()
	w := start(t, b, l, func(c *Config) { c.Concurrency = 2 })
	w.pool.limit = 1
	p := b.worker()
	p.call(1, "gate", "first")
	p.call(2, "gate", "second")
	receive(t, l.entered, "the first")
	until(t, "the second waits", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.calls.Len() == 2 })
	w.stop()
	p.want(message.KindCapacity, 0)
	if e := p.failure(2); e.Code != message.ShuttingDown || e.Execution() != message.NotExecuted {
		t.Errorf("got %v", e)
	}
	p.call(3, "add", 1, 1) // crossed with CAPACITY
	if e := p.failure(3); e.Code != message.ShuttingDown {
		t.Errorf("got %v", e)
	}
	close(l.open)
	p.result(1)
	if e := message.ParseError(p.want(message.KindBye, 0).Body); e.Code != message.ShuttingDown {
		t.Errorf("got %v", e)
	}
	p.closed()
	w.gone()
}

// Calls that cross the worker's CAPACITY 0 never ran: they are handed back
// until the broker says that no more will come.
func TestWorker_drainHandsBackCallsOnTheirWay(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	b.mute = true
	w := start(t, b, newLab(), nil)
	p := b.worker()
	p.call(1, "add", 1, 1)
	p.result(1)
	w.stop()
	p.want(message.KindCapacity, 0)
	p.call(2, "add", 1, 1)
	if e := p.failure(2); e.Code != message.ShuttingDown || e.Execution() != message.NotExecuted {
		t.Errorf("got %v", e)
	}
	p.send(message.Envelope{Kind: message.KindDrain})
	p.send(message.Envelope{Kind: message.KindAck, ID: 2})
	p.want(message.KindBye, 0)
	w.gone()
}

func TestWorker_drainTimeout(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLab()
	w := start(t, b, l, func(c *Config) { c.DrainTimeout = -1 })
	p := b.worker()
	p.call(1, "wait")
	receive(t, l.entered, "the method")
	w.stop()
	p.want(message.KindCapacity, 0)
	if e := p.failure(1); e.Code != message.ShuttingDown || e.Execution() != message.MaybeExecuted {
		t.Errorf("got %v, executed: %v", e, e.Execution()) // it ran: a broker must not give it to another worker
	}
	p.want(message.KindBye, 0)
	w.gone()
}

func TestWorker_drainAskedByTheBroker(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	w := start(t, b, newLab(), nil)
	p := b.worker()
	p.send(message.Envelope{Kind: message.KindDrain})
	p.send(message.Envelope{Kind: message.KindDrain})
	p.want(message.KindCapacity, 0)
	p.want(message.KindBye, 0)
	w.gone()
	if err := w.Run(t.Context()); !errors.Is(err, ErrRan) {
		t.Errorf("got %v", err)
	}
}

// A method that ignores its context is named by Run, which does not hang.
func TestWorker_stuckMethod(t *testing.T) {
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLab()
	w := start(t, b, l, func(c *Config) { c.DrainTimeout = -1 })
	p := b.worker()
	p.call(1, "gate", "x")
	receive(t, l.entered, "the method")
	w.stop()
	if err := receive(t, w.err, "the end of Run"); err == nil || !strings.Contains(err.Error(), "1 calls did not end") {
		t.Errorf("got %v", err)
	}
	close(l.open)
	w.err <- nil
}

func TestWorker_failuresToConnect(t *testing.T) {
	server, own := curve.GenerateKey(), curve.GenerateKey()
	refuse := func(err error) zmtp.Mechanism {
		return &curve.Server{Key: server, Admit: func(curve.PublicKey, zmtp.Metadata) (any, error) { return nil, err }}
	}
	keys := func(c *Config) { c.Insecure, c.Key, c.ServerKey = false, own, server.Public() }
	for _, c := range []struct {
		name      string
		mechanism zmtp.Mechanism
		change    func(*Config)
		want      string
	}{
		{"nobody listens", nil, func(c *Config) { c.Addr = "tcp://127.0.0.1:1" }, "connect failed"},
		{"keys against none", nil, keys, "mechanism failed"},
		{"wrong server key", refuse(nil), func(c *Config) { keys(c); c.ServerKey = own.Public() }, "server key failed"},
		{"unknown key", refuse(&zmtp.Refusal{Status: "400", Reason: "unknown key", SDK: true}), keys, "authorisation failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leakCheck(t)
			b := newScripted(t, "127.0.0.1:0", 1, c.mechanism)
			w := start(t, b, newLab(), c.change)
			until(t, "tried more than once", func() bool { return strings.Count(w.log.String(), "level=DEBUG") > 0 })
			if log := w.log.String(); strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, c.want) {
				t.Errorf("want one warning with %q, got\n%s", c.want, log)
			}
		})
	}
}

func TestWorker_frontendIsNotABackend(t *testing.T) {
	leakCheck(t)
	ln, err := zmtp.Listen("tcp://127.0.0.1:0", &zmtp.Config{SocketType: "ROUTER",
		Mechanism: zmtp.Null{Admit: func(zmtp.Metadata) (any, error) { return nil, nil }}}, zmtp.ListenLimits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- ln.Serve(t.Context(), func(l *zmtp.Link) { _ = l.Run(func(*zmtp.Message) error { return nil }) })
	}()
	t.Cleanup(func() { <-done })
	w := start(t, &scripted{addr: ln.Addr().String()}, newLab(), nil)
	until(t, "a warning", func() bool { return strings.Contains(w.log.String(), "not to its frontend") })
}

// What a broker must not send ends the link, and nothing else.
func TestWorker_hostileBroker(t *testing.T) {
	for name, send := range map[string]func(p *peer){
		"an envelope that does not parse": func(p *peer) { _ = p.link.Send([]byte{0, 0, 0, 1, 2, 3}) },
		"a CALL with a short header":      func(p *peer) { _ = p.link.Send([]byte{0, 0, 0, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}) },
		"ACK of what was not sent":        func(p *peer) { p.send(message.Envelope{Kind: message.KindAck, ID: 9}) },
		"REGISTERED twice": func(p *peer) {
			p.send(message.Envelope{Kind: message.KindRegistered, Body: message.Marshal(&message.Registered{})})
		},
		"BYE": func(p *peer) {
			p.send(message.Envelope{Kind: message.KindBye, Body: message.Errorf(message.ShuttingDown, "restart").Append(nil)})
		},
		"a token twice": func(p *peer) { p.call(1, "wait"); p.call(1, "wait") },
	} {
		t.Run(name, func(t *testing.T) {
			leakCheck(t)
			b := newScripted(t, "127.0.0.1:0", 1, nil)
			start(t, b, newLab(), nil)
			p := b.worker()
			send(p)
			p.closed()
			p = b.worker()
			p.call(5, "echo", "still here")
			for e := p.next(); e.ID != 5; e = p.next() {
			}
		})
	}
	t.Run("unknown kinds and calls", func(t *testing.T) {
		leakCheck(t)
		b := newScripted(t, "127.0.0.1:0", 1, nil)
		start(t, b, newLab(), nil)
		p := b.worker()
		p.send(message.Envelope{Kind: 99, ID: 1})
		p.send(message.Envelope{Kind: message.KindCancel, ID: 1})
		p.send(message.Envelope{Kind: message.KindGrant, ID: 1, Sequence: 5})
		p.send(message.Envelope{Kind: message.KindCall, ID: 2, Method: []byte("add"), Body: []byte{0xc1}})
		if e := p.failure(2); e.Code != message.Malformed {
			t.Errorf("got %v", e)
		}
	})
}

func TestConfig_verify(t *testing.T) {
	for want, cfg := range map[string]Config{
		"is not of the form":           {Addr: "localhost:9006", Insecure: true},
		"Key or ServerKey is not set":  {Addr: "tcp://localhost:9006"},
		"MaxMessage 5 is below":        {Addr: "tcp://localhost:9006", Insecure: true, MaxMessage: 5},
		"concurrency -1 is not within": {Addr: "tcp://localhost:9006", Insecure: true, Concurrency: -1},
	} {
		if _, err := New(newLab(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := New(nil, Config{}); err == nil {
		t.Error("nil is served")
	}
}

func TestBackoff(t *testing.T) {
	for n := range 100 {
		d := backoff(n)
		if d < backoffFirst/2 || d > backoffMost {
			t.Errorf("pause %d is %v", n, d)
		}
	}
}

package workersdk

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// patience bounds each wait of a test; it is never used up by a test that passes.
const patience = 20 * time.Second

// scripted is a broker whose part a test plays by hand, over real TCP.
type scripted struct {
	t    testing.TB
	addr string            // host:port
	id   message.SessionID // of this start
	beat time.Duration
	mute bool // sends no ACK, and no DRAIN after CAPACITY 0

	links chan *peer // registered workers, in order

	cancel  context.CancelFunc
	serving sync.WaitGroup

	mu   sync.Mutex
	open []*zmtp.Link
}

// newScripted listens on addr; "127.0.0.1:0" takes any port.
func newScripted(t testing.TB, addr string, id byte, mechanism zmtp.Mechanism) *scripted {
	t.Helper()
	if mechanism == nil {
		mechanism = zmtp.Null{Admit: func(zmtp.Metadata) (any, error) { return nil, nil }}
	}
	ln, err := zmtp.Listen("tcp://"+addr, &zmtp.Config{SocketType: "DEALER", Mechanism: mechanism}, zmtp.ListenLimits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &scripted{t: t, addr: ln.Addr().String(), id: message.SessionID{id}, beat: 5 * time.Second, links: make(chan *peer, 16)}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.serving.Go(func() {
		if err := ln.Serve(ctx, b.serve); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.kill)
	return b
}

// kill ends the broker and its links at once, as SIGKILL does.
func (b *scripted) kill() {
	b.cancel()
	b.mu.Lock()
	for _, l := range b.open {
		l.Close(nil)
	}
	b.mu.Unlock()
	b.serving.Wait()
}

func (b *scripted) serve(link *zmtp.Link) {
	b.mu.Lock()
	b.open = append(b.open, link)
	b.mu.Unlock()
	p := &peer{t: b.t, link: link, in: make(chan message.Envelope, 4096), ended: make(chan struct{})}
	defer close(p.ended)
	outcomes := uint64(0)
	_ = link.Run(func(m *zmtp.Message) error {
		for rest := bytes.Clone(m.Bytes()); len(rest) > 0; {
			var e message.Envelope
			var err error
			if rest, err = e.Next(rest); err != nil {
				b.t.Errorf("the worker sent what does not parse: %v", err)
				return err
			}
			if e.Kind == message.KindResult || e.Kind == message.KindError {
				if outcomes++; !b.mute {
					p.send(message.Envelope{Kind: message.KindAck, ID: outcomes})
				}
			}
			if e.Kind == message.KindCapacity && e.ID == 0 && !b.mute {
				p.send(message.Envelope{Kind: message.KindDrain})
			}
			if e.Kind != message.KindRegister {
				p.in <- e
				continue
			}
			if err := message.Unmarshal(e.Body, &p.register); err != nil {
				b.t.Error(err)
			}
			if e := p.register.Validate(); e != nil {
				b.t.Error(e)
			}
			p.send(message.Envelope{Kind: message.KindRegistered, Body: message.Marshal(&message.Registered{
				Broker: b.id, Worker: p.register.Worker, BeatMillis: b.beat.Milliseconds(), MaxMessage: 1 << 20, Version: "test",
			})})
			b.links <- p
		}
		return nil
	})
}

// worker waits for the next worker to register.
func (b *scripted) worker() *peer {
	b.t.Helper()
	return receive(b.t, b.links, "a registered worker")
}

// peer is the broker's end of one worker's link.
type peer struct {
	t        testing.TB
	link     *zmtp.Link
	register message.Register
	in       chan message.Envelope // all but REGISTER
	ended    chan struct{}
}

func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no sign of %s", what)
		panic("unreachable")
	}
}

func (p *peer) send(e message.Envelope) { _, _ = p.link.Append(e.Append) }

// call sends a CALL whose origin is the session {9} and the token as number.
func (p *peer) call(token uint64, method string, args ...any) {
	p.t.Helper()
	p.callWith(message.Envelope{ID: token}, method, args...)
}

func (p *peer) callWith(e message.Envelope, method string, args ...any) {
	p.t.Helper()
	if args == nil {
		args = []any{}
	}
	packed, err := msgpack.Marshal(args)
	if err != nil {
		p.t.Fatal(err)
	}
	e.Kind, e.Flags, e.Method = message.KindCall, e.Flags|message.FlagOrigin, []byte(method)
	e.Origin = origin(e.ID)
	e.Body = message.AppendBody(nil, packed, nil)
	e.Attempt = max(e.Attempt, 1)
	p.send(e)
}

func origin(number uint64) message.Origin {
	return message.Origin{Session: message.SessionID{9}, Number: number}
}

// next returns the next envelope of the worker.
func (p *peer) next() message.Envelope {
	p.t.Helper()
	return receive(p.t, p.in, "an envelope of the worker")
}

// want returns the next envelope, which must be of the kind and name the token.
func (p *peer) want(kind message.Kind, id uint64) message.Envelope {
	p.t.Helper()
	e := p.next()
	if e.Kind != kind || e.ID != id {
		p.t.Fatalf("got %v %d %q, want %v %d", e.Kind, e.ID, e.Body, kind, id)
	}
	return e
}

// result waits for the RESULT of a token and decodes it.
func (p *peer) result(token uint64) any {
	p.t.Helper()
	e := p.want(message.KindResult, token)
	var v any
	d := msgpack.NewDecoder(bytes.NewReader(e.Body))
	d.UseLooseInterfaceDecoding(true)
	if err := d.Decode(&v); err != nil {
		p.t.Fatal(err)
	}
	return v
}

// failure waits for the ERROR of a token.
func (p *peer) failure(token uint64) *message.Error {
	p.t.Helper()
	return message.ParseError(p.want(message.KindError, token).Body)
}

// closed waits for the end of the link.
func (p *peer) closed() {
	p.t.Helper()
	receive(p.t, p.ended, "the end of the link")
}

// running is a worker under test.
type running struct {
	*Worker
	t    testing.TB
	stop context.CancelFunc // as SIGTERM does
	err  chan error
	log  *syncBuffer
}

// start runs a worker of obj until the test ends. Its Run must return nil then.
func start(t testing.TB, b *scripted, obj any, change func(*Config), opts ...Option) *running {
	t.Helper()
	log := &syncBuffer{}
	cfg := Config{
		Addr: "tcp://" + b.addr, ID: "w1", Insecure: true, Concurrency: 4,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	w, err := New(obj, cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Worker: w, t: t, stop: cancel, err: make(chan error, 1), log: log}
	go func() { r.err <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.err:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("Run does not return; log:\n%s", log)
		}
		if testing.Verbose() {
			t.Logf("log:\n%s", log)
		}
	})
	return r
}

// gone waits until Run has returned nil.
func (r *running) gone() {
	r.t.Helper()
	if err := receive(r.t, r.err, "the end of Run"); err != nil {
		r.t.Fatal(err)
	}
	r.err <- nil // for the clean-up
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// until polls a condition of another goroutine that has no channel to wait on.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// leakCheck fails the test if goroutines are left behind. Call it first: it
// runs after all other clean-ups.
func leakCheck(t testing.TB) {
	t.Helper()
	before, _ := goroutines()
	t.Cleanup(func() {
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			n, stacks := goroutines()
			if n <= before {
				return
			}
			if time.Now().After(end) {
				t.Errorf("%d goroutines, %d before:\n%s", n, before, stacks)
				return
			}
		}
	})
}

// goroutines counts them, but for the one that lumberjack keeps for every file
// that it ever opened.
func goroutines() (n int, stacks string) {
	b := make([]byte, 1<<20)
	stacks = string(b[:runtime.Stack(b, true)])
	for g := range strings.SplitSeq(stacks, "\n\n") {
		if !strings.Contains(g, "lumberjack") {
			n++
		}
	}
	return n, stacks
}

package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/keyring"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// FuzzPeers lets admitted clients and workers send whatever a script says to a
// running broker, from inside the box: random bytes from outside never pass it.
// Whatever they send, nothing panics, the books balance, what is held stays
// within its limits and is let go, and an innocent client is served.
func FuzzPeers(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	v := newVictim(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		g := &gang{victim: v, t: t}
		g.play(script)
		v.serves(t)
		if s := v.broker.dispatcher.Stats(); s.HeldBytes > v.broker.config.Limits.MemoryBudget || s.HeldCalls > int64(v.broker.config.Limits.MaxCalls) {
			t.Errorf("%d calls and %d bytes are held, beyond the limits", s.HeldCalls, s.HeldBytes)
		}
		g.leave()
		v.recovers(t)
		v.serves(t)
	})
}

// victim is a broker without security and two innocents: a client, and a worker
// that serves its method. Links of others are handed to it with the identity
// that a handshake under CURVE would have left on them.
type victim struct {
	broker   *Broker
	door     net.Listener
	innocent *zmtp.Link
	replies  chan string

	mu     sync.Mutex
	defect string // the first panic that was logged; guarded by mu
}

// Bounds of the victim, small enough to be reached.
const (
	fuzzCalls   = 64
	fuzzMessage = 16 << 10
	// fuzzHeap is far above what the limits allow to be held.
	fuzzHeap = 256 << 20
	// fuzzWait is when a wait is given up: the machine may be busy.
	fuzzWait = time.Minute
)

func newVictim(f *testing.F) *victim {
	cfg := &Config{}
	cfg.Main.IP, cfg.Security.Insecure = "127.0.0.1", true
	l, d := &cfg.Limits, &cfg.Dispatch
	l.MaxMessage, l.CallsPerKey, l.BytesPerKey, l.MemoryBudget, l.MaxCalls = fuzzMessage, fuzzCalls, 64<<10, 1<<20, 10*fuzzCalls
	// What outlives a link is let go at once, so that one input cannot be blamed for another's.
	d.ClientGrace, d.IdempotencyWindow, d.DrainTimeout = 1, 1, 1
	d.ClaimGrace = time.Hour // the broker has always been restarted just now
	v := &victim{replies: make(chan string, 16)}
	var err error
	if v.broker, err = New(cfg, WithLogger(slog.New(&panicWatch{v: v}))); err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.broker.Run(ctx) }()
	if v.door, err = net.Listen("unix", filepath.Join(f.TempDir(), "door")); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		v.door.Close()
		cancel()
		if err := <-ended; err != nil {
			f.Error(err)
		}
	})
	v.employ(f)
	v.innocent = v.enter(f, v.broker.Frontend(), "DEALER", nil)
	go func() {
		_ = v.innocent.Run(func(m *zmtp.Message) error { v.replies <- string(m.Bytes()); return nil })
	}()
	return v
}

// enter dials an endpoint of the victim, as an innocent.
func (v *victim) enter(t testing.TB, addr net.Addr, socket string, metadata zmtp.Metadata) *zmtp.Link {
	t.Helper()
	l, err := zmtp.Dial(t.Context(), "tcp://"+addr.String(), &zmtp.Config{SocketType: socket, Mechanism: zmtp.Null{}, Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(nil) })
	return l
}

// employ starts the worker that serves innocent_echo.
func (v *victim) employ(t testing.TB) {
	l := v.enter(t, v.broker.Backend(), "DEALER", zmtp.Metadata{{Name: message.PropertySDK, Value: message.ProtocolVersion}})
	registered := make(chan struct{})
	answer := func(e *message.Envelope) { _, _ = l.Append(func(dst []byte) []byte { return e.Append(dst) }) }
	answer(&message.Envelope{Kind: message.KindRegister, Body: message.Marshal(&message.Register{
		Worker: "good", Concurrency: 8, Methods: []message.Method{{Name: "innocent_echo"}}})})
	go func() {
		_ = l.Run(func(m *zmtp.Message) error {
			var e message.Envelope
			for rest := m.Bytes(); len(rest) > 0; {
				var err error
				if rest, err = e.Next(rest); err != nil {
					return err
				}
				switch e.Kind {
				case message.KindRegistered:
					close(registered)
				case message.KindCall:
					args, _, malformed := message.SplitBody(e.Body)
					if malformed != nil {
						return malformed
					}
					answer(&message.Envelope{Kind: message.KindResult, ID: e.ID, Body: args})
				}
			}
			return nil
		})
	}()
	<-registered
}

// serves fails unless the innocent's call is answered.
func (v *victim) serves(t *testing.T) {
	t.Helper()
	const request, reply = "\x82\xa6method\xadinnocent_echo\xa4args\x91\x2a", "\x81\xa6result\x91\x2a"
	if err := v.innocent.Send([]byte(request)); err != nil {
		t.Fatalf("the innocent's link: %v", err)
	}
	select {
	case got := <-v.replies:
		if got != reply {
			t.Fatalf("the innocent is answered %q", got)
		}
	case <-time.After(fuzzWait):
		t.Fatalf("the innocent is not answered: %+v", v.broker.dispatcher.Stats())
	}
}

// recovers fails unless the victim is, in a while, as it was without guests.
func (v *victim) recovers(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defect := v.defect
	v.mu.Unlock()
	if defect != "" {
		t.Fatalf("contained, but a defect: %s", defect)
	}
	d := v.broker.dispatcher
	for deadline := time.Now().Add(fuzzWait); ; time.Sleep(100 * time.Microsecond) {
		d.Tick()
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		s := d.Stats()
		// The worker of the broker's own methods counts, and so does the innocent's.
		if s.Queued == 0 && s.Running == 0 && s.HeldCalls == 0 && s.HeldBytes == 0 && s.Workers == 2 && s.Sessions == 1 && v.broker.links.len() == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("everybody has left, and this is still there: %+v", s)
		}
	}
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	if metrics.Read(sample); sample[0].Value.Uint64() > fuzzHeap {
		t.Fatalf("the heap has %d MiB", sample[0].Value.Uint64()>>20)
	}
}

// panicWatch is a log that keeps panics and drops the rest.
type panicWatch struct{ v *victim }

func (w *panicWatch) Enabled(context.Context, slog.Level) bool { return true }
func (w *panicWatch) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *panicWatch) WithGroup(string) slog.Handler            { return w }

func (w *panicWatch) Handle(_ context.Context, r slog.Record) error {
	if r.Level < slog.LevelError {
		return nil
	}
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf("\n%s: %v", a.Key, a.Value)
		return true
	})
	w.v.mu.Lock()
	defer w.v.mu.Unlock()
	if w.v.defect == "" {
		w.v.defect = text
	}
	return nil
}

// admit connects a guest with a key of that role and returns its end of the link.
func (v *victim) admit(t *testing.T, role curve.Role, socket string, metadata zmtp.Metadata, served *sync.WaitGroup) *zmtp.Link {
	t.Helper()
	ours, serve := "ROUTER", v.broker.serveFrontend
	if role == curve.RoleWorker {
		ours, serve = "DEALER", v.broker.serveBackend
	}
	patient := v.broker.config.LinkLimits()
	patient.HandshakeWait = fuzzWait
	entry := keyring.Entry{Key: curve.PublicKey{byte(role) + 1}, Role: role, Name: "guest"}
	endpoint := &zmtp.Config{SocketType: ours, Limits: patient,
		Mechanism: zmtp.Null{Admit: func(zmtp.Metadata) (any, error) { return entry, nil }}}
	served.Go(func() {
		conn, err := v.door.Accept()
		if err != nil {
			return
		}
		link, err := zmtp.Handshake(context.Background(), conn, endpoint)
		if err != nil {
			t.Error(err)
			return
		}
		serve(link)
	})
	conn, err := net.Dial("unix", v.door.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	link, err := zmtp.Handshake(t.Context(), conn, &zmtp.Config{SocketType: socket, Mechanism: zmtp.Null{}, Metadata: metadata, Limits: patient})
	if err != nil {
		t.Fatal(err)
	}
	return link
}

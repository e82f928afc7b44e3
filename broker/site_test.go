package broker

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// site is a broker that runs for one test, and the keys of everybody.
type site struct {
	t      testing.TB
	broker *Broker
	keys   curve.Keyset
	stop   context.CancelFunc
	ended  chan error
}

// start runs a broker on free loopback ports until the test ends, with keys for
// server, worker, client and admin, one of a worker that may serve "add" only,
// a revoked one of former's and one of a stranger's that is not in the folder.
func start(t testing.TB, change func(*Config)) *site {
	t.Helper()
	return startLogged(t, slog.NewTextHandler(io.Discard, nil), change)
}

// startLogged is start with a log.
func startLogged(t testing.TB, log slog.Handler, change func(*Config)) *site {
	t.Helper()
	keys := curve.KeysetIn(t.TempDir())
	for _, r := range []curve.Request{
		{Name: "server", Role: curve.RoleServer}, {Name: "worker", Role: curve.RoleWorker},
		{Name: "client", Role: curve.RoleClient}, {Name: "admin", Role: curve.RoleAdmin},
		{Name: "limited", Role: curve.RoleWorker, Methods: []string{"add"}},
		{Name: "former", Role: curve.RoleClient}, {Name: "stranger", Role: curve.RoleClient},
	} {
		if _, err := keys.Generate(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := keys.Revoke("former"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(keys.PublicPath("stranger")); err != nil {
		t.Fatal(err)
	}
	cfg := &Config{}
	cfg.Main.IP = "127.0.0.1"
	cfg.Main.PublicKeysDir, cfg.Main.SecretKeysDir = keys.PublicDir, keys.SecretDir
	cfg.Dispatch.DrainTimeout = time.Second
	if change != nil {
		change(cfg)
	}
	b, err := New(cfg, WithLogger(slog.New(log)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &site{t: t, broker: b, keys: keys, stop: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-s.ended; err != nil {
			t.Errorf("the broker ended with %v", err)
		}
		if err := b.dispatcher.Check(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// dial connects as the owner of the named key, which an insecure broker does not
// ask for, with a socket of the given type.
func (s *site) dial(addr net.Addr, name, socketType string, properties ...zmtp.Property) *zmtp.Link {
	s.t.Helper()
	link, err := s.try(addr, name, socketType, properties...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { link.Close(nil) })
	return link
}

// try is dial that may fail.
func (s *site) try(addr net.Addr, name, socketType string, properties ...zmtp.Property) (*zmtp.Link, error) {
	s.t.Helper()
	own, err := curve.LoadCertificate(s.keys.SecretPath(name))
	if err != nil {
		s.t.Fatal(err)
	}
	server, err := curve.LoadCertificate(s.keys.PublicPath("server"))
	if err != nil {
		s.t.Fatal(err)
	}
	var mechanism zmtp.Mechanism = &curve.Client{Key: own.Secret, ServerKey: server.Public}
	if s.broker.config.Security.Insecure {
		mechanism = zmtp.Null{}
	}
	return zmtp.Dial(s.t.Context(), "tcp://"+addr.String(), &zmtp.Config{SocketType: socketType, Mechanism: mechanism, Metadata: properties})
}

// inbox runs the link and passes on the last frame of each message.
func inbox(link *zmtp.Link) <-chan []byte {
	got := make(chan []byte, 64)
	go func() {
		defer close(got)
		_ = link.Run(func(m *zmtp.Message) error {
			got <- append([]byte(nil), m.Frame(m.Len()-1)...)
			return nil
		})
	}()
	return got
}

func pack(t testing.TB, v any) []byte {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unpack(t testing.TB, b []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := msgpack.Unmarshal(b, &v); err != nil {
		t.Fatalf("%q is not a reply map: %v", b, err)
	}
	return v
}

// serveREP answers as a REP worker would: method "twice" doubles its argument.
func serveREP(link *zmtp.Link) {
	_ = link.Run(func(m *zmtp.Message) error {
		var request struct {
			Method string `msgpack:"method"`
			Args   []int  `msgpack:"args"`
		}
		if err := msgpack.Unmarshal(m.Frame(m.Len()-1), &request); err != nil {
			return err
		}
		reply, err := msgpack.Marshal(map[string]any{"result": 2 * request.Args[0]})
		if err != nil {
			return err
		}
		return link.Send(append([]byte(nil), m.Frame(0)...), nil, reply)
	})
}

// call sends a plain request and returns the reply map.
func (s *site) call(as, method string, args ...any) map[string]any {
	s.t.Helper()
	link := s.dial(s.broker.Frontend(), as, "DEALER")
	defer link.Close(nil)
	replies := inbox(link)
	if err := link.Send(nil, pack(s.t, map[string]any{"method": method, "args": args, "timeout": 20.0})); err != nil {
		s.t.Fatal(err)
	}
	reply, ok := <-replies
	if !ok {
		s.t.Fatalf("%s was not answered: %v", method, link.Cause())
	}
	return unpack(s.t, reply)
}

// ok calls one of the broker's own methods as admin and decodes its result.
func (s *site) ok(into any, method string, args ...any) {
	s.t.Helper()
	r := s.call("admin", method, args...)
	if r["error"] != nil {
		s.t.Fatalf("%s: %v", method, r["error"])
	}
	d := msgpack.NewDecoder(bytes.NewReader(pack(s.t, r["result"])))
	d.SetCustomStructTag("json")
	if err := d.Decode(into); err != nil {
		s.t.Fatalf("%s: %v", method, err)
	}
}

// refused calls a method and wants an error of that code, whose message it returns.
func (s *site) refused(as string, code message.Code, method string, args ...any) string {
	s.t.Helper()
	r := s.call(as, method, args...)
	e, _ := r["error"].(map[string]any)
	if e["code"] != string(code) {
		s.t.Fatalf("%s: %v, want %s", method, r, code)
	}
	return e["message"].(string)
}

// until waits for a condition of another goroutine's making.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

// sdk is a peer that speaks the compact protocol.
type sdk struct {
	t     testing.TB
	link  *zmtp.Link
	got   chan message.Envelope
	ended chan struct{} // closed when the link has ended
}

// compact connects a peer that announces itself as an SDK.
func (s *site) compact(addr net.Addr, name string) *sdk {
	s.t.Helper()
	link := s.dial(addr, name, "DEALER", zmtp.Property{Name: message.PropertySDK, Value: message.ProtocolVersion})
	p := &sdk{t: s.t, link: link, got: make(chan message.Envelope, 1024), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer close(p.got)
		_ = link.Run(func(m *zmtp.Message) error {
			for rest := bytes.Clone(m.Bytes()); len(rest) > 0; {
				var e message.Envelope
				var err error
				if rest, err = e.Next(rest); err != nil {
					return err
				}
				p.got <- e
			}
			return nil
		})
	}()
	return p
}

// attach connects a client with a session, and returns ATTACHED.
func (s *site) attach(session message.SessionID, received uint64) (*sdk, message.Attached) {
	s.t.Helper()
	p := s.compact(s.broker.Frontend(), "client")
	p.send(message.Envelope{Kind: message.KindAttach, ID: received, Body: message.Marshal(&message.Attach{Session: session, Name: "test"})})
	e := p.want(message.KindAttached)
	var body message.Attached
	if err := message.Unmarshal(e.Body, &body); err != nil {
		s.t.Fatal(err)
	}
	return p, body
}

// register connects a worker that serves the methods, two calls at a time.
func (s *site) register(methods ...message.Method) *sdk {
	s.t.Helper()
	p := s.compact(s.broker.Backend(), "worker")
	p.send(registration(methods...))
	p.want(message.KindRegistered)
	return p
}

func registration(methods ...message.Method) message.Envelope {
	return message.Envelope{Kind: message.KindRegister, Body: message.Marshal(&message.Register{
		Worker: "w", Name: "tester", Host: "here", PID: 4242, Concurrency: 2, Methods: methods,
	})}
}

// send sends the envelopes in one message.
func (p *sdk) send(envelopes ...message.Envelope) {
	p.t.Helper()
	_, err := p.link.Append(func(dst []byte) []byte {
		for i := range envelopes {
			dst = envelopes[i].Append(dst)
		}
		return dst
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// want returns the next envelope, which must be of that kind. An ACK comes
// whenever it likes.
func (p *sdk) want(kind message.Kind) message.Envelope {
	p.t.Helper()
	e, ok := <-p.got
	for ok && e.Kind == message.KindAck && kind != message.KindAck {
		e, ok = <-p.got
	}
	if !ok {
		p.t.Fatalf("the link ended with %v, want %v", p.link.Cause(), kind)
	}
	if e.Kind != kind {
		p.t.Fatalf("got %v %q, want %v", e.Kind, e.Body, kind)
	}
	return e
}

// wantError returns the error of the next envelope, of that kind and code.
func (p *sdk) wantError(kind message.Kind, code message.Code) *message.Error {
	p.t.Helper()
	e := message.ParseError(p.want(kind).Body)
	if e.Code != code {
		p.t.Fatalf("got %v, want %s", e, code)
	}
	return e
}

// call is a CALL of a method with one argument.
func call(t testing.TB, number uint64, method string, arg any) message.Envelope {
	return message.Envelope{Kind: message.KindCall, ID: number, Method: []byte(method), Body: message.AppendBody(nil, pack(t, []any{arg}), nil)}
}

// answer is the RESULT of an assigned call.
func answer(t testing.TB, e message.Envelope, result any) message.Envelope {
	return message.Envelope{Kind: message.KindResult, ID: e.ID, Body: pack(t, result)}
}

// secret returns the secret key of that name.
func (s *site) secret(name string) curve.SecretKey {
	s.t.Helper()
	c, err := curve.LoadCertificate(s.keys.SecretPath(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return c.Secret
}

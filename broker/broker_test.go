package broker

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// site is a broker that runs for one test, and the keys of everybody.
type site struct {
	t      *testing.T
	broker *Broker
	keys   curve.Keyset
	stop   context.CancelFunc
	ended  chan error
}

// start runs a broker on free loopback ports, with keys for server, worker,
// client and admin, until the test ends.
func start(t *testing.T, change func(*Config)) *site {
	t.Helper()
	keys := curve.KeysetIn(t.TempDir())
	for name, role := range map[string]curve.Role{
		"server": curve.RoleServer, "worker": curve.RoleWorker, "client": curve.RoleClient, "admin": curve.RoleAdmin,
	} {
		if _, err := keys.Generate(curve.Request{Name: name, Role: role}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := &Config{}
	cfg.Main.IP = "127.0.0.1"
	cfg.Main.PublicKeysDir, cfg.Main.SecretKeysDir = keys.PublicDir, keys.SecretDir
	cfg.Dispatch.DrainTimeout = time.Second
	if change != nil {
		change(cfg)
	}
	b, err := New(cfg, WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
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

// dial connects as the owner of the named key, with a socket of the given type.
func (s *site) dial(addr net.Addr, name, socketType string, properties ...zmtp.Property) *zmtp.Link {
	s.t.Helper()
	own, err := curve.LoadCertificate(s.keys.SecretPath(name))
	if err != nil {
		s.t.Fatal(err)
	}
	server, err := curve.LoadCertificate(s.keys.PublicPath("server"))
	if err != nil {
		s.t.Fatal(err)
	}
	link, err := zmtp.Dial(s.t.Context(), "tcp://"+addr.String(), &zmtp.Config{
		SocketType: socketType,
		Mechanism:  &curve.Client{Key: own.Secret, ServerKey: server.Public},
		Metadata:   properties,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { link.Close(nil) })
	return link
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

func pack(t *testing.T, v any) []byte {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unpack(t *testing.T, b []byte) map[string]any {
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

func TestBroker_carriesPlainCallsToPlainWorkers(t *testing.T) {
	s := start(t, nil)
	go serveREP(s.dial(s.broker.Backend(), "worker", "REP"))
	client := s.dial(s.broker.Frontend(), "client", "DEALER")
	replies := inbox(client)
	for i := range 3 {
		request := pack(t, map[string]any{"method": "twice", "args": []int{i}, "id": i, "timeout": 5.0})
		if err := client.Send(nil, request); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		r := unpack(t, <-replies)
		id, result := r["id"].(int8), r["result"].(int8)
		if result != 2*id {
			t.Errorf("reply %v", r)
		}
	}
}

func TestBroker_answersItsOwnMethods(t *testing.T) {
	s := start(t, nil)
	client := s.dial(s.broker.Frontend(), "client", "DEALER")
	replies := inbox(client)
	if err := client.Send(pack(t, map[string]any{"method": "broker.ping"})); err != nil {
		t.Fatal(err)
	}
	r := unpack(t, <-replies)
	if _, ok := r["result"].(map[string]any); !ok {
		t.Errorf("broker.ping: %v", r)
	}
	if err := client.Send(pack(t, map[string]any{"method": "broker.status"})); err != nil {
		t.Fatal(err)
	}
	r = unpack(t, <-replies)
	if e, _ := r["error"].(map[string]any); e["code"] != string(message.Unauthorized) {
		t.Errorf("broker.status with a client's key: %v", r)
	}
}

func TestBroker_revokedKeyLosesItsLink(t *testing.T) {
	s := start(t, nil)
	client := s.dial(s.broker.Frontend(), "client", "DEALER")
	ended := inbox(client)
	if _, err := s.keys.Revoke("client"); err != nil {
		t.Fatal(err)
	}
	if _, open := <-ended; open {
		t.Error("a message came on the link of a revoked key")
	}
}

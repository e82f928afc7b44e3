package broker

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/keyring"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// The end of a key is the end of all that it has, on every kind of link, and of
// nobody else's.
func TestRevoke_endsSessionsAndWorkers(t *testing.T) {
	s := start(t, nil)
	w := s.register(message.Method{Name: "job"})
	plain := s.dial(s.broker.Frontend(), "client", "DEALER")
	plainEnded := inbox(plain)
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0))
	w.want(message.KindCall)
	away, _ := s.attach(message.SessionID{2}, 0)
	away.send(call(t, 1, "job", 0))
	w.want(message.KindCall)
	away.link.Close(nil)

	if _, err := s.keys.Revoke("client"); err != nil {
		t.Fatal(err)
	}
	c.wantError(message.KindBye, message.Unauthorized)
	<-c.ended
	<-plainEnded
	if n := len(s.broker.dispatcher.Sessions()); n != 0 {
		t.Errorf("%d sessions of a revoked key are left", n)
	}
	if w.link.Cause() != nil {
		t.Errorf("the worker's link ended with %v", w.link.Cause())
	}

	if err := os.Remove(s.keys.PublicPath("worker")); err != nil {
		t.Fatal(err)
	}
	w.wantError(message.KindBye, message.Unauthorized)
	<-w.ended
	until(t, "the worker to be forgotten", func() bool { return len(s.broker.dispatcher.Workers()) == 1 })
}

// A key whose list has changed comes back as what it is now.
func TestRevoke_changedListEndsTheLink(t *testing.T) {
	s := start(t, nil)
	w := s.compact(s.broker.Backend(), "limited")
	w.send(registration(message.Method{Name: "add"}))
	w.want(message.KindRegistered)
	text, err := os.ReadFile(s.keys.PublicPath("limited"))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `"add"`, `"sub"`, 1)
	if changed == string(text) {
		t.Fatalf("the certificate does not hold its list: %s", text)
	}
	if err := os.WriteFile(s.keys.PublicPath("limited"), []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	<-w.ended
	w = s.compact(s.broker.Backend(), "limited")
	w.send(registration(message.Method{Name: "add"}))
	w.wantError(message.KindBye, message.Unauthorized)
}

// raw returns both ends of a link whose server end is not served yet, as it is
// between admission and serving.
func (s *site) raw(name string) (server *zmtp.Link, client *zmtp.Link) {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	defer ln.Close()
	admit := admission{endpoint: "frontend", socketType: "ROUTER", roles: []curve.Role{curve.RoleClient}, keys: s.broker.keys, crowded: s.broker.crowded}
	key, err := loadServerKey(s.keys.SecretPath("server"))
	if err != nil {
		s.t.Fatal(err)
	}
	accepted := make(chan *zmtp.Link, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			close(accepted)
			return
		}
		link, _ := zmtp.Handshake(context.Background(), conn, &zmtp.Config{
			SocketType: "ROUTER", Mechanism: &curve.Server{Key: key, Admit: admit.byKey},
		})
		accepted <- link
	}()
	client = s.dial(ln.Addr(), name, "DEALER")
	return <-accepted, client
}

// A key that is revoked between its admission and its first message is not served.
func TestRevoke_beforeTheLinkIsServed(t *testing.T) {
	s := start(t, nil)
	server, client := s.raw("client")
	if _, err := s.keys.Revoke("client"); err != nil {
		t.Fatal(err)
	}
	who := identify(server)
	until(t, "the revocation", func() bool {
		_, status := s.broker.keys.Lookup(who.entry.Key)
		return status == keyring.Revoked
	})
	replies := inbox(client)
	if err := client.Send(pack(t, map[string]any{"method": "broker.ping"})); err != nil {
		t.Fatal(err)
	}
	s.broker.serveFrontend(server)
	if r, open := <-replies; open {
		t.Errorf("a revoked key was answered: %q", r)
	}
	if err := server.Cause(); !errors.Is(err, errNotAdmitted) {
		t.Errorf("the link ended with %v", err)
	}
	if n := s.broker.links.len(); n != 0 {
		t.Errorf("%d links are on the books", n)
	}
}

// A broker that stops lets what runs finish, refuses what is new, and tells the
// callers of what did not finish in time.
func TestDrain_finishesAndRefuses(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Dispatch.DrainTimeout = time.Minute })
	w := s.register(message.Method{Name: "job"})
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0))
	e := w.want(message.KindCall)
	s.stop()
	until(t, "the drain", func() bool { return s.broker.dispatcher.Stats().Draining })
	c.send(call(t, 2, "job", 0))
	c.wantError(message.KindError, message.ShuttingDown)
	w.send(answer(t, e, "done"))
	if r := c.want(message.KindResult); r.ID != 1 {
		t.Errorf("outcome of call %d", r.ID)
	}
	c.send(message.Envelope{Kind: message.KindAck, ID: 2})
	<-c.ended
	<-w.ended
}

func TestDrain_timeoutIsToldToTheCallers(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Dispatch.DrainTimeout = 50 * time.Millisecond })
	w := s.register(message.Method{Name: "job"})
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0), call(t, 2, "job", 0), call(t, 3, "job", 0))
	w.want(message.KindCall)
	w.want(message.KindCall)
	s.stop()
	codes := map[message.Code]int{}
	for range 3 {
		codes[message.ParseError(c.want(message.KindError).Body).Code]++
	}
	if codes[message.ConnectionLost] != 2 || codes[message.ShuttingDown] != 1 {
		t.Errorf("the calls ended in %v, want two connection_lost and one shutting_down", codes)
	}
	<-c.ended
}

// A client that does not read is cut, its outcomes are kept within its limits,
// and the others are served.
func TestSlowReader_isCut(t *testing.T) {
	s := start(t, func(cfg *Config) {
		cfg.Limits.SlowPeerTimeout, cfg.Limits.SlowPeerBytes = 300*time.Millisecond, 1<<20
	})
	w := s.register(message.Method{Name: "big"})
	go func() {
		for e := range w.got {
			if e.Kind == message.KindCall {
				result := message.Envelope{Kind: message.KindResult, ID: e.ID, Body: append([]byte{0xc6, 0, 8, 0, 0}, make([]byte, 8<<16)...)}
				_, _ = w.link.Append(func(dst []byte) []byte { return result.Append(dst) })
			}
		}
	}()
	slow := s.dial(s.broker.Frontend(), "client", "DEALER")
	for range 100 { // 50 MiB of results, which nobody reads
		if err := slow.Send(pack(t, map[string]any{"method": "big"})); err != nil {
			break
		}
	}
	until(t, "the slow reader to be cut", func() bool {
		for _, session := range s.broker.dispatcher.Sessions() {
			if session.Plain {
				return false
			}
		}
		return s.broker.dispatcher.Stats().Accepted > 0
	})
	other, _ := s.attach(message.SessionID{1}, 0)
	other.send(call(t, 1, "big", 0))
	other.want(message.KindResult)
}

// A silent peer is dead after three beats, and its worker's calls with it.
func TestLiveness_silentWorkerIsLost(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Dispatch.Beat = 500 * time.Millisecond })
	link := s.dial(s.broker.Backend(), "worker", "DEALER", zmtp.Property{Name: message.PropertySDK, Value: message.ProtocolVersion})
	e := registration(message.Method{Name: "job"})
	if _, err := link.Append(func(dst []byte) []byte { return e.Append(dst) }); err != nil {
		t.Fatal(err)
	} // and nobody runs the link: it answers no PING
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0))
	got := c.wantError(message.KindError, message.WorkerLost)
	if reason, _ := got.Details["reason"].(string); !strings.Contains(reason, "silent") {
		t.Errorf("the evidence is %v", got.Details)
	}
}

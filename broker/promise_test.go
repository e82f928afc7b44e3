package broker

import (
	"bytes"
	"net"
	"testing"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Edge cases of what calls are promised (docs/hazards.md, D), over real links.
// Those that need no link are tests of package dispatch.

// A worker answers and is gone: what was read before its end counts.
func TestD_workerDiesAfterItsAnswer(t *testing.T) {
	s := start(t, nil)
	t.Run("SDK", func(t *testing.T) {
		w := s.register(message.Method{Name: "job"})
		c, _ := s.attach(message.SessionID{1}, 0)
		c.send(call(t, 1, "job", 0))
		w.send(answer(t, w.want(message.KindCall), "done"))
		w.link.Finish()
		if r := c.want(message.KindResult); r.ID != 1 {
			t.Errorf("outcome of call %d", r.ID)
		}
	})
	t.Run("REP", func(t *testing.T) {
		worker := s.dial(s.broker.Backend(), "worker", "REP")
		work := frames(worker)
		client := s.dial(s.broker.Frontend(), "client", "DEALER")
		replies := inbox(client)
		if err := client.Send(pack(t, map[string]any{"method": "other"})); err != nil {
			t.Fatal(err)
		}
		if err := worker.Send((<-work)[0], nil, pack(t, map[string]any{"result": 1})); err != nil {
			t.Fatal(err)
		}
		worker.Finish()
		if r := unpack(t, <-replies); r["result"] == nil {
			t.Errorf("got %v", r)
		}
	})
}

// rawLink connects without encryption and returns the connection, too, so that
// the test can send less than a message.
func (s *site) rawLink(addr net.Addr, socketType string, properties ...zmtp.Property) (*zmtp.Link, net.Conn) {
	s.t.Helper()
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		s.t.Fatal(err)
	}
	link, err := zmtp.Handshake(s.t.Context(), conn, &zmtp.Config{SocketType: socketType, Mechanism: zmtp.Null{}, Metadata: properties})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { link.Close(nil) })
	return link, conn
}

// A worker sends a part of its answer and is gone: nothing of it is an answer.
func TestD_halfOfAnAnswer(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Security.Insecure = true })
	leave := func(conn net.Conn, words []byte) {
		t.Helper()
		if _, err := conn.Write(words); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	const more = 0x01
	t.Run("SDK", func(t *testing.T) {
		link, conn := s.rawLink(s.broker.Backend(), "DEALER", zmtp.Property{Name: message.PropertySDK, Value: message.ProtocolVersion})
		calls := make(chan message.Envelope, 1)
		go func() {
			_ = link.Run(func(m *zmtp.Message) error {
				var e message.Envelope
				for rest := bytes.Clone(m.Bytes()); len(rest) > 0; {
					var err error
					if rest, err = e.Next(rest); err != nil {
						return err
					}
					if e.Kind == message.KindCall {
						calls <- e
					}
				}
				return nil
			})
		}()
		r := registration(message.Method{Name: "job"})
		if _, err := link.Append(r.Append); err != nil {
			t.Fatal(err)
		}
		until(t, "the worker to be there", func() bool { return len(s.broker.dispatcher.Workers()) == 2 })
		c, _ := s.attach(message.SessionID{1}, 0)
		c.send(call(t, 1, "job", 0))
		result := answer(t, <-calls, "done")
		whole := result.Append(nil)
		half := append([]byte{more, byte(len(whole) - 3)}, whole[:len(whole)-3]...) // the last frame is missing
		leave(conn, half)
		if x := c.wantError(message.KindError, message.WorkerLost).Execution(); x != message.MaybeExecuted {
			t.Errorf("executed: %v", x)
		}
	})
	t.Run("REP", func(t *testing.T) {
		link, conn := s.rawLink(s.broker.Backend(), "REP")
		work := frames(link)
		client, _ := s.rawLink(s.broker.Frontend(), "DEALER")
		replies := inbox(client)
		if err := client.Send(pack(t, map[string]any{"method": "other"})); err != nil {
			t.Fatal(err)
		}
		token := (<-work)[0]
		half := append(append([]byte{more, 8}, token...), more, 0) // token and delimiter, no reply
		leave(conn, half)
		e, _ := unpack(t, <-replies)["error"].(map[string]any)
		if e["code"] != string(message.WorkerLost) {
			t.Errorf("got %v", e)
		}
	})
}

// A plain client goes and comes back under the Identity that it had: what was
// answered meanwhile is not for the new connection, which may have asked
// something else.
func TestD_clientReturnsUnderItsIdentity(t *testing.T) {
	s := start(t, nil)
	w := s.register(message.Method{Name: "job"})
	identity := zmtp.Property{Name: zmtp.PropertyIdentity, Value: "the same"}
	request := pack(t, map[string]any{"method": "job", "id": "old"})
	old := s.dial(s.broker.Frontend(), "client", "DEALER", identity)
	if err := old.Send(request); err != nil {
		t.Fatal(err)
	}
	job := w.want(message.KindCall)
	ended := inbox(old)
	old.Finish()
	<-ended
	until(t, "the old connection to be forgotten", func() bool { return len(s.broker.dispatcher.Sessions()) == 0 })
	back := s.dial(s.broker.Frontend(), "client", "DEALER", identity)
	replies := inbox(back)
	w.send(answer(t, job, "of the old one"))
	until(t, "the answer to be read", func() bool { return s.broker.dispatcher.Stats().Orphaned == 1 })
	if err := back.Send(pack(t, map[string]any{"method": "broker.ping", "id": "new"})); err != nil {
		t.Fatal(err)
	}
	if r := unpack(t, <-replies); r["id"] != "new" {
		t.Errorf("the new connection got %v", r)
	}
}

// A result that is too large to send on is an outcome, and says that the method ran.
func TestD_answerLargerThanTheLimit(t *testing.T) {
	const limit = 64 << 10
	s := start(t, func(cfg *Config) { cfg.Limits.MaxMessage = limit })
	w := s.register(message.Method{Name: "job"})
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0))
	w.send(answer(t, w.want(message.KindCall), make([]byte, limit+1)))
	if x := c.wantError(message.KindError, message.TooLarge).Execution(); x != message.MaybeExecuted {
		t.Errorf("executed: %v", x)
	}
	c.send(call(t, 2, "job", 0))
	w.send(answer(t, w.want(message.KindCall), "small"))
	c.want(message.KindResult)
}

package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Tests named A1 and B show that a trap of that number in docs/hazards.md has
// been avoided.

// A call goes to one worker, not to each. (hazards A1d)
func TestA1d_oneWorkerGetsACall(t *testing.T) {
	s := start(t, nil)
	var mu sync.Mutex
	got := map[string]int{}
	for range 3 {
		link := s.dial(s.broker.Backend(), "worker", "REP")
		go func() {
			_ = link.Run(func(m *zmtp.Message) error {
				mu.Lock()
				got[string(m.Frame(m.Len()-1))]++
				mu.Unlock()
				return link.Send(append([]byte(nil), m.Frame(0)...), nil, []byte("\x81\xa6result\x01"))
			})
		}()
	}
	until(t, "the workers", func() bool { return s.broker.dispatcher.Stats().Workers == 4 }) // with the broker's own
	for i := range 9 {
		if r := s.call("client", "job", i); r["error"] != nil {
			t.Fatal(r)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 9 {
		t.Errorf("9 calls came as %d", len(got))
	}
	for call, n := range got {
		if n != 1 {
			t.Errorf("%q went to %d workers", call, n)
		}
	}
}

// A peer that announces the Identity of another gets none of its answers.
// (hazards A1h)
func TestA1h_sameIdentityTwice(t *testing.T) {
	s := start(t, nil)
	worker := s.dial(s.broker.Backend(), "worker", "REP")
	go serveREP(worker)
	identity := zmtp.Property{Name: "Identity", Value: "the same"}
	names := []string{"client", "client", "admin"}
	var links []*zmtp.Link
	var replies []<-chan []byte
	for _, name := range names {
		l := s.dial(s.broker.Frontend(), name, "DEALER", identity)
		links, replies = append(links, l), append(replies, inbox(l))
	}
	for round := range 10 {
		for i, l := range links {
			if err := l.Send(pack(t, map[string]any{"method": "twice", "args": []any{100*i + round}, "timeout": 20.0})); err != nil {
				t.Fatal(err)
			}
		}
		for i := range links {
			if r := unpack(t, <-replies[i]); fmt.Sprint(r["result"]) != fmt.Sprint(200*i+2*round) {
				t.Errorf("peer %d is answered %v", i, r)
			}
		}
	}
	for i := range replies {
		if n := len(replies[i]); n > 0 {
			t.Errorf("peer %d got %d answers too many", i, n)
		}
	}
}

// Who knows the session of another key attaches to one of its own. (hazards B)
func TestB_sessionOfAnotherKey(t *testing.T) {
	s := start(t, nil)
	w := s.register(message.Method{Name: "job"})
	session := message.SessionID{7}
	victim, _ := s.attach(session, 0)
	victim.send(call(t, 1, "job", "secret"))
	assigned := w.want(message.KindCall)

	thief := s.compact(s.broker.Frontend(), "admin")
	thief.send(message.Envelope{Kind: message.KindAttach, Body: message.Marshal(&message.Attach{Session: session})},
		message.Envelope{Kind: message.KindCancel, ID: 1})
	if e := thief.want(message.KindAttached); e.ID != 0 {
		t.Errorf("the thief is told of %d calls", e.ID)
	}
	thief.send(call(t, 1, "broker.ping", nil))
	thief.want(message.KindResult)
	w.send(answer(t, assigned, "for the victim"))
	if e := victim.want(message.KindResult); !strings.Contains(string(e.Body), "for the victim") {
		t.Errorf("the victim gets %q", e.Body)
	}
	select {
	case e := <-thief.got:
		t.Errorf("the thief gets %v %q", e.Kind, e.Body)
	default:
	}
}

// A token counts on the connection on which it was given, also for the owner of
// the same key. (hazards B)
func TestB_answerFromAnotherConnection(t *testing.T) {
	s := start(t, nil)
	w := s.register(message.Method{Name: "job"})
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0))
	e := w.want(message.KindCall)
	forger := s.register(message.Method{Name: "other"})
	forger.send(answer(t, e, "forged"))
	until(t, "the forged answer to be dropped", func() bool { return s.broker.dispatcher.Stats().Late == 1 })
	w.send(answer(t, e, "genuine"), answer(t, e, "twice"))
	if got := c.want(message.KindResult); !strings.Contains(string(got.Body), "genuine") {
		t.Errorf("the client gets %q", got.Body)
	}
	until(t, "the second answer to be dropped", func() bool { return s.broker.dispatcher.Stats().Late == 2 })
	if n := len(c.got); n > 0 {
		t.Errorf("the client gets %d outcomes more", n)
	}
}

// Nothing of a peer is on the books before its handshake is done. (hazards B)
func TestB_strangersAreNotOnTheBooks(t *testing.T) {
	s := start(t, nil)
	for range 10 {
		for _, addr := range []net.Addr{s.broker.Frontend(), s.broker.Backend()} {
			conn, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("\xff\x00\x00\x00\x00\x00\x00\x00\x00\x7f\x03")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.try(s.broker.Frontend(), "worker", "DEALER"); err == nil {
			t.Fatal("a worker's key entered the frontend")
		}
	}
	until(t, "the strangers", func() bool { return s.broker.frontend.Unauthenticated()+s.broker.backend.Unauthenticated() >= 20 })
	if st := s.broker.dispatcher.Stats(); s.broker.links.len() != 0 || st.Sessions != 0 || st.Workers != 1 {
		t.Errorf("%d links, %d sessions and %d workers are on the books", s.broker.links.len(), st.Sessions, st.Workers)
	}
}

// lines is a log that counts its lines by message.
type lines struct {
	mu   sync.Mutex
	text []string // guarded by mu
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	var b bytes.Buffer
	if err := slog.NewTextHandler(&b, nil).Handle(context.Background(), r); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b.String())
	return nil
}

func (l *lines) with(parts ...string) (found int) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for _, line := range l.text {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue next
			}
		}
		found++
	}
	return found
}

// An attacker cannot fill the disk: a host has one line a second, and all hosts
// together a bounded number. (hazards B)
func TestB_refusalsDoNotFillTheLog(t *testing.T) {
	var log lines
	a := audit{log: slog.New(&log)}
	began := time.Now().Unix()
	for i := range 5000 {
		a.refuse("frontend", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: i}, errors.New("no"))
	}
	seconds := int(time.Now().Unix() - began + 1)
	if n := log.with("refused"); n < 1 || n > seconds {
		t.Errorf("one host fills %d lines in %d seconds", n, seconds)
	}
	for i := range 5000 {
		a.refuse("frontend", &net.TCPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i))}, errors.New("no"))
	}
	seconds = int(time.Now().Unix() - began + 1)
	if n := log.with("refused"); n > seconds*(maxSaid+1) {
		t.Errorf("5000 hosts fill %d lines in %d seconds", n, seconds)
	}
	if a.refusals() != 10000 {
		t.Errorf("%d refusals are counted", a.refusals())
	}
}

// What an admin changes is on record, with who it was; what others ask for in
// vain is not carried out, and looking is not recorded. (hazards B)
func TestB_adminCommandsAreOnRecord(t *testing.T) {
	log := new(lines)
	s := startLogged(t, log, nil)
	c := s.compact(s.broker.Frontend(), "admin")
	c.send(message.Envelope{Kind: message.KindAttach, Body: message.Marshal(&message.Attach{})}, call(t, 1, "broker.drain", "nobody"))
	c.want(message.KindAttached)
	c.wantError(message.KindError, message.BadArgs)
	s.call("admin", "broker.drain", "somebody")
	s.call("admin", "broker.status")
	s.refused("client", message.Unauthorized, "broker.drain", "all")
	key := s.secret("admin").Public().String()
	for _, who := range []string{"nobody", "somebody"} {
		if n := log.with("command", "broker.drain", who, "name=admin", key, "peer=127.0.0.1:"); n != 1 {
			t.Errorf("drain %s is on record %d times", who, n)
		}
	}
	if n := log.with("command"); n != 2 {
		t.Errorf("%d commands are on record", n)
	}
}

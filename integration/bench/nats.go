package bench

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// natsPeer is what a NATS process needs to know.
type natsPeer struct {
	Addr    string `json:"addr,omitempty"`
	TLS     string `json:"tls,omitempty"` // the folder of the certificate; empty: in clear
	Workers int    `json:"workers,omitempty"`
	Style   string `json:"style,omitempty"`
}

// natsSystem is nats-server with request and reply over a queue group.
func natsSystem(name string, secure bool, style string) *System {
	return &System{Name: name, Start: func(s *Site, l Layout) (*Running, error) {
		r := &Running{}
		p := natsPeer{Style: style, Workers: l.perProcess()}
		if secure {
			p.TLS = s.Dir
			if err := writeTLS(s.Dir); err != nil {
				return r, err
			}
		}
		argv := func(role string) []string {
			spec, _ := json.Marshal(p) // a struct of strings and numbers
			return []string{s.Self, RolePrefix + role, string(spec)}
		}
		var err error
		if r.Broker, err = r.add(s.start(name+"-broker", argv("nats-server")...)); err != nil {
			return r, err
		}
		if p.Addr, err = r.Broker.ready(); err != nil {
			return r, err
		}
		if _, err = r.startWorkers(s, name, argv("nats-worker")); err != nil {
			return r, err
		}
		return r, r.startClient(s, name, argv("nats-client"))
	}}
}

// natsServer runs nats-server with its defaults, but for the size of a message
// and a log that stays silent.
func natsServer(spec string, in io.Reader) error {
	var p natsPeer
	if err := json.Unmarshal([]byte(spec), &p); err != nil {
		return err
	}
	opts := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPayload: 8 << 20, MaxPending: 1 << 30}
	if p.TLS != "" {
		cert, err := tls.LoadX509KeyPair(filepath.Join(p.TLS, certFile), filepath.Join(p.TLS, certKeyFile))
		if err != nil {
			return err
		}
		opts.TLS, opts.TLSConfig, opts.TLSTimeout = true, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}, 10
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	go s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(patience) {
		return errors.New("nats-server does not become ready")
	}
	if err := say(Answer{Ready: s.ClientURL()}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

func (p natsPeer) connect() (*nats.Conn, error) {
	opts := []nats.Option{nats.Timeout(10 * time.Second)}
	if p.TLS != "" {
		opts = append(opts, nats.RootCAs(filepath.Join(p.TLS, certFile)))
	}
	return nats.Connect(p.Addr, opts...)
}

// natsWorker answers as the queue group "workers" does.
func natsWorker(spec string, in io.Reader) error {
	var p natsPeer
	if err := json.Unmarshal([]byte(spec), &p); err != nil {
		return err
	}
	for range p.Workers {
		c, err := p.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		sub, err := c.QueueSubscribe("echo", "workers", func(m *nats.Msg) { _ = m.Respond(m.Data) }) // the client waits for it
		if err != nil {
			return err
		}
		if err := sub.SetPendingLimits(-1, -1); err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
	}
	if err := say(Answer{Ready: "worker"}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

type natsDriver struct {
	peer  natsPeer
	conns []*nats.Conn
}

func natsClient(spec string, in io.Reader) error {
	d := &natsDriver{}
	if err := json.Unmarshal([]byte(spec), &d.peer); err != nil {
		return err
	}
	return runClient(d, in)
}

func (d *natsDriver) open(n int) error {
	for _, c := range d.conns {
		c.Close()
	}
	d.conns = nil
	for range n {
		c, err := d.peer.connect()
		if err != nil {
			return err
		}
		d.conns = append(d.conns, c)
	}
	return nil
}

func (d *natsDriver) drive(l *load) error {
	if d.peer.Style == "calls" {
		return callers(l, func(conn int, payload []byte) ([]byte, error) {
			m, err := d.conns[conn].Request("echo", payload, 2*patience)
			if err != nil {
				return nil, err
			}
			return m.Data, nil
		})
	}
	var driving sync.WaitGroup
	errs := make([]error, len(d.conns))
	for i, c := range d.conns {
		driving.Go(func() { errs[i] = natsPipeline(l, i, c) })
	}
	driving.Wait()
	return errors.Join(errs...)
}

// natsPipeline keeps the slots of one connection busy: it publishes each call
// with an inbox of its own below one subscription, which costs less than
// Request does.
func natsPipeline(l *load, conn int, c *nats.Conn) error {
	inbox := nats.NewInbox()
	answers := make(chan *nats.Msg, len(l.slots))
	sub, err := c.ChanSubscribe(inbox+".*", answers)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is closed after it anyway
	bySubject := map[string]*slot{}
	under := 0
	for i := conn; i < len(l.slots); i += l.cell.Connections {
		s := &l.slots[i]
		subject := fmt.Sprintf("%s.%d", inbox, i)
		bySubject[subject] = s
		if err := c.PublishRequest("echo", subject, s.next()); err != nil {
			return err
		}
		under++
	}
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for under > 0 {
		var m *nats.Msg
		select {
		case m = <-answers:
		default:
			silence.Reset(patience)
			select {
			case m = <-answers:
			case <-silence.C:
				return fmt.Errorf("no answer for %v, %d calls in flight", patience, under)
			}
		}
		s := bySubject[m.Subject]
		if s == nil {
			return fmt.Errorf("an answer to %s, which no call has", m.Subject)
		}
		l.ended(s, m.Data)
		if l.done() {
			under--
			continue
		}
		if err := c.PublishRequest("echo", m.Subject, s.next()); err != nil {
			return err
		}
	}
	return nil
}

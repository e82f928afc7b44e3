package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
)

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
	if d.peer.Style == blocking {
		return callers(l, func(conn int, payload []byte) ([]byte, error) {
			m, err := d.conns[conn].Request("echo", payload, 2*patience)
			if err != nil {
				return nil, err
			}
			return m.Data, nil
		})
	}
	return pipelines(l, func(conn int, mine []*slot) error { return natsPipeline(l, mine, d.conns[conn]) })
}

// natsPipeline keeps the slots of one connection busy: it publishes each call
// with an inbox of its own below one subscription, which costs less than
// Request does.
func natsPipeline(l *load, mine []*slot, c *nats.Conn) error {
	inbox := nats.NewInbox()
	answers := make(chan *nats.Msg, len(mine))
	sub, err := c.ChanSubscribe(inbox+".*", answers)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // an answer that still comes is nobody's
	bySubject := map[string]*slot{}
	under := 0
	for i, s := range mine {
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

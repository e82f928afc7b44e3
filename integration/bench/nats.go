package bench

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
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
	return &System{Name: name, Start: func(ctx context.Context, s *Site, l Layout) (*Running, error) {
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
		if p.Addr, err = r.Broker.ready(ctx); err != nil {
			return r, err
		}
		if _, err = r.startWorkers(ctx, s, name, argv("nats-worker")); err != nil {
			return r, err
		}
		r.crowd = argv("nats-crowd")
		return r, r.startClient(ctx, s, name, argv("nats-client"))
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

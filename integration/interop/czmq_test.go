//go:build czmq

package interop

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	goczmq "github.com/go-zeromq/goczmq/v4"

	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/curve"
)

// Libzmq by way of CZMQ, as C programs use it. Needs libczmq-dev and cgo.

func (s security) czmqClient() []goczmq.SockOption {
	if s.null() {
		return nil
	}
	return czmqKeys(s.client, s.server.Public())
}

func (s security) czmqServer() []goczmq.SockOption {
	if s.null() {
		return nil
	}
	return []goczmq.SockOption{
		goczmq.SockSetCurveServer(1),
		goczmq.SockSetCurvePublickey(s.server.Public().String()),
		goczmq.SockSetCurveSecretkey(s.server.RevealZ85()),
	}
}

// receiveWait is how long a peer waits for one message.
const receiveWait = 30 * time.Second

// receive is RecvMessage that survives a signal. The Go runtime preempts by
// SIGURG; one that meets a thread which has just entered libzmq ends libzmq's
// poll with EINTR, before anything is received, and goczmq does not tell that
// from a timeout.
func receive(sock *goczmq.Sock) (m [][]byte, err error) {
	for began := time.Now(); time.Since(began) < receiveWait; {
		if m, err = sock.RecvMessage(); err == nil || len(m) > 0 {
			break
		}
	}
	return m, err
}

func TestCzmq_clients(t *testing.T) {
	for name, kind := range map[string]int{"REQ": goczmq.Req, "DEALER": goczmq.Dealer} {
		t.Run(name, func(t *testing.T) {
			eachSecurity(t, "czmq", name+" at our server", func(t *testing.T, s security) {
				endpoint, _ := echo(t, "tcp://127.0.0.1:0", "ROUTER", s.ourServer(), nil)
				sock := goczmq.NewSock(kind, append(s.czmqClient(), goczmq.SockSetRcvtimeo(int(receiveWait.Milliseconds())), goczmq.SockSetLinger(0))...)
				defer sock.Destroy()
				if err := sock.Connect(endpoint); err != nil {
					t.Fatal(err)
				}
				for _, m := range everySize() {
					if err := sock.SendMessage(m); err != nil {
						t.Fatal(err)
					}
					got, err := receive(sock)
					if err != nil || len(got) != len(m) || !bytes.Equal(got[0], m[0]) {
						t.Fatalf("%d bytes came back as %d frames, %v", len(m[0]), len(got), err)
					}
				}
			})
		})
	}
}

func TestCzmq_servers(t *testing.T) {
	eachSecurity(t, "czmq", "our DEALER at their ROUTER", func(t *testing.T, s security) {
		sock := goczmq.NewSock(goczmq.Router, append(s.czmqServer(), goczmq.SockSetRcvtimeo(100), goczmq.SockSetLinger(0))...)
		port, err := sock.Bind("tcp://127.0.0.1:*")
		if err != nil || port <= 0 {
			t.Fatalf("port %d, %v", port, err)
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() { // a socket belongs to one goroutine
			defer close(stopped)
			defer sock.Destroy()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if m, err := sock.RecvMessage(); err == nil {
					_ = sock.SendMessage(m)
				}
			}
		}()
		defer func() { close(stop); <-stopped }()
		exchange(t, dial(t, fmt.Sprintf("tcp://127.0.0.1:%d", port), "DEALER", s.ourClient()), everySize()...)
	})
}

// Certificates made by either side are read by the other, metadata included.
func TestCzmq_certificates(t *testing.T) {
	record(t, "czmq CURVE", "certificate files both ways")
	keys := curve.KeysetIn(t.TempDir())
	ours, err := keys.Generate(curve.Request{Name: "ours", Role: curve.RoleWorker})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{keys.PublicPath("ours"), keys.SecretPath("ours")} {
		c, err := goczmq.NewCertFromFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.PublicText() != ours.Public.String() || c.Meta("role") != "worker" {
			t.Errorf("czmq reads %s as key %s of role %q", filepath.Base(path), c.PublicText(), c.Meta("role"))
		}
		c.Destroy()
	}

	theirs := goczmq.NewCert()
	defer theirs.Destroy()
	theirs.SetMeta("role", "worker")
	theirs.SetMeta("name", "made by czmq")
	path := filepath.Join(t.TempDir(), "theirs")
	if err := theirs.Save(path); err != nil {
		t.Fatal(err)
	}
	public, err := curve.LoadCertificate(path)
	if err != nil || public.Public.String() != theirs.PublicText() || public.Role != curve.RoleWorker {
		t.Errorf("we read czmq's public file as %+v, %v", public, err)
	}
	secret, err := curve.LoadCertificate(path + "_secret")
	if err != nil || secret.Secret.Public() != public.Public {
		t.Errorf("we read czmq's secret file with %v", err)
	}
}

// A REQ client through the broker.
func TestCzmq_throughTheBroker(t *testing.T) {
	eachSite(t, "czmq", "REQ through the broker", func(t *testing.T, s *env.Site) {
		var options []goczmq.SockOption
		if own, secure := s.Mechanism("client"); secure {
			options = czmqKeys(own.Key, own.ServerKey)
		}
		sock := goczmq.NewSock(goczmq.Req, append(options, goczmq.SockSetRcvtimeo(int(receiveWait.Milliseconds())), goczmq.SockSetLinger(0))...)
		defer sock.Destroy()
		if err := sock.Connect(s.Frontend()); err != nil {
			t.Fatal(err)
		}
		if err := sock.SendMessage([][]byte{[]byte("\x81\xa6method\xabbroker.ping")}); err != nil {
			t.Fatal(err)
		}
		got, err := receive(sock)
		if err != nil || len(got) != 1 || !bytes.Contains(got[0], []byte("result")) {
			t.Errorf("broker.ping is %q, %v", got, err)
		}
	})
}

func czmqKeys(client curve.SecretKey, server curve.PublicKey) []goczmq.SockOption {
	return []goczmq.SockOption{
		goczmq.SockSetCurveServerkey(server.String()),
		goczmq.SockSetCurvePublickey(client.Public().String()),
		goczmq.SockSetCurveSecretkey(client.RevealZ85()),
	}
}

package interop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Their clients at our server, message by message.
func TestPyzmq_clients(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	for _, client := range []struct {
		name string
		task task
	}{
		{"REQ", task{"type": "REQ"}},
		{"REQ with CORRELATE and RELAXED", task{"type": "REQ", "options": task{"REQ_CORRELATE": 1, "REQ_RELAXED": 1}}},
		{"DEALER", task{"type": "DEALER", "inflight": 4}},
		{"DEALER with delimiter", task{"type": "DEALER", "delimiter": true, "inflight": 4}},
	} {
		t.Run(client.name, func(t *testing.T) {
			eachSecurity(t, "pyzmq", client.name+" at our server", func(t *testing.T, s security) {
				endpoint, _ := echo(t, "tcp://127.0.0.1:0", "ROUTER", s.ourServer(), nil)
				for _, multi := range []bool{false, true} {
					spec := task{"endpoint": endpoint, "curve": s.theirClient(), "sizes": sizes, "multi": multi}
					for k, v := range client.task {
						spec[k] = v
					}
					mustSucceed(t, "roundtrip", spec)
				}
			})
		})
	}
}

// Our client at their servers.
func TestPyzmq_servers(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	for _, server := range []struct {
		theirs, ours string
		prefix       [][]byte
	}{
		{"ROUTER", "DEALER", nil},
		{"ROUTER", "REQ", [][]byte{nil}},
		{"REP", "DEALER", [][]byte{[]byte("token"), nil}},
		{"REP", "REQ", [][]byte{nil}},
		{"DEALER", "DEALER", nil},
		{"DEALER", "ROUTER", nil},
	} {
		t.Run(server.theirs+" and our "+server.ours, func(t *testing.T) {
			eachSecurity(t, "pyzmq", "our "+server.ours+" at their "+server.theirs, func(t *testing.T, s security) {
				var ready struct{ Endpoint string }
				pyzmq(t, "echo", task{"type": server.theirs, "bind": "tcp://127.0.0.1:*", "curve": s.theirServer()}).Next(&ready)
				exchange(t, dial(t, ready.Endpoint, server.ours, s.ourClient()), everySize(server.prefix...)...)
			})
		})
	}
}

func TestPyzmq_fiftyPeersAtOnce(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	eachSecurity(t, "pyzmq", "50 peers of the same identity", func(t *testing.T, s security) {
		endpoint, _ := echo(t, "tcp://127.0.0.1:0", "ROUTER", s.ourServer(), nil)
		mustSucceed(t, "crowd", task{"type": "DEALER", "endpoint": endpoint, "peers": 50, "curve": s.theirClient()})
	})
}

// Libzmq closes a connection whose PINGs are not answered.
func TestPyzmq_heartbeatsOfTheirs(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	eachSecurity(t, "pyzmq", "their heartbeats", func(t *testing.T, s security) {
		endpoint, _ := echo(t, "tcp://127.0.0.1:0", "ROUTER", s.ourServer(), nil)
		mustSucceed(t, "idle", task{"endpoint": endpoint, "curve": s.theirClient(), "seconds": 1,
			"options": task{"HEARTBEAT_IVL": 50, "HEARTBEAT_TIMEOUT": 400, "HEARTBEAT_TTL": 1000}})
	})
}

// Ours are answered, and the TTL that we send is heeded.
func TestPyzmq_heartbeatsOfOurs(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	eachSecurity(t, "pyzmq", "our heartbeats and TTL", func(t *testing.T, s security) {
		var ready struct{ Endpoint string }
		pyzmq(t, "echo", task{"type": "ROUTER", "bind": "tcp://127.0.0.1:*", "curve": s.theirServer()}).Next(&ready)
		l := dial(t, ready.Endpoint, "DEALER", s.ourClient())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(func(*zmtp.Message) error { return nil }) }()
		for range 3 {
			asked := time.Now()
			l.Ping(time.Minute)
			for !l.LastRead().After(asked) {
				select {
				case err := <-ended:
					t.Fatalf("ended with %v", err)
				case <-time.After(time.Millisecond):
				}
			}
		}
		l.Ping(300 * time.Millisecond)
		if err := <-ended; !zmtp.Left(err) { // they give us up
			t.Errorf("ended with %v", err)
		}
	})
}

// A PONG echoes the PING's context, theirs as ours.
func TestPyzmq_pongEchoesTheContext(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	record(t, "pyzmq NULL", "they echo our PING's context")
	var ready struct{ Endpoint string }
	pyzmq(t, "echo", task{"type": "ROUTER", "bind": "tcp://127.0.0.1:*"}).Next(&ready)
	conn := rawDealer(t, ready.Endpoint)
	ping := zmtp.AppendPing(nil, 100, []byte("sixteen bytes ..."))
	if _, err := conn.Write(append([]byte{4, byte(len(ping))}, ping...)); err != nil {
		t.Fatal(err)
	}
	readUntil(t, conn, "\x04PONGsixteen bytes ..")
}

// rawDealer returns a bare NULL connection to their socket after the handshake.
func rawDealer(t *testing.T, endpoint string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	greeting := append([]byte("\xff\x00\x00\x00\x00\x00\x00\x00\x00\x7f\x03\x01NULL"), make([]byte, 48)...)
	if _, err := conn.Write(append(greeting, "\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"...)); err != nil {
		t.Fatal(err)
	}
	readUntil(t, conn, "Identity\x00\x00\x00\x00") // libzmq takes nothing before its own READY has left
	return conn.(*net.TCPConn)
}

func readUntil(t *testing.T, r io.Reader, want string) {
	t.Helper()
	var got []byte
	for b := make([]byte, 1024); !strings.Contains(string(got), want); {
		n, err := r.Read(b)
		if err != nil {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
		got = append(got, b[:n]...)
	}
}

func TestPyzmq_reconnectsAfterOurRestart(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	eachSecurity(t, "pyzmq", "their reconnect after our restart", func(t *testing.T, s security) {
		endpoint, stop := echo(t, "tcp://127.0.0.1:0", "ROUTER", s.ourServer(), nil)
		peer := pyzmq(t, "persist", task{"endpoint": endpoint, "curve": s.theirClient()})
		var answer struct{ Answer int }
		peer.Next(&answer)
		stop()
		echo(t, endpoint, "ROUTER", s.ourServer(), nil)
		before := answer.Answer
		for range 3 {
			peer.Next(&answer)
		}
		if answer.Answer <= before {
			t.Errorf("answer %d came after %d", answer.Answer, before)
		}
	})
}

// A peer that dies within a message delivers nothing of it.
func TestPyzmq_vanishesWithinAMessage(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	eachSecurity(t, "pyzmq", "their end within a message", func(t *testing.T, s security) {
		const size = 4 << 20
		got, ended := make(chan int, 1000), make(chan error, 1)
		ln, err := zmtp.Listen("tcp://127.0.0.1:0", &zmtp.Config{SocketType: "ROUTER", Mechanism: s.ourServer()}, zmtp.ListenLimits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_ = ln.Serve(t.Context(), func(l *zmtp.Link) {
				ended <- l.Run(func(m *zmtp.Message) error {
					if m.Len() != 2 || len(m.Bytes()) != 4+size {
						t.Errorf("%d frames of %d bytes", m.Len(), len(m.Bytes()))
					}
					got <- m.Len()
					return nil
				})
			})
		}()
		peer := pyzmq(t, "flood", task{"endpoint": "tcp://" + ln.Addr().String(), "size": size, "curve": s.theirClient()})
		<-got
		<-got
		peer.Kill()
		if err := <-ended; !zmtp.Left(err) {
			t.Errorf("ended with %v", err)
		}
	})
}

// And what we leave half-sent is nothing to them.
func TestPyzmq_weVanishWithinAMessage(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	record(t, "pyzmq NULL", "our end within a message")
	var ready struct{ Endpoint string }
	pyzmq(t, "echo", task{"type": "ROUTER", "bind": "tcp://127.0.0.1:*"}).Next(&ready)
	for _, half := range []string{"\x01\x04head", "\x01\x04head\x00\x05ab", "\x01"} {
		conn := rawDealer(t, ready.Endpoint)
		if _, err := io.WriteString(conn, half); err != nil {
			t.Fatal(err)
		}
		_ = conn.CloseWrite()
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("half a message was answered with %q, %v", got, err)
		}
	}
	exchange(t, dial(t, ready.Endpoint, "DEALER", zmtp.Null{}), [][]byte{[]byte("still there")})
}

// events runs a pyzmq socket for a while and returns what libzmq reported.
func events(t *testing.T, spec task) string {
	t.Helper()
	var seen struct{ Events [][2]any }
	pyzmq(t, "monitor", spec).Next(&seen)
	var names []string
	for _, e := range seen.Events {
		name := e[0].(string)
		if name == "HANDSHAKE_FAILED_AUTH" {
			name += fmt.Sprintf(" %v", e[1])
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// What each side learns when the other one speaks another mechanism or has
// another key.
func TestPyzmq_mismatches(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	null, secure := security{name: "NULL"}, security{"CURVE", curve.GenerateKey(), curve.GenerateKey()}
	stranger := security{"CURVE", curve.GenerateKey(), secure.client}
	isMechanism := func(err error) bool { var m *zmtp.MechanismError; return errors.As(err, &m) }
	any := func(err error) bool { return err != nil }

	for _, test := range []struct {
		name           string
		server, client security
		ours           func(error) bool
		theirs         string // a part of what libzmq reports
	}{
		{"their NULL client at our CURVE server", secure, null, isMechanism, "HANDSHAKE_FAILED"},
		{"their CURVE client at our NULL server", null, secure, isMechanism, "HANDSHAKE_FAILED"},
		{"their wrong server key", secure, stranger, any, "DISCONNECTED"},
	} {
		t.Run(test.name, func(t *testing.T) {
			record(t, "pyzmq "+test.client.name, test.name)
			failures := make(chan error, 1000)
			endpoint, _ := echo(t, "tcp://127.0.0.1:0", "ROUTER", test.server.ourServer(), func(err error) { failures <- err })
			seen := events(t, task{"endpoint": endpoint, "seconds": 3, "curve": test.client.theirClient(), "until": "DISCONNECTED"})
			if !strings.Contains(seen, test.theirs) {
				t.Errorf("libzmq reports %s, want %s", seen, test.theirs)
			}
			if err := <-failures; !test.ours(err) {
				t.Errorf("we learn %v", err)
			}
		})
	}

	for _, test := range []struct {
		name           string
		server, client security
		step           zmtp.Step
		want           string
	}{
		{"our NULL client at their CURVE server", secure, null, zmtp.StepGreeting, "another mechanism than NULL"},
		{"our CURVE client at their NULL server", null, secure, zmtp.StepGreeting, "another mechanism than CURVE"},
		{"our wrong server key", secure, stranger, zmtp.StepServerKey, zmtp.ErrServerKey.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			record(t, "pyzmq "+test.client.name, test.name)
			var ready struct{ Endpoint string }
			pyzmq(t, "echo", task{"type": "ROUTER", "bind": "tcp://127.0.0.1:*", "curve": test.server.theirServer()}).Next(&ready)
			_, err := zmtp.Dial(t.Context(), ready.Endpoint, &zmtp.Config{SocketType: "DEALER", Mechanism: test.client.ourClient()})
			var step *zmtp.StepError
			if !errors.As(err, &step) || step.Step != test.step || !strings.Contains(err.Error(), test.want) {
				t.Errorf("we learn %v, want step %q and %q", err, test.step, test.want)
			}
		})
	}
}

// Their ZAP handler refuses us: we learn the status.
func TestPyzmq_zapRefusesUs(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	s := security{"CURVE", curve.GenerateKey(), curve.GenerateKey()}
	for _, test := range []struct{ status, want string }{{"200", ""}, {"300", "nothing"}, {"400", "400"}, {"500", "500"}} {
		t.Run(test.status, func(t *testing.T) {
			record(t, "pyzmq CURVE", "their ZAP status "+test.status)
			var ready struct{ Endpoint string }
			pyzmq(t, "echo", task{"type": "ROUTER", "bind": "tcp://127.0.0.1:*", "curve": s.theirServer(),
				"allow": task{s.client.Public().String(): test.status}, "options": task{"ZAP_DOMAIN": "test"}}).Next(&ready)
			cfg := &zmtp.Config{SocketType: "DEALER", Mechanism: s.ourClient()}
			if test.want == "nothing" { // libzmq 4.3 closes, or does not even do that (hazards A3.13)
				cfg.Limits.HandshakeWait = time.Second
			}
			l, err := zmtp.Dial(t.Context(), ready.Endpoint, cfg)
			switch test.want {
			case "":
				if err != nil {
					t.Fatal(err)
				}
				exchange(t, l, [][]byte{[]byte("hello")})
				return
			case "nothing":
				if !errors.Is(err, zmtp.ErrTimeout) && !errors.Is(err, zmtp.ErrNotAdmitted) {
					t.Errorf("we learn %v", err)
				}
				return
			}
			var refusal *zmtp.Refusal
			if !errors.As(err, &refusal) || refusal.Status != test.want || !refusal.ByPeer {
				t.Errorf("we learn %v, want status %s", err, test.want)
			}
		})
	}
}

// Certificates made by either side are read by the other.
func TestPyzmq_certificates(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	record(t, "pyzmq CURVE", "certificate files both ways")
	keys := curve.KeysetIn(t.TempDir())
	ours, err := keys.Generate(curve.Request{Name: "ours", Role: curve.RoleClient})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	var read struct{ Keys map[string][2]string }
	pyzmq(t, "certificates", task{"folder": folder, "read": []string{keys.PublicPath("ours"), keys.SecretPath("ours")}}).Next(&read)
	if got := read.Keys["ours.key_secret"]; got != [2]string{ours.Public.String(), ours.Secret.RevealZ85()} {
		t.Errorf("pyzmq reads the keys of our secret file as %q", got[0])
	}
	if got := read.Keys["ours.key"]; got != [2]string{ours.Public.String(), ""} {
		t.Errorf("pyzmq reads our public file as %q", got)
	}
	secretFile := filepath.Join(folder, "pyzmq.key_secret")
	if err := os.Chmod(secretFile, 0o600); err != nil {
		t.Fatal(err)
	}
	theirs, err := curve.LoadCertificate(secretFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := read.Keys["pyzmq.key_secret"]; got != [2]string{theirs.Public.String(), theirs.Secret.RevealZ85()} || theirs.Role != curve.RoleClient {
		t.Errorf("we read pyzmq's file as %v of role %v", theirs.Public, theirs.Role)
	}
	public, err := curve.LoadCertificate(filepath.Join(folder, "pyzmq.key"))
	if err != nil || public.Public != theirs.Public {
		t.Errorf("we read pyzmq's public file as %v, %v", public, err)
	}
}

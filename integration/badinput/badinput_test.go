// Package badinput provokes each mistake that users make, and wants one clear
// error that names the thing and the remedy, and nothing else disturbed.
package badinput

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
	"github.com/servicetools/servicetools/workersdk"
	"github.com/servicetools/servicetools/workersdk/demo"
)

// call returns the error of a call.
func call(t *testing.T, s *env.Site, method string, args ...any) error {
	t.Helper()
	_, err := clientsdk.Call[any](t.Context(), s.Client(), method, args...)
	return err
}

// dial returns the error of connecting to the frontend with the given keys.
func dial(t *testing.T, s *env.Site, key string, server curve.PublicKey) error {
	t.Helper()
	own, err := curve.LoadCertificate(s.Keys.SecretPath(key))
	if err != nil {
		t.Fatal(err)
	}
	if server.IsZero() {
		certificate, err := curve.LoadCertificate(s.Keys.PublicPath("server"))
		if err != nil {
			t.Fatal(err)
		}
		server = certificate.Public
	}
	c, err := clientsdk.Dial(t.Context(), "tcp://"+s.Broker.Frontend().String(), clientsdk.WithKeys(own.Secret, server))
	if err == nil {
		c.Close(context.Background())
	}
	return err
}

// newBroker returns the error of starting another broker like that of s.
func newBroker(s *env.Site, change func(*broker.Config)) error {
	cfg := s.Config
	cfg.Main.Port, cfg.Main.BackendPort = 0, 0
	change(&cfg)
	_, err := broker.New(&cfg)
	return err
}

// load returns the error of reading a configuration file with the given text.
func load(t *testing.T, text string) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.ini")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := broker.Load(path)
	return err
}

// raw sends bytes that are no request and returns the error of the reply.
func raw(t *testing.T, s *env.Site, body []byte) error {
	t.Helper()
	own, err := curve.LoadCertificate(s.Keys.SecretPath("client"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := curve.LoadCertificate(s.Keys.PublicPath("server"))
	if err != nil {
		t.Fatal(err)
	}
	link, err := zmtp.Dial(t.Context(), "tcp://"+s.Broker.Frontend().String(), &zmtp.Config{
		SocketType: "DEALER", Mechanism: &curve.Client{Key: own.Secret, ServerKey: server.Public},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := link.Send(body); err != nil {
		t.Fatal(err)
	}
	var reply struct {
		Error msgpack.RawMessage `msgpack:"error"`
	}
	done := errors.New("done")
	err = link.Run(func(m *zmtp.Message) error {
		if err := msgpack.Unmarshal(m.Bytes(), &reply); err != nil {
			return err
		}
		return done
	})
	if !errors.Is(err, done) {
		return err
	}
	return message.ParseError(reply.Error)
}

func TestBadInput(t *testing.T) {
	s := env.Start(t, nil)
	s.Worker(demo.Methods{}, 4)
	foreign := curve.GenerateKey().Public()
	garbled := curve.KeysetIn(t.TempDir())
	if _, err := garbled.Generate(curve.Request{Name: "server", Role: curve.RoleServer}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(garbled.SecretPath("server"), []byte("not a certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBystander(t, s.Client())
	type unfit struct{}
	for _, row := range []struct {
		name    string
		provoke func(t *testing.T) error
		is      error    // by errors.Is; nil = not compared
		says    []string // the thing and the remedy
		log     string   // what the broker logs; "" = not its business
	}{
		{"missing certificate", func(*testing.T) error {
			return newBroker(s, func(c *broker.Config) { c.Main.SecretKeysDir = filepath.Join(c.Main.SecretKeysDir, "nowhere") })
		}, os.ErrNotExist, []string{"server.key_secret", "certtool generate"}, ""},
		{"unreadable certificate", func(*testing.T) error {
			return newBroker(s, func(c *broker.Config) { c.Main.SecretKeysDir = garbled.SecretDir })
		}, curve.ErrBadCertificate, []string{"server.key_secret", "certtool generate"}, ""},
		{"key of the wrong role", func(t *testing.T) error { return dial(t, s, "worker", curve.PublicKey{}) },
			nil, []string{"authorisation", "a key of role worker may not enter the frontend", "certtool"}, "a key of role worker may not enter the frontend"},
		{"port in use", func(*testing.T) error {
			return newBroker(s, func(c *broker.Config) { c.Main.Port = s.Config.Main.Port })
		}, nil, []string{"frontend", "address already in use", "choose another port"}, ""},
		{"malformed INI", func(t *testing.T) error { return load(t, "[main\nname = x\n") },
			nil, []string{"server.ini:1"}, ""},
		{"unknown key in the INI", func(t *testing.T) error { return load(t, "[main]\nprot = 8006\n") },
			nil, []string{"server.ini:2", "prot", `did you mean "port"`}, ""},
		{"unknown method", func(t *testing.T) error { return call(t, s, "ad", 1, 2) },
			clientsdk.ErrNoSuchMethod, []string{`"ad"`, `did you mean "add"`}, ""},
		{"too few arguments", func(t *testing.T) error { return call(t, s, "add", 1) },
			clientsdk.ErrBadArgs, []string{"add", "takes 2 arguments, got 1", "Add(int, int) int"}, ""},
		{"argument of the wrong type", func(t *testing.T) error { return call(t, s, "add", 1, "x") },
			clientsdk.ErrBadArgs, []string{"argument 2", "want int, got a string"}, ""},
		{"a body that is not msgpack", func(t *testing.T) error { return raw(t, s, []byte("\xc1hello")) },
			clientsdk.ErrMalformed, []string{"not a msgpack map", `{"method"`}, ""},
		{"a method that panics", func(t *testing.T) error { return call(t, s, "panic", "boom") },
			clientsdk.ErrHandlerPanic, []string{"panic"}, ""},
		{"server key that does not match", func(t *testing.T) error { return dial(t, s, "client", foreign) },
			zmtp.ErrServerKey, []string{"server key"}, "made for another server key"},
		{"a method of an unsuitable shape", func(*testing.T) error {
			_, err := workersdk.New(&unfit{}, workersdk.Config{Insecure: true, Addr: "tcp://127.0.0.1:1"})
			return err
		}, nil, []string{"unfit", "method"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := b.served()
			err := promptly(t, row.provoke)
			if err == nil {
				t.Fatal("nothing is wrong")
			}
			b.await(before + 2) // one of them was made behind the mistake
			if row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("%v is not %v", err, row.is)
			}
			for _, text := range row.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			for row.log != "" && !strings.Contains(s.Log.String(), row.log) {
				select {
				case <-time.After(time.Millisecond):
				case <-t.Context().Done():
					t.Fatalf("the broker's log does not say %q", row.log)
				}
			}
			if sum, err := clientsdk.Call[int](t.Context(), s.Client(), "add", 1, 2); err != nil || sum != 3 {
				t.Errorf("afterwards add(1, 2) = %d, %v", sum, err)
			}
		})
	}
}

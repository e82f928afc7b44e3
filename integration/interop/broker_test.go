package interop

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// eachSite runs a test with a broker under NULL and under CURVE.
func eachSite(t *testing.T, peer, name string, test func(t *testing.T, s *env.Site)) {
	for _, mechanism := range []string{"NULL", "CURVE"} {
		t.Run(mechanism, func(t *testing.T) {
			record(t, peer+" "+mechanism, name)
			var change func(*broker.Config)
			if mechanism == "NULL" {
				change = env.Insecure
			}
			test(t, env.Start(t, change))
		})
	}
}

// keys returns what pyzmq needs to be the owner of a key of the site.
func keys(s *env.Site, name string) any {
	own, secure := s.Mechanism(name)
	if !secure {
		return nil
	}
	return task{"public": own.Key.Public().String(), "secret": own.Key.RevealZ85(), "server": own.ServerKey.String()}
}

func doubled(t *testing.T, v verdict, n int) {
	t.Helper()
	if len(v.Results) != n {
		t.Fatalf("%d results of %d", len(v.Results), n)
	}
	for i, r := range v.Results {
		if r != float64(2*i) {
			t.Errorf("twice %d is %v", i, r)
		}
	}
}

func upTo(n int) (args []int) {
	for i := range n {
		args = append(args, i)
	}
	return args
}

// Their clients and their workers with our broker between them.
func TestPyzmq_throughTheBroker(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	eachSite(t, "pyzmq", "REQ and DEALER to REP workers", func(t *testing.T, s *env.Site) {
		for range 2 {
			var ready verdict
			pyzmq(t, "worker", task{"endpoint": s.Backend(), "curve": keys(s, "worker"),
				"options": task{"HEARTBEAT_IVL": 200, "HEARTBEAT_TIMEOUT": 2000}}).Next(&ready)
		}
		for name, spec := range map[string]task{
			"REQ":                            {"type": "REQ", "args": upTo(10)},
			"REQ with CORRELATE and RELAXED": {"type": "REQ", "args": upTo(10), "options": task{"REQ_CORRELATE": 1, "REQ_RELAXED": 1}},
			"DEALER":                         {"type": "DEALER", "args": upTo(200), "inflight": 50},
			"DEALER with delimiter":          {"type": "DEALER", "args": upTo(200), "inflight": 50, "delimiter": true},
		} {
			t.Run(name, func(t *testing.T) {
				spec["endpoint"], spec["method"], spec["curve"] = s.Frontend(), "twice", keys(s, "client")
				doubled(t, mustSucceed(t, "call", spec), len(spec["args"].([]int)))
			})
		}
	})
}

// One call is in flight at a REP worker, so that its death costs one call.
// (hazards A3.17)
func TestPyzmq_workerDiesWithItsCall(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	eachSite(t, "pyzmq", "a REP worker dies within a call", func(t *testing.T, s *env.Site) {
		var ready verdict
		pyzmq(t, "worker", task{"endpoint": s.Backend(), "curve": keys(s, "worker")}).Next(&ready)
		first := mustSucceed(t, "call", task{"type": "DEALER", "endpoint": s.Frontend(), "method": "stop", "args": upTo(1), "curve": keys(s, "client")})
		if e, _ := first.Results[0].(map[string]any); e["code"] != string(message.WorkerLost) {
			t.Errorf("the call that killed its worker ended in %v", first.Results[0])
		}
		pyzmq(t, "worker", task{"endpoint": s.Backend(), "curve": keys(s, "worker")}).Next(&ready)
		doubled(t, mustSucceed(t, "call", task{"type": "REQ", "endpoint": s.Frontend(), "method": "twice", "args": upTo(3), "curve": keys(s, "client")}), 3)
	})
}

// After a restart of the broker libzmq comes back by itself.
func TestPyzmq_brokerRestarts(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	eachSite(t, "pyzmq", "a REP worker survives our restart", func(t *testing.T, s *env.Site) {
		var ready verdict
		pyzmq(t, "worker", task{"endpoint": s.Backend(), "curve": keys(s, "worker")}).Next(&ready)
		call := task{"type": "REQ", "endpoint": s.Frontend(), "method": "twice", "args": upTo(3), "curve": keys(s, "client")}
		doubled(t, mustSucceed(t, "call", call), 3)
		s.Restart()
		doubled(t, mustSucceed(t, "call", call), 3)
	})
}

// A message beyond the limit ends its connection, and nothing else.
func TestPyzmq_messageBeyondTheLimit(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	eachSite(t, "pyzmq", "a message beyond the limit", func(t *testing.T, s *env.Site) {
		client := s.Dial(s.Frontend(), "client", "DEALER")
		ended := make(chan error, 1)
		go func() {
			ended <- client.Run(func(m *zmtp.Message) error { return fmt.Errorf("it is answered with %q", m.Bytes()) })
		}()
		if err := client.Send(make([]byte, 32<<20)); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !zmtp.Left(err) {
			t.Errorf("ended with %v", err)
		}
		var ready verdict
		pyzmq(t, "worker", task{"endpoint": s.Backend(), "curve": keys(s, "worker")}).Next(&ready)
		doubled(t, mustSucceed(t, "call", task{"type": "REQ", "endpoint": s.Frontend(), "method": "twice", "args": upTo(3), "curve": keys(s, "client")}), 3)
	})
}

// What a peer with the wrong key learns: libzmq gets a status where it may give
// up, and is held where it may not; an SDK is told the reason. (hazards A3.12)
func TestBroker_refusals(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	s := env.Start(t, func(c *broker.Config) { c.Security.UnknownKeyHold = 500 * time.Millisecond })
	stranger := curve.GenerateKey()
	s.NewKey("former", curve.RoleClient)
	if _, err := s.Keys.Revoke("former"); err != nil {
		t.Fatal(err)
	}
	former := s.Secret("former").Secret
	server := s.Secret("server").Public
	sdk := zmtp.Property{Name: message.PropertySDK, Value: message.ProtocolVersion}
	for _, test := range []struct {
		name     string
		key      curve.SecretKey
		endpoint string
		theirs   string // what libzmq reports
		text     string // what an SDK is told
		step     zmtp.Step
	}{
		{"an unknown key", stranger, s.Frontend(), "HANDSHAKE_FAILED_NO_DETAIL, DISCONNECTED", "is unknown", zmtp.StepAuthorise},
		{"a revoked key", former, s.Frontend(), "HANDSHAKE_FAILED_AUTH 400", "was revoked", zmtp.StepAuthorise},
		{"a worker's key at the frontend", s.Secret("worker").Secret, s.Frontend(), "HANDSHAKE_FAILED_AUTH 400", "may not enter the frontend", zmtp.StepAuthorise},
		{"a client's key at the backend", s.Secret("client").Secret, s.Backend(), "HANDSHAKE_FAILED_AUTH 400", "may not enter the backend", zmtp.StepAuthorise},
		{"a client's key under another name", s.Secret("client").Secret, s.Frontend(), "HANDSHAKE_SUCCEEDED", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			record(t, "pyzmq CURVE", test.name)
			seen := events(t, task{"endpoint": test.endpoint, "seconds": 2.5, "until": last(test.theirs),
				"curve": task{"public": test.key.Public().String(), "secret": test.key.RevealZ85(), "server": server.String()}})
			if !strings.Contains(seen, test.theirs) {
				t.Errorf("libzmq reports %s, want %s", seen, test.theirs)
			}
			l, err := zmtp.Dial(t.Context(), test.endpoint, &zmtp.Config{SocketType: "DEALER",
				Mechanism: &curve.Client{Key: test.key, ServerKey: server}, Metadata: zmtp.Metadata{sdk}})
			if test.step == "" {
				if err != nil {
					t.Fatal(err)
				}
				l.Close(nil)
				return
			}
			var step *zmtp.StepError
			if !errors.As(err, &step) || step.Step != test.step || !strings.Contains(err.Error(), test.text) {
				t.Errorf("an SDK learns %v, want step %q and %q", err, test.step, test.text)
			}
		})
	}
}

// last returns the name of the last event of a list.
func last(events string) string {
	list := strings.Split(events, ", ")
	name, _, _ := strings.Cut(list[len(list)-1], " ")
	return name
}

// plainCall makes one call over a link of ours.
func plainCall(ctx context.Context, l *zmtp.Link, method string, arg int) (any, error) {
	stop := context.AfterFunc(ctx, func() { l.Close(ctx.Err()) })
	defer stop()
	b, err := msgpack.Marshal(map[string]any{"method": method, "args": []any{arg}, "timeout": 20.0})
	if err != nil {
		return nil, err
	}
	if err := l.Send(nil, b); err != nil {
		return nil, err
	}
	answer := errors.New("answered")
	var reply map[string]any
	err = l.Run(func(m *zmtp.Message) error {
		if err := msgpack.Unmarshal(m.Frame(m.Len()-1), &reply); err != nil {
			return err
		}
		return answer
	})
	if err != answer {
		return nil, err
	}
	if e := reply["error"]; e != nil {
		return nil, fmt.Errorf("%v", e)
	}
	return reply["result"], nil
}

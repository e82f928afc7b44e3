package curve

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/zmtp"
)

func TestHandshake(t *testing.T) {
	client, server := pair()
	c, s, _, _ := shake(t, client, server)
	if c.err != nil || s.err != nil {
		t.Fatalf("client: %v, server: %v", c.err, s.err)
	}
	if !slices.Equal(c.Metadata, serverMetadata) || !slices.Equal(s.Metadata, clientMetadata) {
		t.Errorf("metadata: client got %v, server got %v", c.Metadata, s.Metadata)
	}
	if s.Key != client.Key.Public() || c.Key != server.Key.Public() || s.Subject != "subject" {
		t.Error("the sides do not agree on who they are")
	}
	for i, flags := range []zmtp.FrameFlags{0, zmtp.FlagMore, zmtp.FlagCommand} {
		for _, size := range []int{0, 1, 221, 222, 223, 70000} {
			body := bytes.Repeat([]byte{byte(i + 1)}, size)
			carry(t, c.Sealer, s.Opener, flags, body)
			carry(t, s.Sealer, c.Opener, flags, body)
		}
	}
}

// carry sends one frame through a sealer and an opener.
func carry(t *testing.T, sealer zmtp.Sealer, opener zmtp.Opener, flags zmtp.FrameFlags, body []byte) {
	t.Helper()
	wire := seal(t, sealer, flags, string(body))
	if len(wire) > len(body)+sealer.Overhead() {
		t.Fatalf("%d bytes became %d, the overhead is said to be %d", len(body), len(wire), sealer.Overhead())
	}
	outer, frame, err := readFrame(bytes.NewReader(wire), len(wire))
	if err != nil {
		t.Fatal(err)
	}
	got, plain, err := opener.Open(outer, frame)
	if err != nil || got != flags || !bytes.Equal(plain, body) {
		t.Fatalf("flags %v became %v, %d bytes became %d, error %v", flags, got, len(body), len(plain), err)
	}
}

func TestHandshake_wrongServerKey(t *testing.T) {
	client, server := pair()
	client.ServerKey = GenerateKey().Public()
	c, s, _, sc := shake(t, client, server)
	if !errors.Is(c.err, zmtp.ErrServerKey) {
		t.Errorf("client: %v, want zmtp.ErrServerKey", c.err)
	}
	if !errors.Is(s.err, errHelloBox) {
		t.Errorf("server: %v", s.err)
	}
	if held := time.Duration(sc.held.Load()); held != 500*time.Millisecond {
		t.Errorf("held for %v, want 0.5 s", held)
	}
}

func TestA3_12_refusals(t *testing.T) {
	for _, test := range []struct {
		name  string
		admit error
		held  time.Duration
		want  func(error) bool
	}{
		{"silent", &zmtp.Refusal{Status: "400", Silent: true, Hold: 3 * time.Second}, 3 * time.Second,
			func(err error) bool { return errors.Is(err, zmtp.ErrNotAdmitted) }},
		{"status for libzmq", &zmtp.Refusal{Status: "400", Reason: "revoked"}, 0,
			func(err error) bool { return isRefusal(err, "400", "") }},
		{"reason for an SDK", &zmtp.Refusal{Status: "400", Reason: "revoked", SDK: true}, 0,
			func(err error) bool { return isRefusal(err, "400", "revoked") }},
		{"any other error", errors.New("the database is down"), 0,
			func(err error) bool { return isRefusal(err, "500", "") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := pair()
			server.Admit = func(PublicKey, zmtp.Metadata) (any, error) { return nil, test.admit }
			c, s, _, sc := shake(t, client, server)
			if !test.want(c.err) {
				t.Errorf("client: %v", c.err)
			}
			if !errors.Is(s.err, test.admit) {
				t.Errorf("server: %v, want %v", s.err, test.admit)
			}
			if held := time.Duration(sc.held.Load()); held != test.held {
				t.Errorf("held for %v, want %v", held, test.held)
			}
		})
	}
}

func isRefusal(err error, status, reason string) bool {
	var r *zmtp.Refusal
	return errors.As(err, &r) && r.ByPeer && r.Status == status && r.Reason == reason
}

func TestHandshake_unconfigured(t *testing.T) {
	client, server := pair()
	for name, mechanism := range map[string]zmtp.Mechanism{
		"client without a key":     &Client{ServerKey: client.ServerKey},
		"client without server":    &Client{Key: client.Key},
		"server without a key":     &Server{Admit: admitAll},
		"server without admission": &Server{Key: server.Key},
	} {
		if _, err := mechanism.Handshake(nil, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

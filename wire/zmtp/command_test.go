package zmtp

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestSplitCommand(t *testing.T) {
	for _, test := range []struct{ body, name, data string }{
		{"\x05READY", "READY", ""},
		{"\x04PING\x00\x0ax", "PING", "\x00\x0ax"},
		{"\x01A", "A", ""},
		{"", "", ""},
		{"\x00READY", "", ""},
		{"\x06READY", "", ""},
		{"\xff", "", ""},
	} {
		name, data, err := SplitCommand([]byte(test.body))
		if test.name == "" {
			if !errors.Is(err, ErrProtocol) {
				t.Errorf("%q: error %v, want ErrProtocol", test.body, err)
			}
		} else if err != nil || string(name) != test.name || string(data) != test.data {
			t.Errorf("%q: got %q, %q, %v", test.body, name, data, err)
		}
	}
}

func TestError_roundTrip(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, test := range []struct {
		name string
		sent Refusal
		want Refusal
	}{
		{"status alone", Refusal{Status: "400"}, Refusal{Status: "400"}},
		{"libzmq reports three digits only", Refusal{Status: "400", Reason: "revoked"}, Refusal{Status: "400"}},
		{"a reason for an SDK", Refusal{Status: "400", Reason: "revoked", SDK: true}, Refusal{Status: "400", Reason: "revoked"}},
		{"a reason that is too long", Refusal{Status: "500", Reason: long, SDK: true}, Refusal{Status: "500", Reason: long[:251]}},
	} {
		t.Run(test.name, func(t *testing.T) {
			name, data, err := SplitCommand(AppendError(nil, &test.sent))
			test.want.ByPeer = true
			if got := ParseError(data); err != nil || string(name) != CommandError || *got != test.want {
				t.Errorf("got %+v, %v; want %+v", *got, err, test.want)
			}
		})
	}
}

func TestParseError_trustsNothing(t *testing.T) {
	for _, test := range []struct{ data, status, reason string }{
		{"", "500", "malformed ERROR"},
		{"\x05abc", "500", "malformed ERROR"},
		{"\x03400", "400", ""},
		{"\x03400trailing", "400", ""},
		{"\x07400 why", "400", "why"},
		{"\x064001 x", "500", "4001 x"},
		{"\x05sorry", "500", "sorry"},
		{"\x07400 \x1b[2J", "500", ""},
		{"\x05400 \n", "500", ""},
	} {
		r := ParseError([]byte(test.data))
		if r.Status != test.status || r.Reason != test.reason || !r.ByPeer {
			t.Errorf("%q: got %+v", test.data, *r)
		}
	}
}

// Libzmq turns 656 deciseconds into 0.06 s. (hazards A3.14)
func TestPing_staysWithinLibzmqsTTL(t *testing.T) {
	for _, test := range []struct {
		ttl  uint16
		want string
	}{{0, "\x00\x00"}, {150, "\x00\x96"}, {655, "\x02\x8f"}, {656, "\x02\x8f"}, {65535, "\x02\x8f"}} {
		_, data, err := SplitCommand(AppendPing(nil, test.ttl, []byte(strings.Repeat("c", 20))))
		if err != nil || string(data) != test.want+strings.Repeat("c", 16) {
			t.Errorf("%d: %q, %v", test.ttl, data, err)
		}
	}
	router, dealer := nullPair(t)
	ended := run(router, func(*Message) error { return nil })
	dealer.Ping(24 * time.Hour)
	got := make([]byte, 9)
	if _, err := dealer.conn.Read(got); err != nil || string(got[:7]) != "\x04\x05\x04PONG" {
		t.Errorf("answer %q, %v", got, err)
	}
	if ttl := time.Duration(router.peerTTL.Load()); ttl != 65500*time.Millisecond {
		t.Errorf("the peer heeds a TTL of %v", ttl)
	}
	router.Close(nil)
	<-ended
}

func FuzzCommand(f *testing.F) {
	f.Add([]byte("\x05READY\x0bSocket-Type\x00\x00\x00\x03REQ"))
	f.Add([]byte("\x05ERROR\x07400 why"))
	f.Add([]byte("\x04PING\x00\x0acontext"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name, data, err := SplitCommand(b)
		if err != nil {
			return
		}
		if again := AppendCommand(nil, string(name), data); string(again) != string(b) {
			t.Errorf("%q became %q", b, again)
		}
		r := ParseError(data)
		r.SDK = true
		_, data, err = SplitCommand(AppendError(nil, r))
		if again := ParseError(data); err != nil || again.Status != r.Status {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}

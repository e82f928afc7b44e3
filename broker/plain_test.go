package broker

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// frames runs the link and passes on the frames of each message.
func frames(link *zmtp.Link) <-chan [][]byte {
	got := make(chan [][]byte, 64)
	go func() {
		defer close(got)
		_ = link.Run(func(m *zmtp.Message) error {
			all := make([][]byte, m.Len())
			for i := range all {
				all[i] = bytes.Clone(m.Frame(i))
			}
			got <- all
			return nil
		})
	}()
	return got
}

// What stands in front of a request comes back in front of its reply, and
// nothing that a plain client sends ends in silence.
func TestPlainClient_everyRequestIsAnswered(t *testing.T) {
	s := start(t, nil)
	ping := pack(t, map[string]any{"method": "broker.ping", "id": 7})
	garbage := []byte("{not msgpack}")
	long := make([]byte, maxEnvelope)
	for _, c := range []struct {
		name     string
		sent     [][]byte
		envelope [][]byte
		code     message.Code // "" = a result
	}{
		{"DEALER without delimiter", [][]byte{ping}, nil, ""},
		{"REQ", [][]byte{{}, ping}, [][]byte{{}}, ""},
		{"REQ_CORRELATE", [][]byte{[]byte("req1"), {}, ping}, [][]byte{[]byte("req1"), {}}, ""},
		{"behind two ROUTERs", [][]byte{[]byte("a"), []byte("bb"), {}, ping}, [][]byte{[]byte("a"), []byte("bb"), {}}, ""},
		{"empty message", [][]byte{{}}, nil, message.Malformed},
		{"REQ with an empty body", [][]byte{{}, {}}, [][]byte{{}}, message.Malformed},
		{"REQ with two frames", [][]byte{{}, ping, ping}, [][]byte{{}}, message.Malformed},
		{"two frames without a delimiter", [][]byte{ping, ping}, nil, message.Malformed},
		{"a second delimiter", [][]byte{[]byte("a"), {}, []byte("b"), {}, ping}, [][]byte{[]byte("a"), {}}, message.Malformed},
		{"garbage", [][]byte{{}, garbage}, [][]byte{{}}, message.Malformed},
		{"map without method", [][]byte{{}, pack(t, map[string]any{"id": 1})}, [][]byte{{}}, message.Malformed},
		{"unknown key", [][]byte{{}, pack(t, map[string]any{"method": "x", "metod": 1})}, [][]byte{{}}, message.Malformed},
		{"unknown method", [][]byte{{}, pack(t, map[string]any{"method": "broker.pong"})}, [][]byte{{}}, message.Unauthorized},
		{"envelope too large", [][]byte{long, {}, ping}, nil, message.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			link := s.dial(s.broker.Frontend(), "client", "DEALER")
			replies := frames(link)
			if err := link.Send(c.sent...); err != nil {
				t.Fatal(err)
			}
			got, ok := <-replies
			if !ok {
				t.Fatalf("no reply: %v", link.Cause())
			}
			envelope, reply := got[:len(got)-1], unpack(t, got[len(got)-1])
			if len(envelope) != len(c.envelope) {
				t.Fatalf("the reply stands behind %q, want %q", envelope, c.envelope)
			}
			for i := range envelope {
				if !bytes.Equal(envelope[i], c.envelope[i]) {
					t.Errorf("the reply stands behind %q, want %q", envelope, c.envelope)
				}
			}
			e, _ := reply["error"].(map[string]any)
			if code, _ := e["code"].(string); code != string(c.code) {
				t.Errorf("reply %v, want code %q", reply, c.code)
			}
		})
	}
}

// An envelope of hundreds of frames must not be mistaken for a short one.
func TestPlainClient_envelopeOfManyFrames(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Limits.MaxFrames = 1000 })
	link := s.dial(s.broker.Frontend(), "client", "DEALER")
	replies := frames(link)
	many := make([][]byte, 0, 300)
	for range 256 {
		many = append(many, []byte("x"))
	}
	many = append(many, nil, pack(t, map[string]any{"method": "broker.ping"}))
	if err := link.Send(many...); err != nil {
		t.Fatal(err)
	}
	got := <-replies
	if len(got) != 1 || unpack(t, got[0])["error"].(map[string]any)["code"] != string(message.TooLarge) {
		t.Errorf("got %q, want too_large", got)
	}
}

// A REP worker may answer anything; its caller gets one outcome, and the next
// caller is served.
func TestPlainWorker_whateverItAnswers(t *testing.T) {
	s := start(t, nil)
	worker := s.dial(s.broker.Backend(), "worker", "REP")
	work := frames(worker)
	client := s.dial(s.broker.Frontend(), "client", "DEALER")
	replies := inbox(client)
	for _, c := range []struct {
		name   string
		answer [][]byte // behind the token and the empty frame
		twice  bool
		code   message.Code
	}{
		{"a result", [][]byte{pack(t, map[string]any{"result": 1})}, false, ""},
		{"garbage", [][]byte{[]byte("garbage")}, false, message.Malformed},
		{"nothing", [][]byte{{}}, false, message.Malformed},
		{"two frames", [][]byte{pack(t, map[string]any{"result": 1}), []byte("more")}, false, message.Malformed},
		{"an error of words", [][]byte{pack(t, map[string]any{"error": "no luck"})}, false, message.Application},
		{"an error with a code", [][]byte{pack(t, map[string]any{"error": map[string]any{"code": "bad_args", "message": "x"}})}, false, message.BadArgs},
		{"twice", [][]byte{pack(t, map[string]any{"result": 2})}, true, ""},
		{"the last", [][]byte{pack(t, map[string]any{"result": nil})}, false, ""},
	} {
		if err := client.Send(nil, pack(t, map[string]any{"method": "anything", "args": []string{c.name}, "timeout": 30.0})); err != nil {
			t.Fatal(err)
		}
		m, ok := <-work
		if !ok {
			t.Fatalf("%s: the worker's link ended with %v", c.name, worker.Cause())
		}
		if len(m) != 3 || len(m[0]) != 8 || len(m[1]) != 0 {
			t.Fatalf("%s: the worker got %q", c.name, m)
		}
		n := 1
		if c.twice {
			n = 2
		}
		for range n {
			if err := worker.Send(append([][]byte{m[0], nil}, c.answer...)...); err != nil {
				t.Fatal(err)
			}
		}
		r := unpack(t, <-replies)
		e, _ := r["error"].(map[string]any)
		if code, _ := e["code"].(string); code != string(c.code) {
			t.Errorf("%s: %v, want code %q", c.name, r, c.code)
		}
	}
	if late := s.broker.dispatcher.Stats().Late; late != 1 {
		t.Errorf("%d late answers were counted, want the second one", late)
	}
}

// A worker without its envelope is no REP worker; its caller learns what is known.
func TestPlainWorker_withoutEnvelopeIsCut(t *testing.T) {
	s := start(t, nil)
	worker := s.dial(s.broker.Backend(), "worker", "DEALER")
	work := frames(worker)
	client := s.dial(s.broker.Frontend(), "client", "DEALER")
	replies := inbox(client)
	if err := client.Send(pack(t, map[string]any{"method": "anything"})); err != nil {
		t.Fatal(err)
	}
	<-work
	if err := worker.Send(pack(t, map[string]any{"result": 1})); err != nil {
		t.Fatal(err)
	}
	r := unpack(t, <-replies)
	if e := r["error"].(map[string]any); e["code"] != string(message.WorkerLost) {
		t.Errorf("%v, want worker_lost", r)
	}
	if _, open := <-work; open {
		t.Error("the worker's link lives on")
	}
}

// A REP worker that is drained gets no further call, and its link ends once it
// has answered.
func TestPlainWorker_drains(t *testing.T) {
	s := start(t, nil)
	worker := s.dial(s.broker.Backend(), "worker", "REP")
	work := frames(worker)
	client := s.dial(s.broker.Frontend(), "client", "DEALER")
	replies := inbox(client)
	if err := client.Send(pack(t, map[string]any{"method": "anything"})); err != nil {
		t.Fatal(err)
	}
	m := <-work
	var drained []string
	s.ok(&drained, "broker.drain", "all")
	if len(drained) != 1 || drained[0] != "plain" {
		t.Errorf("drained %v", drained)
	}
	if err := worker.Send(m[0], nil, pack(t, map[string]any{"result": "done"})); err != nil {
		t.Fatal(err)
	}
	if r := unpack(t, <-replies); r["result"] != "done" {
		t.Errorf("reply %v", r)
	}
	if _, open := <-work; open {
		t.Error("a drained worker got another call")
	}
}

// A REP worker that is silent for twice the deadline is cut, so that its slot
// is not lost for ever.
func TestPlainWorker_silentBeyondTheDeadlineIsCut(t *testing.T) {
	s := start(t, nil)
	work := frames(s.dial(s.broker.Backend(), "worker", "REP"))
	client := s.dial(s.broker.Frontend(), "client", "DEALER")
	replies := inbox(client)
	if err := client.Send(pack(t, map[string]any{"method": "anything", "timeout": 0.2})); err != nil {
		t.Fatal(err)
	}
	if m := <-work; binary.BigEndian.Uint64(m[0]) == 0 {
		t.Error("a token of zero")
	}
	r := unpack(t, <-replies)
	if e := r["error"].(map[string]any); e["code"] != string(message.DeadlineInHandler) {
		t.Errorf("%v, want deadline_in_handler", r)
	}
	if _, open := <-work; open {
		t.Error("the silent worker got another call")
	}
}

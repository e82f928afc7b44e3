package hostile

import (
	"crypto/rand"
	"sync"
	"testing"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// maxIdle is what an idle connection under CURVE may cost the broker in all.
const maxIdle = 16 << 10

// What a client that has made a call and is idle now costs the broker: heap and
// stack, its session included.
func TestCost_idleClients(t *testing.T) {
	const n = 400
	for _, test := range []struct {
		name string
		sdk  bool
	}{{"plain", false}, {"SDK", true}} {
		t.Run(test.name, func(t *testing.T) {
			tg := aim(t)
			tg.work(t)
			b, err := tg.join(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer b.leave()
			if _, err := b.call(1); err != nil {
				t.Fatal(err)
			}
			before := tg.vitals(t, "settled")
			var reading sync.WaitGroup
			var links []*zmtp.Link
			for range n {
				links = append(links, idleClient(t, tg, test.sdk, &reading))
			}
			after := tg.vitals(t, "settled")
			for _, l := range links {
				l.Close(nil)
			}
			reading.Wait()
			each := (after.Memory - before.Memory) / n
			t.Logf("an idle %s client costs the broker %d bytes", test.name, each)
			if each > maxIdle {
				t.Errorf("an idle %s client costs the broker %d bytes, more than %d", test.name, each, maxIdle)
			}
			settle(t, tg, before)
		})
	}
}

// idleClient connects, has a call answered, and stays.
func idleClient(t *testing.T, tg *target, sdk bool, reading *sync.WaitGroup) *zmtp.Link {
	t.Helper()
	body := []byte("\x82\xa6method\xa4echo\xa4args\x91\xda\x04\x00" + string(make([]byte, 1024)))
	var properties []zmtp.Property
	if sdk {
		properties = []zmtp.Property{{Name: message.PropertySDK, Value: message.ProtocolVersion}}
	}
	l, err := tg.dial(t.Context(), "client", tg.Frontend, "DEALER", properties...)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{}, 2) // ATTACHED, and the outcome
	reading.Go(func() {
		_ = l.Run(func(*zmtp.Message) error { answered <- struct{}{}; return nil })
	})
	if sdk {
		attach := message.Attach{Name: "idle"}
		_, _ = rand.Read(attach.Session[:])
		_, err = l.Append((&message.Envelope{Kind: message.KindAttach, Body: message.Marshal(&attach)}).Append)
		if err == nil {
			<-answered
			call := message.AppendBody(nil, body[18:], nil)
			_, err = l.Append((&message.Envelope{Kind: message.KindCall, ID: 1, Method: []byte("echo"), Body: call}).Append)
		}
		if err == nil {
			<-answered
			_, err = l.Append((&message.Envelope{Kind: message.KindAck, ID: 1}).Append)
		}
	} else if err = l.Send(body); err == nil {
		<-answered
	}
	if err != nil {
		t.Fatal(err)
	}
	l.Ping(0) // what a heartbeat does within seconds
	return l
}

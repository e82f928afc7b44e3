package broker

import (
	"testing"

	"github.com/servicetools/servicetools/wire/message"
)

func TestBroker_carriesPlainCallsToPlainWorkers(t *testing.T) {
	s := start(t, nil)
	go serveREP(s.dial(s.broker.Backend(), "worker", "REP"))
	client := s.dial(s.broker.Frontend(), "client", "DEALER")
	replies := inbox(client)
	for i := range 3 {
		request := pack(t, map[string]any{"method": "twice", "args": []int{i}, "id": i, "timeout": 5.0})
		if err := client.Send(nil, request); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		r := unpack(t, <-replies)
		id, result := r["id"].(int8), r["result"].(int8)
		if result != 2*id {
			t.Errorf("reply %v", r)
		}
	}
}

func TestBroker_answersItsOwnMethods(t *testing.T) {
	s := start(t, nil)
	client := s.dial(s.broker.Frontend(), "client", "DEALER")
	replies := inbox(client)
	if err := client.Send(pack(t, map[string]any{"method": "broker.ping"})); err != nil {
		t.Fatal(err)
	}
	r := unpack(t, <-replies)
	if _, ok := r["result"].(map[string]any); !ok {
		t.Errorf("broker.ping: %v", r)
	}
	if err := client.Send(pack(t, map[string]any{"method": "broker.status"})); err != nil {
		t.Fatal(err)
	}
	r = unpack(t, <-replies)
	if e, _ := r["error"].(map[string]any); e["code"] != string(message.Unauthorized) {
		t.Errorf("broker.status with a client's key: %v", r)
	}
}

func TestBroker_revokedKeyLosesItsLink(t *testing.T) {
	s := start(t, nil)
	client := s.dial(s.broker.Frontend(), "client", "DEALER")
	ended := inbox(client)
	if _, err := s.keys.Revoke("client"); err != nil {
		t.Fatal(err)
	}
	if _, open := <-ended; open {
		t.Error("a message came on the link of a revoked key")
	}
}

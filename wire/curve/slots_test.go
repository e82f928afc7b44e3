package curve

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/servicetools/servicetools/wire/zmtp"
)

func TestServer_slots(t *testing.T) {
	client, server := pair()
	synctest.Test(t, func(t *testing.T) {
		server.Slots = NewSlots(1)
		server.Slots <- struct{}{}
		done := make(chan error, 4)
		for range cap(done) {
			go func() {
				c, s, _, _ := shake(t, client, server)
				done <- errors.Join(c.err, s.err)
			}()
		}
		synctest.Wait()
		if len(done) != 0 {
			t.Error("a handshake ended without a slot")
		}
		<-server.Slots
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestServer_slotIsFreeWhileItWaitsForThePeer(t *testing.T) {
	client, server := pair()
	server.Slots = NewSlots(1)
	server.Admit = func(PublicKey, zmtp.Metadata) (any, error) {
		if len(server.Slots) != 0 {
			t.Error("admission runs in a slot")
		}
		return nil, nil
	}
	check := func(b []byte) []byte {
		if len(server.Slots) != 0 {
			t.Error("a command is sent from within a slot")
		}
		return b
	}
	c, s, _, _ := shake(t, client, server, func(_, s *commands) { s.alter = check })
	if err := errors.Join(c.err, s.err); err != nil {
		t.Error(err)
	}
}

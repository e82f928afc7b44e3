package broker

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// A key has so many connections and no more. An SDK learns why and that it may
// come back; a plain peer is held, since libzmq gives up for good after a word.
func TestAdmission_connectionsPerKey(t *testing.T) {
	const limit = 3
	s := start(t, func(cfg *Config) {
		cfg.Limits.ConnectionsPerKey = limit
		cfg.Security.UnknownKeyHold = 10 * time.Millisecond
	})
	sdk := zmtp.Property{Name: message.PropertySDK, Value: message.ProtocolVersion}
	var mine []*zmtp.Link
	for range limit {
		mine = append(mine, s.dial(s.broker.Frontend(), "client", "DEALER"))
	}
	key := s.secret("client").Public().String()
	until(t, "the links to be counted", func() bool { return s.broker.links.count(key) == limit })

	_, err := s.try(s.broker.Frontend(), "client", "DEALER", sdk)
	if !zmtp.IsTemporary(err) || !strings.Contains(err.Error(), "has 3 connections already") || !strings.Contains(err.Error(), "connections_per_key") {
		t.Errorf("an SDK learns %v", err)
	}
	if _, err := s.try(s.broker.Frontend(), "client", "DEALER"); !errors.Is(err, zmtp.ErrNotAdmitted) {
		t.Errorf("a plain peer learns %v", err)
	}
	s.dial(s.broker.Frontend(), "admin", "DEALER", sdk) // another key is not concerned
	mine[0].Close(nil)
	until(t, "a place", func() bool {
		link, err := s.try(s.broker.Frontend(), "client", "DEALER", sdk)
		if err == nil {
			link.Close(nil)
		}
		return err == nil
	})
	for _, l := range mine {
		l.Close(nil)
	}
	until(t, "the links to be forgotten", func() bool { return s.broker.links.count(key) == 0 })
}

// Many at the door at once do not slip in together.
func TestAdmission_connectionsPerKeyAtOnce(t *testing.T) {
	const limit = 3
	s := start(t, func(cfg *Config) {
		cfg.Limits.ConnectionsPerKey, cfg.Security.CryptoSlots = limit, 20
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			link, err := s.try(s.broker.Frontend(), "client", "DEALER", zmtp.Property{Name: message.PropertySDK, Value: message.ProtocolVersion})
			if err == nil {
				t.Cleanup(func() { link.Close(nil) })
			} else if !zmtp.IsTemporary(err) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.broker.links.len(); n > limit {
		t.Errorf("%d links are on the books", n)
	}
}

// Without security it is the host that counts, and the reason follows the handshake.
func TestInsecure_connectionsPerHost(t *testing.T) {
	s := start(t, func(cfg *Config) {
		cfg.Security.Insecure, cfg.Limits.ConnectionsPerKey = true, 1
		cfg.Main.PublicKeysDir, cfg.Main.SecretKeysDir = "", ""
	})
	dial := func(properties ...zmtp.Property) *zmtp.Link {
		l, err := zmtp.Dial(t.Context(), "tcp://"+s.broker.Frontend().String(), &zmtp.Config{SocketType: "DEALER", Mechanism: zmtp.Null{}, Metadata: properties})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close(nil) })
		return l
	}
	dial()
	until(t, "the link to be counted", func() bool { return s.broker.links.len() == 1 })
	var bye *message.Error
	err := dial(zmtp.Property{Name: message.PropertySDK, Value: message.ProtocolVersion}).Run(func(m *zmtp.Message) error {
		var e message.Envelope
		if _, err := e.Next(m.Bytes()); err != nil || e.Kind != message.KindBye {
			t.Errorf("kind %v, %v", e.Kind, err)
		}
		bye = message.ParseError(e.Body)
		return nil
	})
	if bye == nil || bye.Code != message.QueueFull || !strings.Contains(bye.Message, "127.0.0.1 has 1 connections already") {
		t.Errorf("an SDK learns %v, %v", bye, err)
	}
	if err := dial().Run(func(m *zmtp.Message) error { t.Errorf("a plain peer is told %q", m.Bytes()); return nil }); !zmtp.Left(err) {
		t.Errorf("a plain peer's link ended with %v", err)
	}
}

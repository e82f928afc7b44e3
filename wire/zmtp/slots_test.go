package zmtp

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNewSlots(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, test := range []struct{ cores, n, want int }{
		{1, 0, 1}, {2, 0, 1}, {8, 0, 7}, {2, 5, 5},
	} {
		runtime.GOMAXPROCS(test.cores)
		if got := cap(NewSlots(test.n)); got != test.want {
			t.Errorf("NewSlots(%d) with %d cores has %d", test.n, test.cores, got)
		}
	}
}

// What a peer waits for a slot is not its time: else a crowd that comes back at
// once would time out half done, and come back for ever.
func TestSlots_waitingIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := NewSlots(1)
		slots.take()
		said, peer := io.Pipe()
		h := &handshake{conn: readConn{Reader: said}, slots: slots, silent: new(atomic.Int64), left: 2 * time.Second}
		read := make(chan error)
		go func() { read <- h.read(make([]byte, 3)) }()
		slots.take() // it gives the slot up while it waits
		if _, err := io.WriteString(peer, "abc"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if h.silent.Load() != 0 {
			t.Error("a peer that waits for a slot can be evicted as silent")
		}
		time.Sleep(time.Hour)
		slots.give()
		if err := <-read; err != nil || h.left != 2*time.Second {
			t.Errorf("%v, and %v of its time is left", err, h.left)
		}
	})
}

// holdingMechanism refuses every peer after a while.
type holdingMechanism struct{ Null }

func (holdingMechanism) Handshake(c Commands, _ Metadata) (Security, error) {
	c.Hold(time.Hour)
	return Security{}, errors.New("held")
}

// Peers that say nothing, half a greeting, or are held have no slot.
func TestSlots_areFreeWhileWaiting(t *testing.T) {
	for _, test := range []struct {
		name      string
		mechanism Mechanism
		said      int
	}{
		{"for a greeting", Null{}, 0}, {"for its end", Null{}, 20}, {"for READY", Null{}, greetingSize}, {"on hold", holdingMechanism{}, greetingSize},
	} {
		t.Run(test.name, func(t *testing.T) {
			slots := NewSlots(1)
			cfg := &Config{SocketType: "ROUTER", Mechanism: test.mechanism, Limits: Limits{HandshakeWait: time.Hour}}
			d := openDoor(t, cfg, ListenLimits{Slots: slots})
			for _, conn := range d.silent(5) {
				_, _ = conn.Write(newGreeting("NULL", false)[:test.said])
			}
			// All of them wait, or the slot would not be free for good.
			for d.waitingFor() < 5 {
				time.Sleep(time.Millisecond)
			}
			slots.take()
			slots.give()
		})
	}
}

// waitingFor returns how many peers keep the door waiting.
func (d *door) waitingFor() (n int) {
	d.waiting.mu.Lock()
	defer d.waiting.mu.Unlock()
	for e := d.waiting.list.Front(); e != nil; e = e.Next() {
		if e.Value.(*waiter).silent.Load() != 0 {
			n++
		}
	}
	return n
}

// What comes right behind the handshake, in one piece with it, is not lost.
func TestHandshake_keepsWhatComesAhead(t *testing.T) {
	greeting := newGreeting("NULL", false)
	ready := AppendCommand(nil, CommandReady, Metadata{{PropertySocketType, "DEALER"}}.Append(nil))
	said := append(greeting[:], AppendFrameHeader(nil, FlagCommand, len(ready))...)
	want := append(frames("first"), frames("second")...)
	said = append(append(said, ready...), want...)
	for _, size := range []int{1, 3, 64, 100, len(said)} {
		conn := openDoor(t, nullRouter, ListenLimits{}).silent(1)[0]
		for rest := said; len(rest) > 0; {
			n, err := conn.Write(rest[:min(size, len(rest))])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		got := make([]byte, len(said)-len("DEALER")+len("ROUTER"))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.HasSuffix(got, want) {
			t.Errorf("said in pieces of %d bytes, it is answered by %q, %v", size, got, err)
		}
	}
}

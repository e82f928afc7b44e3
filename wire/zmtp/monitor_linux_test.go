//go:build !386 && !s390x

package zmtp

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// metronome sends messages of one byte, each a few milliseconds after the last: this
// process is idle in between, and its monitor asleep.
const metronome = `for i in 1 2 3 4 5 6 7 8 9 10; do printf '\000\001a'; sleep 0.003; printf '\000\001b'; sleep 0.003; done`

// A goroutine that computes on what came in a call unseen by the runtime loses its
// processor to another as ever, which takes some 10 ms. If the monitor slept on, it
// would take until its next look, which it has after a minute in any case.
func TestMonitor_whoComputesIsPreempted(t *testing.T) {
	const tooLong = 20 * time.Second // as far from 10 ms as from that minute
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	ours, theirs := connected(t)
	output, err := theirs.File()
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	cmd := exec.Command("/bin/sh", "-c", metronome)
	cmd.Stdout = output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	output.Close()
	computed := 0
	err = nullLink(ours, Limits{}).Run(func(m *Message) error {
		if m.Frame(0)[0] == 'b' {
			var others atomic.Bool
			began := time.Now()
			go others.Store(true)
			for !others.Load() { // needs a processor, of which this keeps the only one
			}
			if d := time.Since(began); d > tooLong {
				return fmt.Errorf("the other goroutine got the processor after %v", d)
			}
			computed++
		}
		return nil
	})
	if err != io.EOF || computed != 10 {
		t.Errorf("%v after %d of 10 messages", err, computed)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// While there are calls a timer is set, and soon after there is none.
func TestMonitor_timer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMonitor(monitorPeriod)
		if m.unseen() {
			t.Error("the first call may be unseen, before which nothing was set")
		}
		for range 100 {
			if !m.unseen() {
				t.Fatal("the monitor may sleep on beside calls")
			}
			time.Sleep(monitorPeriod / 3)
		}
		time.Sleep(2 * monitorPeriod)
		if m.state.Load() != unset {
			t.Error("the timer is still set, for nobody")
		}
		if m.unseen() {
			t.Error("after a pause a call may be unseen")
		}
		time.Sleep(2 * monitorPeriod)
	})
}

// Whatever comes together, the timer runs while it counts as set, and not else.
func TestMonitor_concurrent(t *testing.T) {
	m := newMonitor(time.Hour)
	for range 200 {
		var users sync.WaitGroup
		for range 4 {
			users.Go(func() {
				for range 100 {
					m.unseen()
				}
			})
		}
		users.Go(func() {
			for range 10 {
				if m.timer.Stop() { // as if its time had come
					m.tick()
				}
			}
		})
		users.Wait()
		if state, runs := m.state.Load(), m.timer.Stop(); (state != unset) != runs {
			t.Fatalf("in state %d the timer runs: %v", state, runs)
		}
		m.state.Store(unset)
	}
}

// A link within a bubble of synctest does not set the timer by the bubble's clock.
func TestMonitor_bubble(t *testing.T) {
	m := newMonitor(time.Hour)
	synctest.Test(t, func(t *testing.T) {
		for range 3 {
			if m.unseen() {
				t.Error("a call goes unseen")
			}
		}
	})
	if m.state.Load() != unset || m.timer.Stop() {
		t.Error("the timer is set")
	}
	if m.unseen() || !m.unseen() {
		t.Error("outside it is not as ever")
	}
	m.timer.Stop()
}

package dispatch

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// One at a time has it, whatever line he comes from.
func TestMutex_excludes(t *testing.T) {
	var m mutex
	m.init()
	const each, rounds = 20, 2000
	n := 0 // guarded by m
	var running sync.WaitGroup
	for i := range 2 * each {
		running.Go(func() {
			for range rounds {
				if i%2 == 0 {
					m.LockForClient()
				} else {
					m.Lock()
				}
				n++
				m.Unlock()
			}
		})
	}
	running.Wait()
	if want := 2 * each * rounds; n != want {
		t.Errorf("%d passes, want %d", n, want)
	}
	if m.state.Load() != 0 || m.lines[0].waiting.Load() != 0 || m.lines[1].waiting.Load() != 0 {
		t.Errorf("it is left with %+v", &m)
	}
}

// waiters has goroutines wait for a lock that the caller holds, and returns what tells
// their names in the order in which they had it.
func waiters(m *mutex, clients, others int) func() string {
	var order []byte // guarded by m
	for range clients {
		go func() {
			m.LockForClient()
			order = append(order, 'c')
			m.Unlock()
		}()
	}
	for range others {
		go func() {
			m.Lock()
			order = append(order, 'o')
			m.Unlock()
		}()
	}
	synctest.Wait()
	return func() string {
		synctest.Wait()
		return string(order)
	}
}

// A client waits for one of the others at most, however many there are, and the other
// way round.
func TestMutex_linesAlternate(t *testing.T) {
	for _, c := range []struct {
		clients, others int
		want            []string
	}{
		{3, 6, []string{"cococoooo", "ocococooo"}},
		{6, 3, []string{"cocococcc", "ocococccc"}},
		{0, 3, []string{"ooo"}},
		{3, 0, []string{"ccc"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var m mutex
			m.init()
			m.Lock()
			order := waiters(&m, c.clients, c.others)
			m.Unlock()
			if got := order(); !slices.Contains(c.want, got) {
				t.Errorf("%d clients and %d others had it in the order %s, want one of %s", c.clients, c.others, got, c.want)
			}
		})
	}
}

// Who was woken in vain too often has it before those who wait, and before those who
// come by, however often it is free just then.
func TestMutex_whoLosesInsists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m mutex
		m.init()
		m.Lock()
		unlucky := waiters(&m, 1, 0)
		for range losses {
			m.lines[lineOfClients].token <- struct{}{}
			synctest.Wait()
		}
		order := waiters(&m, 2, 2)
		m.next = lineOfOthers
		if got := m.state.Load(); got != locked+insistent {
			t.Fatalf("the state is %d", got)
		}
		// Free for a moment, in which somebody comes by.
		m.state.Add(-locked)
		if m.try() {
			t.Error("somebody who came by took it before who insists")
		}
		m.state.Add(locked)
		m.Unlock()
		if got := unlucky(); got != "c" {
			t.Errorf("who insists had it %q times", got)
		}
		if got := order(); len(got) != 4 {
			t.Errorf("the others had it in the order %s", got)
		}
		if m.state.Load() != 0 {
			t.Errorf("the state is %d", m.state.Load())
		}
	})
}

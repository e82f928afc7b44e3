package dispatch

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// One at a time has it, from whatever line, also while many wait and lose.
func TestMutex_excludes(t *testing.T) {
	var m mutex
	m.init()
	const each, rounds = 20, 2000
	n := 0 // guarded by m
	var running sync.WaitGroup
	for i := range 2 * each {
		lock := m.Lock
		if i%2 == 0 {
			lock = m.LockForClient
		}
		running.Go(func() {
			for range rounds {
				lock()
				n++
				if n%16 == 0 {
					runtime.Gosched() // with the lock held, so that others wait and lose
				}
				m.Unlock()
			}
		})
	}
	running.Wait()
	if want := 2 * each * rounds; n != want {
		t.Errorf("%d passes, want %d", n, want)
	}
	if s, c, o := m.state.Load(), m.lines[clientLine].waiting.Load(), m.lines[otherLine].waiting.Load(); s != 0 || c != 0 || o != 0 {
		t.Errorf("left with state %d, %d clients and %d others waiting", s, c, o)
	}
}

// wait has a goroutine wait for m, which the caller holds, and note its name in order
// when it has it.
func wait(m *mutex, lock func(), name byte, order *[]byte) {
	go func() {
		lock()
		*order = append(*order, name)
		m.Unlock()
	}()
	synctest.Wait()
}

// Where nobody else comes by, a client waits for one of the others at most, however many
// there are, and the other way round.
func TestMutex_linesAlternate(t *testing.T) {
	for _, c := range []struct {
		clients, others int
		want            string
	}{
		{3, 6, "cococoooo"}, {6, 3, "cocococcc"}, {0, 3, "ooo"}, {3, 0, "ccc"},
	} {
		t.Run(fmt.Sprintf("%d clients, %d others", c.clients, c.others), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var m mutex
				var order []byte // guarded by m
				m.init()
				m.Lock()
				for range c.others {
					wait(&m, m.Lock, 'o', &order)
				}
				for range c.clients {
					wait(&m, m.LockForClient, 'c', &order)
				}
				m.Unlock()
				synctest.Wait()
				if string(order) != c.want {
					t.Errorf("the order was %s, want %s", order, c.want)
				}
			})
		})
	}
}

// A goroutine that runs need not wait for those that do.
func TestMutex_whoRunsIsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m mutex
		var order []byte // guarded by m
		m.init()
		m.Lock()
		wait(&m, m.Lock, 'o', &order)
		wait(&m, m.LockForClient, 'c', &order)
		m.state.Add(-locked) // an Unlock whose waiter is not there yet
		if !m.try() {
			t.Fatal("the lock is free, and was not to be had")
		}
		order = append(order, 'r')
		m.Unlock()
		synctest.Wait()
		if string(order) != "rco" {
			t.Errorf("the order was %s, want rco", order)
		}
	})
}

// Who was woken in vain too often has it before those that wait, and before those that
// come by, however often it is free just then.
func TestMutex_whoLosesInsists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m mutex
		var order []byte // guarded by m
		m.init()
		m.Lock()
		wait(&m, m.LockForClient, 'u', &order)
		for range maxInVain {
			m.lines[clientLine].token <- struct{}{}
			synctest.Wait()
		}
		if got := m.state.Load(); got != locked+insistent {
			t.Fatalf("the state is %d", got)
		}
		for range 2 {
			wait(&m, m.LockForClient, 'c', &order)
			wait(&m, m.Lock, 'o', &order)
		}
		m.state.Add(-locked) // free for a moment, in which somebody comes by
		if m.try() {
			t.Error("somebody who came by took it before the one that insists")
		}
		m.state.Add(locked)
		m.Unlock()
		synctest.Wait()
		if len(order) != 5 || order[0] != 'u' {
			t.Errorf("the order was %s, want u, who insists, first", order)
		}
		if s := m.state.Load(); s != 0 {
			t.Errorf("the state is %d", s)
		}
	})
}

func TestMutex_unlockedTooOften(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("nobody noticed")
		}
	}()
	var m mutex
	m.init()
	m.Unlock()
}

// BenchmarkMutex is passes of goroutines that want it all the time.
func BenchmarkMutex(b *testing.B) {
	for _, n := range []int{1, 300} {
		b.Run(fmt.Sprintf("%dgoroutines", n), func(b *testing.B) {
			var m mutex
			m.init()
			b.SetParallelism(n)
			b.ReportAllocs()
			passes := 0 // guarded by m
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					m.Lock()
					passes++
					m.Unlock()
				}
			})
		})
	}
}

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// router answers each request with what answer makes of its frames.
func router(t *testing.T, answer func(frames [][]byte) [][]byte) string {
	t.Helper()
	ln, err := zmtp.Listen("tcp://127.0.0.1:0", &zmtp.Config{SocketType: "ROUTER", Mechanism: zmtp.Null{}}, zmtp.ListenLimits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- ln.Serve(ctx, func(l *zmtp.Link) {
			stop := context.AfterFunc(ctx, func() { l.Close(nil) })
			defer stop()
			_ = l.Run(func(m *zmtp.Message) error {
				var frames [][]byte
				for i := range m.Len() {
					frames = append(frames, bytes.Clone(m.Frame(i)))
				}
				return l.Send(answer(frames)...)
			})
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "tcp://" + ln.Addr().String()
}

// damage changes one byte of what has the size of the measured work, but not of
// what opens the connections.
func damage(payload []byte) []byte {
	if len(payload) == 100 {
		payload[99] ^= 1
	}
	return payload
}

// unpickled returns the payload of a Python Message, which stands in its pickle
// as it is, behind the opcode SHORT_BINBYTES and its length.
func unpickled(pickle []byte) []byte {
	for _, size := range []int{8, 100, 0} {
		if _, rest, ok := bytes.Cut(pickle, []byte{'C', byte(size)}); ok && len(rest) >= size {
			return bytes.Clone(rest[:size])
		}
	}
	return nil
}

// pickled returns the pickle of a short bytes object.
func pickled(b []byte) []byte {
	return slices.Concat([]byte{0x80, 3, 'C', byte(len(b))}, b, []byte{'.'})
}

// foreigner is a client in another language, and what an echo is to it.
type foreigner struct {
	system string
	argv   func(endpoint string) []string
	answer func(change func([]byte) []byte) func([][]byte) [][]byte
}

func foreigners(t *testing.T, s *Site) []foreigner {
	echo := func(change func([]byte) []byte) func([][]byte) [][]byte {
		return func(frames [][]byte) [][]byte {
			frames[len(frames)-1] = change(frames[len(frames)-1])
			return frames
		}
	}
	return []foreigner{
		{LibzmqNull, func(endpoint string) []string {
			peer, err := compileLibzmq(s)
			if err != nil {
				t.Fatal(err)
			}
			return []string{peer, "client", "0", "", "", "", endpoint}
		}, echo},
		{PyzmqNull, func(endpoint string) []string {
			return []string{env.Python, pyzmqScript(t, s), `{"role": "client", "endpoint": "` + endpoint + `"}`}
		}, func(change func([]byte) []byte) func([][]byte) [][]byte {
			return echo(func(b []byte) []byte { return pickled(change(unpickled(b))) })
		}},
	}
}

// begin starts the client against a router that answers with what change makes of a
// payload; nil if it cannot run here.
func (c foreigner) begin(t *testing.T, s *Site, change func([]byte) []byte) *Running {
	t.Helper()
	if len(here(t, s, c.system)) == 0 {
		return nil
	}
	r := &Running{}
	t.Cleanup(r.Stop)
	if err := r.startClient(t.Context(), s, "client", c.argv(router(t, c.answer(change)))); err != nil {
		t.Fatal(err)
	}
	return r
}

func same(b []byte) []byte { return b }

// A client counts each answer that is not what it sent; a sample of such a
// window is an error.
func TestClients_noticeWrongAnswers(t *testing.T) {
	s := newSite(t)
	for _, c := range foreigners(t, s) {
		for _, change := range []struct {
			name  string
			do    func([]byte) []byte
			wrong bool
		}{{"echo", same, false}, {"damage", damage, true}} {
			t.Run(c.system+"/"+change.name, func(t *testing.T) {
				r := c.begin(t, s, change.do)
				if r == nil {
					return
				}
				_, err := r.Run(t.Context(), Cell{Size: 100, InFlight: 3, Connections: 1}, Timing{Measure: 20 * time.Millisecond})
				if noticed := err != nil && strings.Contains(err.Error(), "not what was sent"); noticed != change.wrong || !change.wrong && err != nil {
					t.Errorf("the sample's error is %v", err)
				}
			})
		}
	}
}

// The shortest window holds a whole call, also of payloads that are all alike: each of
// nine slots has had an answer before the first of them has a second.
func TestClients_waitForAWholeCall(t *testing.T) {
	s := newSite(t)
	for _, c := range foreigners(t, s) {
		for _, size := range []int{0, 8} {
			t.Run(fmt.Sprintf("%s/%dB", c.system, size), func(t *testing.T) {
				r := c.begin(t, s, same)
				if r == nil {
					return
				}
				if err := r.Client.tell("measure %d 9 1 0 0 2 0 0 0", size); err != nil {
					t.Fatal(err)
				}
				a, err := r.Client.next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if a.Done == nil || a.Done.Calls < 10 || a.Done.P50 == 0 {
					t.Errorf("the window held %+v", a.Done)
				}
			})
		}
	}
}

func pyzmqScript(t *testing.T, s *Site) string {
	t.Helper()
	path := filepath.Join(s.Dir, "pyzmq-peer.py")
	if err := writePyzmq(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// mirror is a driver whose answers come from a function.
type mirror func(payload []byte) []byte

func (mirror) open(int) error { return nil }

func (m mirror) drive(l *load) error {
	return callers(l, func(_ int, payload []byte) ([]byte, error) { return m(bytes.Clone(payload)), nil })
}

// noCPU stands for processes that use none.
func noCPU() (usage, error) { return usage{}, nil }

func TestLoad_countsWrongAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer mirror
		wrong  bool
	}{
		{"the same", same, false},
		{"a changed byte", damage, true},
		{"a byte less", func(b []byte) []byte { return b[1:] }, true},
		{"nothing", func([]byte) []byte { return nil }, true},
		{"another call's", func() mirror {
			other := bytes.Clone(newLoad(Cell{Size: 100, InFlight: 9, Connections: 1}, 2).slots[8].next())
			return func([]byte) []byte { return other }
		}(), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := runLoad(c.answer, newLoad(Cell{Size: 100, InFlight: 2, Connections: 1}, 2), 0, time.Millisecond, noCPU)
			if err != nil {
				t.Fatal(err)
			}
			if r.Calls == 0 || r.Wrong > 0 != c.wrong {
				t.Errorf("%d wrong of %d calls", r.Wrong, r.Calls)
			}
		})
	}
}

// deep is a driver like one that fills a deep queue: it takes no answer before the
// last call is made, and then one each millisecond.
type deep struct{ fill time.Duration }

func (deep) open(int) error { return nil }

func (d deep) drive(l *load) error {
	for i := range l.slots {
		l.slots[i].next()
	}
	time.Sleep(d.fill)
	for !l.done() {
		for i := range l.slots {
			l.ended(&l.slots[i], l.slots[i].payload)
			l.slots[i].next()
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// The window is whole, and begins with a whole load, however long it takes to
// put the calls in flight.
func TestRunLoad_waitsForTheFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var ends []time.Duration
		const fill, slots, warm, measure = time.Minute, 50, 200 * time.Millisecond, 700 * time.Millisecond
		r, err := runLoad(deep{fill}, newLoad(Cell{Size: 100, InFlight: slots, Connections: 1}, 2), warm, measure, func() (usage, error) {
			ends = append(ends, time.Since(began))
			n := float64(len(ends))
			return usage{n, 2 * n, 3 * n * n}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// The last of the slots has its first answer at the end of the fill and 49 ms.
		const start = fill + (slots-1)*time.Millisecond + warm
		if want := []time.Duration{start, start + measure}; !slices.Equal(ends, want) {
			t.Errorf("the window was from and to %v, want %v", ends, want)
		}
		if r.Seconds != measure.Seconds() || r.Calls < 699 || r.Calls > 701 {
			t.Errorf("%d calls in %v s", r.Calls, r.Seconds)
		}
		if want := (usage{1, 2, 9}); r.CPU != want {
			t.Errorf("the sides used %v, want %v", r.CPU, want)
		}
	})
}

// slow answers each call after a while.
type slow struct{ each time.Duration }

func (slow) open(int) error { return nil }

func (d slow) drive(l *load) error {
	return callers(l, func(_ int, payload []byte) ([]byte, error) {
		time.Sleep(d.each)
		return payload, nil
	})
}

// A call has begun and ended in the window even if that is shorter than any call, so that
// no side is without its cost; behind a deep queue one need only have ended.
func TestRunLoad_waitsForAWholeCall(t *testing.T) {
	for _, c := range []struct {
		inFlight int
		seconds  float64
	}{{3, 1.999}, {deepLoad, 0.999}} {
		synctest.Test(t, func(t *testing.T) {
			cell := Cell{Size: 100, InFlight: c.inFlight, Connections: 1}
			r, err := runLoad(slow{time.Second}, newLoad(cell, wanted(cell)), time.Millisecond, time.Millisecond, noCPU)
			if err != nil {
				t.Fatal(err)
			}
			if r.Seconds != c.seconds || r.Calls == 0 {
				t.Errorf("%d in flight: %d calls in %v s, want %v s", c.inFlight, r.Calls, r.Seconds, c.seconds)
			}
		})
	}
}

func TestRunLoad_cannotTellTheCost(t *testing.T) {
	gone := errors.New("no such process")
	_, err := runLoad(mirror(same), newLoad(Cell{Size: 100, InFlight: 2, Connections: 1}, 2), 0, time.Millisecond, func() (usage, error) { return usage{}, gone })
	if !errors.Is(err, gone) {
		t.Errorf("the error is %v", err)
	}
}

package zmtp

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pipe returns the two ends of a link in memory, within a synctest bubble.
func pipe(t *testing.T, limits Limits) (ours *Link, theirs net.Conn) {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return nullLink(a, limits), b
}

// live runs a link as an owner does, with a beat of 5 s, and returns a channel
// with its end.
func live(l *Link) <-chan error {
	const interval, dead = 5 * time.Second, 15 * time.Second
	result, ended := make(chan error, 1), run(l, ignore)
	go func() {
		beat := time.NewTimer(0)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				beat.Reset(l.Beat(time.Now(), interval, dead))
			case err := <-ended:
				result <- err
				return
			}
		}
	}()
	return result
}

func TestBeat_twoIdleEndsKeepEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, conn := pipe(t, Limits{})
		peer := nullLink(conn, Limits{})
		a, b := live(l), live(peer)
		time.Sleep(time.Hour)
		synctest.Wait()
		if l.Cause() != nil || peer.Cause() != nil {
			t.Errorf("ended with %v and %v", l.Cause(), peer.Cause())
		}
		l.Close(nil)
		peer.Close(nil)
		<-a
		<-b
	})
}

func TestBeat_silentPeerIsDeadAfterThreeBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, conn := pipe(t, Limits{})
		go drain(conn)
		began := time.Now()
		ended := live(l)
		if err := <-ended; !errors.Is(err, ErrSilent) {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(began); d != 15*time.Second {
			t.Errorf("dead after %v", d)
		}
	})
}

func drain(conn net.Conn) {
	b := make([]byte, 1024)
	for {
		if _, err := conn.Read(b); err != nil {
			return
		}
	}
}

// Any byte is life, not only whole messages as for libzmq (#2709): a peer may
// take longer than the beat for a large one.
func TestBeat_bytesAreLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, conn := pipe(t, Limits{AssemblyWait: time.Hour})
		go drain(conn)
		ended := live(l)
		for _, c := range frames("a message of thirty bytes ... ") {
			if _, err := conn.Write([]byte{c}); err != nil {
				t.Fatalf("ended with %v", l.Cause())
			}
			time.Sleep(10 * time.Second)
		}
		l.Close(nil)
		<-ended
	})
}

// But a message must end: half a message costs memory.
func TestBeat_unfinishedMessageIsCut(t *testing.T) {
	for name, write := range map[string]func(i int) []byte{
		"half a frame":        func(i int) []byte { return []byte("\x00\xffxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")[i : i+1] },
		"frames without end":  func(int) []byte { return []byte("\x01\x01x") },
		"PINGs among frames":  func(i int) []byte { return []byte([]string{"\x01\x00", "\x04\x07\x04PING\x00\x00"}[i%2]) },
		"half a frame header": func(i int) []byte { return []byte("\x02\x00\x00\x00\x00")[min(i, 4) : min(i, 4)+1] },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, conn := pipe(t, Limits{AssemblyWait: 30 * time.Second})
				go drain(conn)
				began := time.Now()
				ended := live(l)
				for i := range 5 {
					if _, err := conn.Write(write(i)); err != nil {
						break
					}
					time.Sleep(9 * time.Second)
				}
				err := <-ended
				if !errors.Is(err, ErrIncomplete) {
					t.Errorf("ended with %v", err)
				}
				if d := time.Since(began); d < 30*time.Second || d > 46*time.Second {
					t.Errorf("cut after %v", d)
				}
			})
		})
	}
}

// Whole commands are never unfinished, though each read may end within the next one.
func TestBeat_stragglingPingsAreNoUnfinishedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, conn := pipe(t, Limits{AssemblyWait: 30 * time.Second})
		go drain(conn)
		ended := live(l)
		ping := []byte("\x04\x07\x04PING\x00\x00")
		if _, err := conn.Write(ping[:4]); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			time.Sleep(time.Second)
			if _, err := conn.Write(append(ping[4:len(ping):len(ping)], ping[:4]...)); err != nil {
				t.Fatalf("ended with %v", l.Cause())
			}
		}
		l.Close(nil)
		<-ended
	})
}

// The peer's TTL says after which silence the peer itself is gone, RFC 37.
func TestBeat_heedsThePeersTTL(t *testing.T) {
	for _, test := range []struct {
		name string
		ttl  uint16
		want time.Duration
	}{
		{"shorter than our bound", 70, 7 * time.Second},
		{"shorter than a beat", 1, 5 * time.Second},
		{"longer than our bound", 600, 15 * time.Second},
		{"none", 0, 15 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, conn := pipe(t, Limits{})
				go drain(conn)
				ended := live(l)
				if _, err := conn.Write(append([]byte("\x04\x07"), AppendPing(nil, test.ttl, nil)...)); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				<-ended
				if d := time.Since(began); d != test.want {
					t.Errorf("dead after %v, want %v", d, test.want)
				}
			})
		})
	}
}

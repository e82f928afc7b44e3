package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
)

// Cluster is where a run happens: it starts a broker, workers that serve ledger
// and clients that make a Load, all at addresses and with keys that stay. There
// is one whose peers are goroutines, one of processes, and, in
// integration/cluster, one of containers; the same Cases run on each. What a
// Cluster cannot do, or a peer that does not start, fails the test.
type Cluster interface {
	// StartBroker returns when the broker serves. There is one at a time.
	StartBroker() Peer
	// StartWorker starts a worker with a key. Two may ask for the same id: the
	// broker gives the second one another.
	StartWorker(key, id string) Peer
	// StartClient starts a client that makes the load.
	StartClient(Load) Peer
	// Ask calls a method of the broker as its operator does, and decodes the
	// answer into result.
	Ask(result any, method string, args ...string) error
	AddKey(name string, role curve.Role)
	RevokeKey(name string)
	// Journals returns a folder with what the peers' journals have by now.
	Journals() string
}

// Peer is a broker, a worker or a client that was started. It ends with its test.
type Peer interface {
	// Stop ends the peer in order and waits for it; an error says that the end
	// was not in order, or did not come.
	Stop() error
	// Kill ends the peer without a word.
	Kill()
	// Pause makes the peer silent until Resume; its connections stay up.
	Pause()
	Resume()
	Alive() bool
	// Log returns what the peer has written for people.
	Log() string
}

// Ask is Cluster.Ask with a typed result.
func Ask[T any](c Cluster, method string, args ...string) (result T, err error) {
	err = c.Ask(&result, method, args...)
	return result, err
}

// Await waits for a condition; what never comes true fails the test, which says
// what is there instead. It asks at most half of the time: where that is dear, less often.
func Await(t testing.TB, what string, met func() bool, instead func() string) {
	t.Helper()
	for deadline := time.Now().Add(Patience); ; {
		asked := time.Now()
		if met() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen within %v that %s; instead:\n%s", Patience, what, instead())
		}
		time.Sleep(max(5*time.Millisecond, time.Since(asked)))
	}
}

// tail returns the last lines of a peer's log.
func tail(p Peer, lines int) string {
	all := strings.Split(strings.TrimRight(p.Log(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

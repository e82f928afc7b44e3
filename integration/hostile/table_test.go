package hostile

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"
)

// row is what one attack did.
type row struct {
	attack       string
	strikes      int64         // of the attackers, while the bystander was watched
	calls        int           // of the bystander, in that time
	alone, under time.Duration // p99 of the bystander
	admitted     time.Duration // a new client's handshake and first call, during the attack
	before       vitals
	during       int64 // bytes that the process had from the system
	after        vitals
}

var table struct {
	sync.Mutex
	rows []row
}

func printTable() {
	if len(table.rows) == 0 {
		return
	}
	fmt.Printf("%-52s | %7s | %6s | %9s | %9s | %5s | %9s | %8s | %12s | %s\n", "attack", "strikes", "calls", "p99 alone", "under it", "ratio", "admission", "during", "memory after", "goroutines")
	for _, r := range table.rows {
		fmt.Printf("%-52s | %7d | %6d | %9v | %9v | %5.1f | %9v | %4d MiB | %+8d KiB | %d -> %d\n", r.attack, r.strikes, r.calls,
			r.alone.Round(10*time.Microsecond), r.under.Round(10*time.Microsecond), float64(r.under)/float64(max(1, r.alone)),
			r.admitted.Round(100*time.Microsecond), r.during>>20, (r.after.Memory-r.before.Memory)>>10, r.before.Goroutines, r.after.Goroutines)
	}
}

// attackFor is how long the bystander is watched under each attack. Half of it
// before the attack it is watched alone. More gives steadier figures.
var attackFor = flag.Duration("attack", 800*time.Millisecond, "how long each attack lasts")

const (
	// keptMemory is how much more a target may use after an attack than before:
	// tables that have grown, and what the runtime keeps.
	keptMemory = 4 << 20
	// maxMemory is what it may use under any of the attacks here.
	maxMemory = 256 << 20
)

// endureAll has one target endure attack after attack.
func endureAll(t *testing.T, attacks []assault) {
	tg := aim(t)
	tg.work(t)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) { endure(t, tg, a.name) })
	}
}

// endure makes calls before and during an attack, and looks after it at what is left.
func endure(t *testing.T, tg *target, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	b, err := tg.join(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer b.leave()
	for n := range 20 {
		if _, err := b.call(n); err != nil {
			t.Fatal(err)
		}
	}
	enemy := tg.threaten(t, name)
	r := row{attack: name, before: tg.vitals(t, "settled")}
	calm, done := context.WithTimeout(ctx, *attackFor/2)
	alone, err := b.callUntil(calm)
	done()
	if err != nil {
		t.Fatal(err)
	}
	r.alone = p99(alone)

	under, stop := context.WithTimeout(ctx, *attackFor)
	defer stop()
	var newcomer sync.WaitGroup
	var refused error
	enemy.tell(t, "begin")
	newcomer.Go(func() {
		time.Sleep(*attackFor / 2)
		began := time.Now()
		n, err := tg.join(ctx)
		if err != nil {
			refused = err
			return
		}
		defer n.leave()
		_, refused = n.call(1)
		r.admitted = time.Since(began)
	})
	took, err := b.callUntil(under)
	enemy.tell(t, "end")
	r.during = tg.vitals(t, "now").Memory
	newcomer.Wait()
	if err != nil {
		t.Errorf("the bystander's call failed: %v", err)
	}
	if refused != nil {
		t.Errorf("a new client was not served during the attack: %v", refused)
	}
	var told report
	if enemy.hear(t, &told); told.Defect != "" {
		t.Error(told.Defect)
	}
	r.strikes = told.Strikes
	if r.during > maxMemory {
		t.Errorf("under the attack the target used %d MiB", r.during>>20)
	}
	r.calls, r.under = len(took), p99(took)
	r.after = settle(t, tg, r.before)
	if n := r.after.Defects - r.before.Defects; n > 0 {
		t.Errorf("the target has contained %d panics, each a defect all the same", n)
	}
	table.Lock()
	defer table.Unlock()
	table.rows = append(table.rows, r)
}

// settle waits until the target is back to what it was.
func settle(t *testing.T, tg *target, before vitals) vitals {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		after := tg.vitals(t, "settled")
		// The newcomer and the reader of vitals may still be leaving.
		back := after.Goroutines <= before.Goroutines && after.Files <= before.Files && after.Memory <= before.Memory+keptMemory
		if back {
			return after
		}
		if time.Now().After(deadline) {
			t.Errorf("10 s after the attack the target has %d goroutines (before: %d), %d files (%d) and %d KiB (%d)",
				after.Goroutines, before.Goroutines, after.Files, before.Files, after.Memory>>10, before.Memory>>10)
			return after
		}
		time.Sleep(20 * time.Millisecond)
	}
}

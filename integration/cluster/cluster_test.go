package cluster

import (
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/servicetools/servicetools/integration/chaos"
)

// cases are those of every cluster, and those that mean something only where
// there are hosts, networks and clocks.
func cases() []chaos.Case {
	return append([]chaos.Case{
		{Name: "three hosts and two clients", Play: threeHosts},
		{Name: "worker off the network", Play: workerOff},
		{Name: "frontend off the network", Play: frontendOff},
		{Name: "backend off the network", Play: backendOff},
		{Name: "worker behind a bad link", Play: workerBehindBadLink},
		{Name: "client behind a bad link", Play: clientBehindBadLink},
		{Name: "nothing in clear on the wire", Play: nothingInClear},
		{Name: "wrong keys", Play: wrongKeys},
		{Name: "clocks of workers a day off", Play: falseWorkers},
		{Name: setClock, Play: falseBroker},
	}, chaos.Cases...)
}

func TestCluster(t *testing.T) {
	built := make(chan error, 1)
	go func() { built <- theEngine.probe() }() // meanwhile: the engine is slow, and leaves processors idle
	must(t, theEngine.product())
	must(t, <-built)
	var table table
	t.Cleanup(func() { table.print(os.Stdout) })
	for _, c := range cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			s := newSite(t)
			if c.Name == setClock {
				s.clocks["broker"] = "86400@10"
			}
			r := chaos.NewRun(t, s)
			c.Play(r)
			table.add(c.Name, r.Account, time.Since(began))
		})
	}
}

// table is the account of each case, for people.
type table struct {
	mu   sync.Mutex
	rows []string // guarded by mu
}

func (x *table) add(name string, a *chaos.Account, took time.Duration) {
	failed := 0
	for _, n := range a.Failed {
		failed += n
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rows = append(x.rows, fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f\n",
		name, a.Submitted, a.Succeeded, failed, a.Redispatched, a.TwiceUnsafe, a.Lost, took.Seconds()))
}

func (x *table) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "case\tcalls\tsucceeded\tfailed\tre-dispatched\ttwice\tlost\tseconds")
	for _, row := range x.rows {
		fmt.Fprint(w, row)
	}
	w.Flush()
}

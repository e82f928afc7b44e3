// Command bench measures the broker beside other systems and prints one table.
// docs/performance.md says how to use it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/servicetools/servicetools/integration/bench"
)

func main() {
	bench.Role(os.Args)
	bin := flag.String("bin", "bin", "folder of the binaries broker and bench")
	base := flag.String("base", "", "folder of the binaries of another commit, to be measured as base-null and base-curve")
	systems := flag.String("systems", "ours-null,ours-curve,libzmq-null,libzmq-curve,nats", "which systems")
	cells := flag.String("cells", "100B/1,100B/100,100B/1000,60kB/10,1MB/10", "which cells: SIZE/IN-FLIGHT[/cCONNECTIONS][/wWORKERS][/sSLOTS]")
	repeats := flag.Int("repeats", 5, "rounds")
	warm := flag.Duration("warm", 300*time.Millisecond, "time before each window")
	measure := flag.Duration("measure", time.Second, "length of a window")
	out := flag.String("json", "", "file for the samples")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *bin, *base, *systems, *cells, bench.Timing{Warm: *warm, Measure: *measure, Repeats: *repeats}, *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, base, systems, cells string, t bench.Timing, out string) (err error) {
	site, err := bench.NewSite(bin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	chosen, unknown := bench.Choose(bench.Systems(site, base), strings.Split(systems, ","))
	if len(unknown) > 0 {
		return fmt.Errorf("there are no systems %v", unknown)
	}
	work, err := bench.ParseCells(cells)
	if err != nil {
		return err
	}
	r := &bench.Runner{Site: site, Systems: chosen, Timing: t, Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }}
	results, err := r.Measure(ctx, work)
	if err != nil {
		return err
	}
	if out != "" {
		b, err := json.MarshalIndent(results, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(out, b, 0o644); err != nil {
			return err
		}
	}
	return bench.WriteTable(os.Stdout, results, chosen)
}

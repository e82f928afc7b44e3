package command

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker"
)

const statusHelp = `Shows what the broker has done since its start and what it holds now. The calls
always add up: accepted = succeeded + failed + queued + running.

Example:
   broker status --config server.ini
   broker status --config server.ini --watch
   broker status --config server.ini -o json`

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:        "status",
		Category:    "Look",
		Usage:       "show the counters of a broker",
		Description: statusHelp,
		Flags:       connectFlags(watchFlags()...),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return view[broker.StatusView]{method: "broker.status", print: printStatus}.show(c)
		},
	}
}

func printStatus(w io.Writer, s broker.StatusView) error {
	state := "serving"
	if s.Draining {
		state = "draining"
	}
	law := "they add up"
	if !s.LawHolds {
		law = "they do NOT add up: report this as a defect"
	}
	t := newTable("NAME", s.Name)
	t.add("ID", s.ID)
	t.add("VERSION", s.Version)
	t.add("STATE", state)
	t.add("UPTIME", span(s.Uptime))
	t.add("FRONTEND", s.Frontend)
	t.add("BACKEND", s.Backend)
	t.add("SECURE", yesNo(s.Secure))
	t.add("CALLS", fmt.Sprintf("accepted %d, succeeded %d, failed %d, queued %d, running %d: %s",
		s.Accepted, s.Succeeded, s.Failed, s.Queued, s.Running, law))
	t.add("RATE", fmt.Sprintf("%.1f/s", s.Rate))
	t.add("FAILED BY", counts(s.FailedBy))
	t.add("REFUSED", number(s.Refused))
	t.add("REFUSED BY", counts(s.RefusedBy))
	t.add("REPEATED", fmt.Sprintf("returned %d, redispatched %d, reclaimed %d", s.Returned, s.Dispatched, s.Reclaimed))
	t.add("DROPPED", fmt.Sprintf("late %d, orphaned %d, duplicates %d", s.Late, s.Orphaned, s.Duplicates))
	t.add("HELD", fmt.Sprintf("%d calls, %s", s.HeldCalls, size(s.HeldBytes)))
	t.add("PEERS", fmt.Sprintf("workers %d, sessions %d, connections %d", s.Workers, s.Sessions, s.Connections))
	t.add("HANDSHAKES", fmt.Sprintf("under way %d, refused %d", s.Handshakes, s.Unadmitted))
	return t.write(w)
}

// counts prints a map of counters by name.
func counts(m map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(parts, ", ")
}

package command

import (
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker"
)

const callsHelp = `Lists the calls that have not ended, the oldest first. STATE is queued, running,
joined (it waits for the outcome of another call with its idempotency key) or
reclaiming (it waits for the worker that ran it before the broker was restarted).
CLIENT is the key of who called, and NAME that of its certificate.

Example:
   broker calls --config server.ini --watch
   broker calls --config server.ini --method word_count --state queued -o json`

var callStates = []string{"queued", "running", "joined", "reclaiming"}

func callsCommand() *cli.Command {
	return &cli.Command{
		Name:        "calls",
		Category:    "Look",
		Usage:       "list the calls that have not ended",
		Description: callsHelp,
		Flags: connectFlags(append(watchFlags(),
			&cli.IntFlag{Name: "limit", Value: 1000, Usage: "at most `N` calls"},
			&cli.StringFlag{Name: "method", Usage: "only those of this `METHOD`"},
			&cli.StringFlag{Name: "worker", Usage: "only those that the worker with this `ID`, or this beginning of it, runs"},
			&cli.StringFlag{Name: "state", Usage: "only those in this `STATE`"})...),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if c.Int("limit") < 1 {
				return usagef("--limit must be 1 or more")
			}
			if state := c.String("state"); c.IsSet("state") && !slices.Contains(callStates, state) {
				return usagef("--state %q is not %s", state, strings.Join(callStates, ", "))
			}
			filter := map[string]any{"limit": c.Int("limit")}
			for _, name := range []string{"method", "worker", "state"} {
				if c.IsSet(name) {
					filter[name] = c.String(name)
				}
			}
			return view[[]broker.CallView]{method: "broker.calls", kwargs: filter, print: printCalls}.show(c)
		},
	}
}

func printCalls(w io.Writer, calls []broker.CallView) error {
	t := newTable("CALL", "METHOD", "STATE", "WORKER", "ATTEMPT", "AGE", "DEADLINE", "SIZE", "CLIENT", "NAME")
	for _, v := range calls {
		deadline := ""
		if v.Deadline != 0 {
			deadline = span(v.Deadline)
		}
		t.add(v.Call, v.Method, v.State, v.Worker, number(v.Attempt), span(v.Age), deadline, size(int64(v.Size)), v.Client, v.Name)
	}
	return t.write(w)
}

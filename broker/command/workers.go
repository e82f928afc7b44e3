package command

import (
	"io"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker"
)

const workersHelp = `Lists the workers that are connected, from anywhere, and the worker processes that
the broker runs on its own host. BUSY is how many calls a worker runs, of the
SLOTS that it has. LAST EXIT is how the process before the present one ended; its
last lines on stderr are in the JSON form.

Example:
   broker workers --config server.ini
   broker workers --config server.ini --watch --interval 1s`

func workersCommand() *cli.Command {
	return &cli.Command{
		Name:        "workers",
		Category:    "Look",
		Usage:       "list workers",
		Description: workersHelp,
		Flags:       connectFlags(watchFlags()...),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return view[[]broker.WorkerView]{method: "broker.workers", print: printWorkers}.show(c)
		},
	}
}

func printWorkers(w io.Writer, workers []broker.WorkerView) error {
	t := newTable("ID", "NAME", "STATE", "HOST", "PID", "BUSY", "SLOTS", "SUCCEEDED", "FAILED", "METHODS", "CONNECTED", "LOCAL", "RESTARTS", "LAST EXIT")
	for _, v := range workers {
		host := v.Host
		if host == "" {
			host = v.Address
		}
		pid, connected := "", ""
		if v.PID != 0 {
			pid = number(v.PID)
		}
		if v.Address != "" {
			connected = span(v.Connected)
		}
		t.add(v.ID, v.Name, v.State, host, pid, number(v.Busy), number(v.Capacity), number(v.Succeeded), number(v.Failed),
			number(v.Methods), connected, yesNo(v.Local), number(v.Restarts), v.LastExit)
	}
	return t.write(w)
}

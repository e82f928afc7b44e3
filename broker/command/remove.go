package command

import "github.com/urfave/cli/v2"

const removeHelp = `Ends a worker process that the broker runs, for good: it gets no new call,
finishes what it runs within drain_timeout, and is not started again. With --now
its process group is killed at once; what it ran ends in worker_lost, or runs
again elsewhere if it is idempotent. The command does not wait for the end. The
beginning of an id does if no other id begins so; the whole id is printed.

Example:
   broker remove --config server.ini 6d8f5a0e-7b1c-4e57-9a55-f0c3b2a61d01
   broker remove --config server.ini 6d8f --now`

func removeCommand() *cli.Command {
	return &cli.Command{
		Name:        "remove",
		Category:    "Change",
		Usage:       "end a worker of the broker's host for good",
		ArgsUsage:   "ID",
		Description: removeHelp,
		Flags:       connectFlags(&cli.BoolFlag{Name: "now", Usage: "do not wait for its calls"}),
		Action: func(c *cli.Context) error {
			id, err := oneArgument(c, "ID")
			if err != nil {
				return err
			}
			return view[string]{method: "broker.remove", kwargs: map[string]any{"id": id, "now": c.Bool("now")}, print: printID}.show(c)
		},
	}
}

package command

import (
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker"
)

const scaleHelp = `Starts or ends worker processes on the broker's host until there are N, and lists
the workers. Those that end are the newest, each after it has finished its calls.

Example:
   broker scale --config server.ini 8`

func scaleCommand() *cli.Command {
	return &cli.Command{
		Name:        "scale",
		Category:    "Change",
		Usage:       "run N workers on the broker's host",
		ArgsUsage:   "N",
		Description: scaleHelp,
		Flags:       connectFlags(),
		Action: func(c *cli.Context) error {
			text, err := oneArgument(c, "N")
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return usagef("%q is not a number of workers", text)
			}
			return view[[]broker.WorkerView]{method: "broker.scale", kwargs: map[string]any{"n": n}, print: printWorkers}.show(c)
		},
	}
}

package command

import "github.com/urfave/cli/v2"

const drainHelp = `Asks workers to finish what they run and leave, before maintenance of their host,
say. WHICH is the id of a worker or its beginning, host:NAME for all workers of a
host, or all. The ids of the workers are printed. A worker process of the broker's
own host is then started anew; to end it for good, use broker remove.

Example:
   broker drain --config server.ini 6d8f
   broker drain --config server.ini host:node7`

func drainCommand() *cli.Command {
	return &cli.Command{
		Name:        "drain",
		Category:    "Change",
		Usage:       "let workers finish and leave",
		ArgsUsage:   "WHICH",
		Description: drainHelp,
		Flags:       connectFlags(),
		Action: func(c *cli.Context) error {
			which, err := oneArgument(c, "WHICH")
			if err != nil {
				return err
			}
			return view[[]string]{method: "broker.drain", kwargs: map[string]any{"worker": which}, print: printIDs}.show(c)
		},
	}
}

package command

import (
	"errors"

	"github.com/urfave/cli/v2"
)

const cancelHelp = `Ends a call of any client in the error "cancelled". CALL is an id that broker calls
lists; the beginning of its first part does if it names one call alone. A handler
that runs it is told to stop.

Example:
   broker cancel --config server.ini 0f3a9c52b1de44e08f6c1f0a7d9b2e61/17
   broker cancel --config server.ini 0f3a/17`

func cancelCommand() *cli.Command {
	return &cli.Command{
		Name:        "cancel",
		Category:    "Change",
		Usage:       "end a call",
		ArgsUsage:   "CALL",
		Description: cancelHelp,
		Flags:       connectFlags(),
		Action: func(c *cli.Context) error {
			call, err := oneArgument(c, "CALL")
			if err != nil {
				return err
			}
			return view[string]{
				method: "broker.cancel",
				kwargs: map[string]any{"call": call},
				print:  printID,
				check: func(id string) error {
					if id == "" {
						return errors.New("there is no such call, or it has ended: broker calls lists those that have not")
					}
					return nil
				},
			}.show(c)
		},
	}
}

package command

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

const healthHelp = `Asks a broker whether it can do its work and exits 0 if it can: for the health
check of a container, a load balancer or a script.

Example:
   broker health --config server.ini --timeout 2s`

// healthView is the answer of broker.health.
type healthView struct {
	Healthy  bool `json:"healthy"`
	Workers  int  `json:"workers"`
	Draining bool `json:"draining"`
}

func healthCommand() *cli.Command {
	return &cli.Command{
		Name:        "health",
		Category:    "Look",
		Usage:       "exit 0 if a broker can do its work",
		Description: healthHelp,
		Flags:       connectFlags(),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return view[healthView]{method: "broker.health", print: func(w io.Writer, h healthView) error {
				_, err := fmt.Fprintf(w, "healthy, %d workers, draining: %s\n", h.Workers, yesNo(h.Draining))
				return err
			}}.show(c)
		},
	}
}

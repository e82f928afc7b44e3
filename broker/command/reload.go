package command

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker"
)

const reloadHelp = `Makes a broker read its configuration file again, as SIGHUP does. Prints each key
that changed, and whether it is in force now or needs a restart. A file with an
error changes nothing, and the error says why.

Example:
   broker reload --config server.ini`

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:        "reload",
		Category:    "Change",
		Usage:       "read the configuration file again",
		Description: reloadHelp,
		Flags:       connectFlags(),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return view[broker.ReloadView]{method: "broker.reload", print: printReload}.show(c)
		},
	}
}

func printReload(w io.Writer, v broker.ReloadView) error {
	if len(v.Applied)+len(v.Restart) == 0 {
		_, err := fmt.Fprintln(w, "nothing changed")
		return err
	}
	t := newTable("KEY", "CHANGE")
	for _, key := range v.Applied {
		t.add(key, "applied")
	}
	for _, key := range v.Restart {
		t.add(key, "needs a restart")
	}
	return t.write(w)
}

package command

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
)

const addHelp = `Starts more workers on the broker's host and prints their ids. FILE is a worker's
configuration; each further worker gets a copy of it, with an id of its own, in a
file beside it. The workers live until they are removed or the broker ends.

With --server, --cert and --server-key, --config names the worker's file.

Example:
   broker add --config server.ini --worker-config worker.ini --count 2
   broker add --server tcp://localhost:8006 --cert admin.key_secret \
      --server-key server.key --config worker.ini`

func addCommand() *cli.Command {
	return &cli.Command{
		Name:        "add",
		Category:    "Change",
		Usage:       "start more workers on the broker's host",
		Description: addHelp,
		Flags: connectFlags(
			&cli.StringFlag{Name: "worker-config", Usage: "configuration `FILE` of the worker, on the broker's host"},
			&cli.IntFlag{Name: "count", Value: 1, Usage: "start `N` of them"}),
		Action: add,
	}
}

func add(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	worker := c.String("worker-config")
	if c.IsSet("server") && c.IsSet("config") && worker == "" {
		worker = c.String("config")
		if err := c.Set("config", ""); err != nil {
			return err
		}
	}
	switch {
	case worker == "":
		return usagef("--worker-config is missing: the configuration of the worker to start")
	case c.Int("count") < 1:
		return usagef("--count must be 1 or more")
	}
	// The broker runs in a folder of its own, and perhaps on another host.
	if _, err := os.Stat(worker); err == nil {
		if worker, err = filepath.Abs(worker); err != nil {
			return err
		}
	}
	return view[[]string]{
		method: "broker.add",
		kwargs: map[string]any{"config": worker, "count": c.Int("count")},
		print:  printIDs,
	}.show(c)
}

// printID prints the id of what a command has changed, if there is one.
func printID(w io.Writer, id string) error {
	if id == "" {
		return nil
	}
	return printIDs(w, []string{id})
}

// printIDs prints one id a line.
func printIDs(w io.Writer, ids []string) error {
	for _, id := range ids {
		if _, err := fmt.Fprintln(w, plain(id)); err != nil {
			return err
		}
	}
	return nil
}

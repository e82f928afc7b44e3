package certtool

import (
	"fmt"

	"github.com/servicetools/servicetools/wire/cmdline"
	"github.com/urfave/cli/v2"
)

var completionHelp = `Prints a script that completes the commands and options of certtool in a shell.

Example, for this session and for good:
` + cmdline.CompletionHelp("certtool")

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "print a script for the completion of a shell",
		ArgsUsage:   "bash|zsh|fish|powershell",
		Description: completionHelp,
		BashComplete: func(c *cli.Context) {
			for _, shell := range cmdline.Shells {
				fmt.Fprintln(c.App.Writer, shell)
			}
		},
		Action: func(c *cli.Context) error {
			script, ok := cmdline.Completion(c.Args().First(), "certtool")
			if c.NArg() != 1 || !ok {
				return usagef("completion for which shell? bash, zsh, fish or powershell")
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

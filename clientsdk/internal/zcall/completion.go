package zcall

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/wire/cmdline"
	"github.com/servicetools/servicetools/wire/message"
)

func completionCommand(streams Streams) *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "print a script that completes zcall's commands and flags in a shell",
		ArgsUsage:   "bash|zsh|fish|powershell",
		Description: strings.TrimSpace(cmdline.CompletionHelp("zcall")),
		BashComplete: func(c *cli.Context) {
			for _, shell := range cmdline.Shells {
				fmt.Fprintln(c.App.Writer, shell)
			}
		},
		Action: func(c *cli.Context) error {
			script, ok := cmdline.Completion(c.Args().First(), "zcall")
			if c.NArg() != 1 || !ok {
				return &usageMistake{
					message: fmt.Sprintf("completion for %q is unknown%s", c.Args().First(), message.DidYouMean(c.Args().First(), cmdline.Shells)),
					hint:    "bash, zsh, fish or powershell",
				}
			}
			_, err := io.WriteString(streams.Out, script)
			return err
		},
	}
}

// completeCommands answers cmdline.CompletionFlag where a command may stand.
func completeCommands(c *cli.Context) {
	for _, command := range c.App.Commands {
		fmt.Fprintln(c.App.Writer, command.Name)
	}
}

// completeFlags answers cmdline.CompletionFlag behind a command.
func completeFlags(command *cli.Command) func(*cli.Context) {
	return func(c *cli.Context) {
		for _, flag := range command.Flags {
			for _, name := range flag.Names() {
				if len(name) > 1 {
					fmt.Fprintln(c.App.Writer, "--"+name)
				}
			}
		}
	}
}

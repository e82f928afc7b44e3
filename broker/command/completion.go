package command

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/wire/cmdline"
	"github.com/servicetools/servicetools/wire/message"
)

var completionHelp = `Prints a script that completes the commands and options of broker in a shell.

Example, for this session and for good:
` + cmdline.CompletionHelp("broker")

// completeOptions lists the options of a command whose line ends in "-" or
// "--", in place of the cli package, which takes these for arguments. It
// reports whether args are such a line.
func completeOptions(app *cli.App, args []string) bool {
	n := len(args)
	if n < 3 || args[n-1] != cmdline.CompletionFlag || args[n-2] != "-" && args[n-2] != "--" {
		return false
	}
	flags := app.Flags
	if command, _ := commandOf(app, args); command != nil {
		flags = command.Flags
	}
	for _, name := range append(flagNames(flags), "help") {
		if len(name) > 1 {
			fmt.Fprintln(app.Writer, "--"+name)
		}
	}
	return true
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Category:    "Configure",
		Usage:       "print a script for the completion of a shell",
		ArgsUsage:   "bash|zsh|fish|powershell",
		Description: completionHelp,
		BashComplete: func(c *cli.Context) {
			for _, shell := range cmdline.Shells {
				fmt.Fprintln(c.App.Writer, shell)
			}
		},
		Action: func(c *cli.Context) error {
			shell, err := oneArgument(c, "SHELL")
			if err != nil {
				return err
			}
			script, ok := cmdline.Completion(shell, "broker")
			if !ok {
				return usagef("%q is not bash, zsh, fish or powershell%s", shell, message.DidYouMean(shell, cmdline.Shells))
			}
			_, err = fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

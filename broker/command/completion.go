package command

import (
	_ "embed"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/wire/message"
)

const completionHelp = `Prints a script that completes the commands and options of broker in a shell.

Example, for this session and for good:
   source <(broker completion bash)
   broker completion bash > /etc/bash_completion.d/broker
   broker completion zsh > "${fpath[1]}/_broker"
   broker completion fish > ~/.config/fish/completions/broker.fish
   broker completion powershell >> $PROFILE`

// completionFlag is what the scripts put behind the words of a command line.
const completionFlag = "--generate-bash-completion"

// completeOptions lists the options of a command whose line ends in "-" or
// "--", in place of the cli package, which takes these for arguments. It
// reports whether args are such a line.
func completeOptions(app *cli.App, args []string) bool {
	n := len(args)
	if n < 3 || args[n-1] != completionFlag || args[n-2] != "-" && args[n-2] != "--" {
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

//go:embed completion/broker.bash
var bashCompletion string

//go:embed completion/_broker
var zshCompletion string

//go:embed completion/broker.fish
var fishCompletion string

//go:embed completion/broker.ps1
var powershellCompletion string

func completionCommand() *cli.Command {
	scripts := map[string]string{
		"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion, "powershell": powershellCompletion,
	}
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cli.Command{
		Name:        "completion",
		Category:    "Configure",
		Usage:       "print a script for the completion of a shell",
		ArgsUsage:   "bash|zsh|fish|powershell",
		Description: completionHelp,
		BashComplete: func(c *cli.Context) {
			for _, shell := range shells {
				fmt.Fprintln(c.App.Writer, shell)
			}
		},
		Action: func(c *cli.Context) error {
			shell, err := oneArgument(c, "SHELL")
			if err != nil {
				return err
			}
			script, ok := scripts[shell]
			if !ok {
				return usagef("%q is not bash, zsh, fish or powershell%s", shell, message.DidYouMean(shell, shells))
			}
			_, err = fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

package zcall

import (
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"
)

// The scripts ask zcall itself what may come next.
var completions = map[string]string{
	"bash": `_zcall() {
  local words
  words=$("${COMP_WORDS[@]:0:COMP_CWORD}" --generate-bash-completion 2>/dev/null)
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _zcall zcall
`,
	"zsh": `#compdef zcall
_zcall() {
  local -a words_now
  words_now=("${(@f)$(${words[@]:0:$((CURRENT-1))} --generate-bash-completion 2>/dev/null)}")
  compadd -a words_now
  _files
}
compdef _zcall zcall
`,
	"fish": `complete -c zcall -a '(eval (commandline -opc) --generate-bash-completion 2>/dev/null)'
`,
}

func completionCommand(streams Streams) *cli.Command {
	shells := []string{"bash", "fish", "zsh"}
	return &cli.Command{
		Name:        "completion",
		Usage:       "print a script that completes zcall's commands and flags in a shell",
		ArgsUsage:   "bash|fish|zsh",
		Description: "source <(zcall completion bash)",
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			if c.NArg() != 1 || !slices.Contains(shells, shell) {
				return &usageMistake{message: fmt.Sprintf("completion for %q is unknown", shell), hint: "bash, fish or zsh"}
			}
			_, err := io.WriteString(streams.Out, completions[shell])
			return err
		},
	}
}

// completeCommands answers completionFlag where a command may stand.
func completeCommands(c *cli.Context) {
	for _, command := range c.App.Commands {
		fmt.Fprintln(c.App.Writer, command.Name)
	}
}

// completeFlags answers completionFlag behind a command.
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

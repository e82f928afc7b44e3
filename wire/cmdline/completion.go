package cmdline

import (
	"embed"
	"slices"
	"strings"
)

// CompletionFlag asks a program what may come next, one word a line. It is the one that
// github.com/urfave/cli answers.
const CompletionFlag = "--generate-bash-completion"

// Shells are those that there is a completion script for. That of PowerShell is not run by
// any test, the others are.
var Shells = []string{"bash", "zsh", "fish", "powershell"}

//go:embed scripts
var scripts embed.FS

// Completion returns the script that a shell sources to complete the command
// lines of a program, and whether the shell is one of Shells. The script knows
// no program: it asks the program itself, by CompletionFlag behind the words that
// are there, what may come next.
func Completion(shell, program string) (string, bool) {
	if !slices.Contains(Shells, shell) {
		return "", false
	}
	script, err := scripts.ReadFile("scripts/" + shell)
	if err != nil {
		panic(err) // each of Shells has one, see the test
	}
	return strings.NewReplacer("PROGRAM", program, "FLAG", CompletionFlag).Replace(string(script)), true
}

// CompletionHelp says how the script of each shell is put in force, for the help
// of a program.
func CompletionHelp(program string) string {
	return strings.ReplaceAll(`   source <(PROGRAM completion bash)
   PROGRAM completion bash > /etc/bash_completion.d/PROGRAM
   PROGRAM completion zsh > "${fpath[1]}/_PROGRAM"
   PROGRAM completion fish > ~/.config/fish/completions/PROGRAM.fish
   PROGRAM completion powershell >> $PROFILE`, "PROGRAM", program)
}

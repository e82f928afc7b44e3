// Package completion has the scripts by which shells complete the command lines
// of this repository's programs. They know no program: each asks the program
// itself, by a flag behind the words that are there, what may come next.
package completion

import (
	"embed"
	"slices"
	"strings"
)

// Flag asks a program what may come next, one word a line. It is the one that
// github.com/urfave/cli answers.
const Flag = "--generate-bash-completion"

// Shells are those that there is a script for. That of PowerShell is not run by
// any test, the others are.
var Shells = []string{"bash", "zsh", "fish", "powershell"}

//go:embed scripts
var scripts embed.FS

// Script returns what a shell sources to complete a program, and whether the
// shell is one of Shells.
func Script(shell, program string) (string, bool) {
	if !slices.Contains(Shells, shell) {
		return "", false
	}
	script, err := scripts.ReadFile("scripts/" + shell)
	if err != nil {
		panic(err) // each of Shells has one, see the test
	}
	return strings.NewReplacer("PROGRAM", program, "FLAG", Flag).Replace(string(script)), true
}

// Where says how the script of each shell is put in force, for the help of a program.
func Where(program string) string {
	return strings.ReplaceAll(`   source <(PROGRAM completion bash)
   PROGRAM completion bash > /etc/bash_completion.d/PROGRAM
   PROGRAM completion zsh > "${fpath[1]}/_PROGRAM"
   PROGRAM completion fish > ~/.config/fish/completions/PROGRAM.fish
   PROGRAM completion powershell >> $PROFILE`, "PROGRAM", program)
}

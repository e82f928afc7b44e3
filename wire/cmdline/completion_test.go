package cmdline

import (
	"strings"
	"testing"
)

// What the scripts do is tested with the shells, in integration/completion.
func TestCompletion_isMadeForTheProgram(t *testing.T) {
	for _, shell := range Shells {
		script, ok := Completion(shell, "tool")
		if !ok || !strings.Contains(script, "tool") || !strings.Contains(script, CompletionFlag) || strings.Contains(script, "PROGRAM") || strings.Contains(script, "FLAG") {
			t.Errorf("the script for %s is\n%s", shell, script)
		}
		if where := CompletionHelp("tool"); !strings.Contains(where, "tool completion "+shell) || strings.Contains(where, "PROGRAM") {
			t.Errorf("it is not said where the script for %s goes:\n%s", shell, where)
		}
	}
	for _, shell := range []string{"tcsh", "", "../completion.go"} {
		if script, ok := Completion(shell, "tool"); ok || script != "" {
			t.Errorf("%q has a script", shell)
		}
	}
}

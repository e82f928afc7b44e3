package completion

import (
	"strings"
	"testing"
)

// What the scripts do is tested with the shells, in integration/completion.
func TestScript_isMadeForTheProgram(t *testing.T) {
	for _, shell := range Shells {
		script, ok := Script(shell, "tool")
		if !ok || !strings.Contains(script, "tool") || !strings.Contains(script, Flag) || strings.Contains(script, "PROGRAM") || strings.Contains(script, "FLAG") {
			t.Errorf("the script for %s is\n%s", shell, script)
		}
		if where := Where("tool"); !strings.Contains(where, "tool completion "+shell) || strings.Contains(where, "PROGRAM") {
			t.Errorf("it is not said where the script for %s goes:\n%s", shell, where)
		}
	}
	for _, shell := range []string{"tcsh", "", "../completion.go"} {
		if script, ok := Script(shell, "tool"); ok || script != "" {
			t.Errorf("%q has a script", shell)
		}
	}
}

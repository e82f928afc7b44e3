package cmdline

import (
	"strings"
	"testing"
)

func TestOptionsFirst(t *testing.T) {
	valued := func(option string) bool { return option == "o" || option == "file" }
	for line, want := range map[string]string{
		"":                      "",
		"ID --now":              "--now ID",
		"ID --file f --now x":   "--file f --now ID x",
		"ID -o json":            "-o json ID",
		"ID --file=f x":         "--file=f ID x",
		"--now -- --now":        "--now -- --now",
		"a -- --file f":         "a -- --file f",
		"- --now":               "--now -",
		"ID --file":             "--file ID", // which says that its value is missing
		"--file --now ID":       "--file --now ID",
		"--unknown value --now": "--unknown --now value",
	} {
		if got := strings.Join(OptionsFirst(strings.Fields(line), valued), " "); got != want {
			t.Errorf("%q becomes %q, not %q", line, got, want)
		}
	}
}

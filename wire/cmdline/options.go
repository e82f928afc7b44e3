// Package cmdline is what the command lines of this repository's programs have in
// common, whichever package reads them.
package cmdline

import "strings"

// OptionsFirst moves the options of a command in front of its arguments, so that
// `broker remove ID --now` means what it says: flag packages stop at the first
// argument. args follow the command's name; takesValue reports whether an option,
// without its dashes, is followed by a value. What stands behind "--" stays.
func OptionsFirst(args []string, takesValue func(option string) bool) []string {
	var options, rest []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i:]...)
			break
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			rest = append(rest, arg)
			continue
		}
		options = append(options, arg)
		if takesValue(strings.TrimLeft(arg, "-")) && i+1 < len(args) {
			i++
			options = append(options, args[i])
		}
	}
	return append(options, rest...)
}

package command

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/wire/cmdline"
)

// flagsFirst moves the options of a command in front of its arguments.
func flagsFirst(app *cli.App, args []string) []string {
	command, at := commandOf(app, args)
	if command == nil || args[len(args)-1] == cmdline.CompletionFlag {
		return args
	}
	return append(args[:at:at], cmdline.OptionsFirst(args[at:], func(option string) bool { return takesValue(command.Flags, option) })...)
}

// commandOf returns the command that args name, nil if none, and the index of
// what follows its name.
func commandOf(app *cli.App, args []string) (command *cli.Command, at int) {
	commands := app.Commands
	for at = 1; at < len(args); at++ {
		next := find(commands, args[at])
		if next == nil {
			break
		}
		command, commands = next, next.Subcommands
	}
	return command, at
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// takesValue reports whether an option is followed by its value.
func takesValue(flags []cli.Flag, name string) bool {
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				d, ok := f.(cli.DocGenerationFlag)
				return ok && d.TakesValue()
			}
		}
	}
	return false
}

// noArguments refuses arguments for a command that takes none.
func noArguments(c *cli.Context) error {
	if !c.Args().Present() {
		return nil
	}
	arg := c.Args().First()
	if name, _, ok := strings.Cut(arg, "="); ok {
		return usagef("unexpected argument %q: options start with --, as in --%s=...", arg, name)
	}
	return usagef("unexpected argument %q; see %s --help", arg, c.Command.HelpName)
}

// oneArgument returns the only argument of a command; name is what it is.
func oneArgument(c *cli.Context, name string) (string, error) {
	switch {
	case c.NArg() == 0 || c.Args().First() == "":
		return "", usagef("%s is missing: %s %s; see %s --help", name, c.Command.HelpName, name, c.Command.HelpName)
	case c.NArg() > 1:
		return "", usagef("one %s at a time, not %d", name, c.NArg())
	}
	return c.Args().First(), nil
}

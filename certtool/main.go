package certtool

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/servicetools/servicetools/wire/cmdline"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/version"
	"github.com/urfave/cli/v2"
)

// Exit codes of the command.
const (
	ExitOK      = 0
	ExitFailure = 1  // a file is missing, exists already, or cannot be written
	ExitUsage   = 2  // the command line is wrong
	ExitConfig  = 78 // a certificate is bad: EX_CONFIG of sysexits.h
)

// Main runs the command with the given arguments, the first being its name, and
// returns its exit code. Data goes to stdout, everything else to stderr.
func Main(args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	err := app.Run(optionsFirst(app, args))
	if err == nil {
		return ExitOK
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintf(stderr, "certtool: %v\n", err)
	}
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		return ExitUsage
	case errors.Is(err, curve.ErrBadCertificate), errors.Is(err, curve.ErrExposed), errors.Is(err, errReported):
		return ExitConfig
	}
	return ExitFailure
}

// errReported is the end of a command whose output says what is wrong.
var errReported = errors.New("problems were found")

// usageError is a fault of the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

func newApp(stdout, stderr io.Writer) *cli.App {
	commands := []*cli.Command{generateCommand(), listCommand(), showCommand(), verifyCommand(), revokeCommand(), rotateCommand(), completionCommand()}
	names := make([]string, len(commands))
	for i, c := range commands {
		names[i] = c.Name
		c.HideHelpCommand = true
		c.OnUsageError = onUsageError
	}
	return &cli.App{
		Name:                 "certtool",
		Usage:                "make and look after the CURVE certificates of a service",
		Description:          "A folder DIR holds DIR/public_keys/NAME.key, which a broker follows, and\nDIR/private_keys/NAME.key_secret, which only the key's owner may read. The files\nare those of czmq and pyzmq.\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 78 bad certificate.\n\nExample:\n   certtool generate --path certs --users all",
		Writer:               stdout,
		ErrWriter:            stderr,
		HideHelpCommand:      true,
		Version:              version.String(),
		EnableBashCompletion: true,
		ExitErrHandler:       func(*cli.Context, error) {}, // Main decides about the exit
		OnUsageError:         onUsageError,
		Commands:             commands,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("unknown command %q: use %s", c.Args().First(), strings.Join(names, ", "))
			}
			return usagef("which command? use %s; certtool COMMAND --help explains it", strings.Join(names, ", "))
		},
	}
}

// optionsFirst moves the options of a command in front of its arguments.
func optionsFirst(app *cli.App, args []string) []string {
	if len(args) < 2 || app.Command(args[1]) == nil || args[len(args)-1] == cmdline.CompletionFlag {
		return args
	}
	valued := make(map[string]bool)
	for _, f := range app.Command(args[1]).Flags {
		for _, name := range f.Names() {
			_, isSwitch := f.(*cli.BoolFlag)
			valued[name] = !isSwitch
		}
	}
	return append(args[:2:2], cmdline.OptionsFirst(args[2:], func(option string) bool { return valued[option] })...)
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	return usagef("%v; see %s --help", err, strings.TrimSpace("certtool "+strings.TrimPrefix(c.Command.Name, "certtool")))
}

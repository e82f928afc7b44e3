// Package command is the command broker: it serves, writes and checks
// configurations, and asks running brokers through their own methods. Each
// sub-command has a file here.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/version"
)

const help = `Clients send calls to a broker, which hands them to workers. One INI file
describes a broker; CURVE certificates, made by certtool, say who may connect.

Exit codes: 0 done, 1 failed, 2 wrong usage, 69 no broker answers, 75 queue full,
77 not authorised, 78 bad configuration or certificate, 124 out of time,
130 interrupted.

Example, everything on this machine:
   broker dev

Example, for good:
   certtool generate --path certs --users all
   broker init --config server.ini --keys certs --port 8006 --backend-port 9006
   broker serve --config server.ini`

// echo is how long after a signal another one is taken for the same: a terminal,
// timeout(1) or a container's init may tell the process and its group.
const echo = 250 * time.Millisecond

// Main runs the command with the given arguments, the first being its name, and
// returns its exit code. Data goes to stdout, everything else to stderr. The
// first SIGINT or SIGTERM asks the command to end in order, the second ends the
// process at once with ExitInterrupted.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
			return
		}
		for first := time.Now(); ; {
			if <-signals; time.Since(first) > echo {
				os.Exit(ExitInterrupted)
			}
		}
	}()
	return run(ctx, args, stdout, stderr)
}

// run is Main without its signals.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	if completeOptions(app, args) {
		return ExitOK
	}
	err := app.RunContext(ctx, flagsFirst(app, args))
	var found *foundError
	code := exitCode(err)
	switch {
	case code == ExitInterrupted:
		fmt.Fprintln(stderr, "broker: interrupted")
	case err != nil && !errors.As(err, &found):
		fmt.Fprintf(stderr, "broker: %s\n", lines(err))
	}
	return code
}

// lines is the text of err, each line of which starts with the command's name.
func lines(err error) string { return strings.ReplaceAll(err.Error(), "\n", "\nbroker: ") }

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                      "broker",
		Usage:                     "hand work from clients to workers, encrypted",
		Description:               help,
		Version:                   version.String(),
		Writer:                    stdout,
		ErrWriter:                 stderr,
		HideHelpCommand:           true,
		EnableBashCompletion:      true,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // run decides about the exit
		OnUsageError:              onUsageError,
		Commands: []*cli.Command{
			serveCommand(), devCommand(), initCommand(), configCommand(), doctorCommand(),
			statusCommand(), healthCommand(), workersCommand(), methodsCommand(), callsCommand(), sessionsCommand(),
			addCommand(), removeCommand(), drainCommand(), scaleCommand(), cancelCommand(), reloadCommand(),
			completionCommand(),
		},
	}
	tame(app.Commands)
	app.Action = func(c *cli.Context) error {
		var names []string
		for _, command := range app.Commands {
			names = append(names, command.Name)
		}
		if name := c.Args().First(); name != "" {
			return usagef("unknown command %q%s; broker --help lists them", name, message.DidYouMean(name, names))
		}
		return usagef("which command? use %s; broker COMMAND --help explains it", strings.Join(names, ", "))
	}
	return app
}

// tame gives all commands the same manners.
func tame(commands []*cli.Command) {
	for _, c := range commands {
		c.HideHelpCommand = true
		c.OnUsageError = onUsageError
		tame(c.Subcommands)
	}
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	name := c.Command.HelpName
	if name == "" {
		name = "broker"
	}
	text := err.Error()
	if flag, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		text = "there is no option --" + strings.TrimPrefix(flag, "-") + message.DidYouMean(flag, flagNames(c.Command.Flags))
	}
	return usagef("%s; see %s --help", text, name)
}

func flagNames(flags []cli.Flag) (names []string) {
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	return names
}

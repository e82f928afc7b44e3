// Package zcall is the command zcall: calls of methods from a shell with JSON
// arguments and results.
package zcall

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/wire/version"
)

// Streams are the command's standard streams. Results go to Out, all else to Err.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// terminal reports whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

const usage = `zcall METHOD [JSON-ARG ...] [--kwargs JSON]

Every argument is JSON: 1 2.5 true null '"text"' '[1,2]' '{"a":1}', and
'{"base64":"..."}' for bytes. The result is printed as JSON.

   zcall add 1 2
   zcall word_count '"to be or not to be"' --timeout 5s
   zcall word_count --kwargs '{"text": "to be", "top": 3}'
   seq 10 | sed 's/.*/[&]/' | zcall map primes
   zcall bench echo --requests 10000 --concurrency 100 -o json
   zcall doctor

A method that is named like a command is reached by zcall call METHOD.

Exit status: 0 ok, 1 the method returned an error, 2 usage, 69 no worker or no
broker, 75 queue full, 77 not authorised, 78 bad configuration, 124 deadline,
130 interrupted.`

// Run executes the command line args, program name first, and returns the exit status.
func Run(ctx context.Context, args []string, streams Streams) int {
	app := newApp(streams)
	err := app.RunContext(ctx, normalise(app, args))
	return report(ctx, streams.Err, err)
}

func newApp(streams Streams) *cli.App {
	app := &cli.App{
		Name:                   "zcall",
		Usage:                  "call methods of workers through a servicetools broker",
		UsageText:              usage,
		Version:                version.String(),
		Reader:                 streams.In,
		Writer:                 streams.Out,
		ErrWriter:              streams.Err,
		EnableBashCompletion:   true,
		HideHelpCommand:        true,
		ExitErrHandler:         func(*cli.Context, error) {}, // Run reports
		OnUsageError:           usageError,
		CustomAppHelpTemplate:  helpTemplate,
		UseShortOptionHandling: false,
		Action: func(*cli.Context) error {
			return &usageMistake{message: "no method is given", hint: "zcall add 1 2, for example; zcall --help tells more"}
		},
	}
	app.Commands = []*cli.Command{
		callCommand(streams), describeCommand(streams), mapCommand(streams),
		streamCommand(streams), benchCommand(streams), doctorCommand(streams),
	}
	for _, command := range app.Commands {
		command.Flags = append(command.Flags, connectionFlags()...)
	}
	app.Commands = append(app.Commands, completionCommand(streams))
	for _, command := range app.Commands {
		command.OnUsageError = usageError
		if command.BashComplete == nil {
			command.BashComplete = completeFlags(command)
		}
	}
	app.BashComplete = completeCommands
	return app
}

const helpTemplate = `{{.Name}} - {{.Usage}}

{{.UsageText}}

Commands:
{{range .VisibleCommands}}   {{join .Names ", "}}{{"\t"}}{{.Usage}}
{{end}}
zcall COMMAND --help lists the flags of each. All but completion take --server,
--cert, --server-key and --timeout, also from SERVICETOOLS_SERVER, _CERT,
_SERVER_KEY and _TIMEOUT.
`

func usageError(_ *cli.Context, err error, _ bool) error {
	hint := "zcall --help shows how"
	if strings.Contains(err.Error(), "flag -timeout:") {
		hint = "a time has a unit: --timeout 5s"
	}
	return &usageMistake{message: err.Error(), hint: hint}
}

// connectionFlags are the flags of every command.
func connectionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "server", EnvVars: []string{"SERVICETOOLS_SERVER"}, Value: "tcp://localhost:8006", Usage: "`ENDPOINTS` of the broker, separated by commas"},
		&cli.StringFlag{Name: "cert", EnvVars: []string{"SERVICETOOLS_CERT"}, Usage: "this client's `FILE.key_secret`"},
		&cli.StringFlag{Name: "server-key", EnvVars: []string{"SERVICETOOLS_SERVER_KEY"}, Usage: "the broker's public key `FILE`"},
		&cli.BoolFlag{Name: "insecure", EnvVars: []string{"SERVICETOOLS_INSECURE"}, Usage: "no encryption, for a broker with secure = False"},
		&cli.DurationFlag{Name: "timeout", EnvVars: []string{"SERVICETOOLS_TIMEOUT"}, Value: clientsdk.DefaultTimeout, Usage: "deadline of each call, a `TIME` such as 5s; 0 = none"},
	}
}

// options translates the connection flags.
func options(c *cli.Context) []clientsdk.Option {
	opts := []clientsdk.Option{clientsdk.WithTimeout(c.Duration("timeout"))}
	if c.Bool("insecure") {
		return append(opts, clientsdk.WithInsecure())
	}
	if cert := c.String("cert"); cert != "" {
		opts = append(opts, clientsdk.WithCertificate(cert))
	}
	if key := c.String("server-key"); key != "" {
		opts = append(opts, clientsdk.WithServerKey(key))
	}
	return opts
}

// connect dials as the flags say.
func connect(c *cli.Context) (*clientsdk.Client, error) {
	if !c.Bool("insecure") {
		switch {
		case c.String("cert") == "":
			return nil, &configMistake{message: "no client key is given", hint: "give --cert FILE.key_secret and --server-key server.key, or --insecure for a broker without keys"}
		case c.String("server-key") == "":
			return nil, &configMistake{message: "no server key is given", hint: "give --server-key server.key from the broker's public_keys folder"}
		}
	}
	ctx := c.Context
	if timeout := c.Duration("timeout"); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	client, err := clientsdk.Dial(ctx, c.String("server"), options(c)...)
	if err != nil {
		return nil, dialFailure(err)
	}
	return client, nil
}

// leave closes a client whose calls have ended or do not matter any more.
func leave(client *clientsdk.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = client.Close(ctx) // what is cancelled by it was given up before
}

// method returns the first argument, the name of a method, and those after it.
func method(c *cli.Context) (name string, rest []string, err error) {
	if c.NArg() == 0 {
		return "", nil, &usageMistake{
			message: fmt.Sprintf("%s needs the name of a method", c.Command.Name),
			hint:    "zcall describe lists what can be called",
		}
	}
	return c.Args().First(), c.Args().Tail(), nil
}

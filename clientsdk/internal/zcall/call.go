package zcall

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/wire/message"
)

// callFlags are the flags of commands that make calls of a person's own.
func callFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "kwargs", Usage: "named arguments, a `JSON` object"},
		&cli.BoolFlag{Name: "raw", Usage: "print bytes and strings as they are"},
		&cli.BoolFlag{Name: "idempotent", Usage: "running the method twice does no harm"},
		&cli.StringFlag{Name: "key", Usage: "idempotency `KEY`: within two minutes the same call is made once"},
		&cli.StringFlag{Name: "priority", Value: "normal", Usage: "`LEVEL`: low, normal or high"},
		&cli.BoolFlag{Name: "progress", Usage: "print progress reports to stderr"},
	}
}

// withCallFlags returns client with the call options of the flags.
func withCallFlags(c *cli.Context, client *clientsdk.Client, streams Streams) *clientsdk.Client {
	var opts []clientsdk.CallOption
	if c.Bool("idempotent") {
		opts = append(opts, clientsdk.Idempotent())
	}
	if key := c.String("key"); key != "" {
		opts = append(opts, clientsdk.IdempotencyKey(key))
	}
	if p, ok := message.ParsePriority(c.String("priority")); ok {
		opts = append(opts, clientsdk.WithPriority(p))
	}
	if c.Bool("progress") {
		opts = append(opts, clientsdk.OnProgress(func(p clientsdk.Progress) {
			if p.Total > 0 {
				fmt.Fprintf(streams.Err, "%3.0f%% %s\n", 100*p.Done/p.Total, p.Note)
			} else {
				fmt.Fprintf(streams.Err, "%v %s\n", p.Done, p.Note)
			}
		}))
	}
	return client.With(opts...)
}

// request reads the method and arguments of a call from the command line.
func request(c *cli.Context) (name string, args []any, err error) {
	name, texts, err := method(c)
	if err != nil {
		return "", nil, err
	}
	if args, err = parseArgs(texts); err != nil {
		return "", nil, err
	}
	kwargs, err := parseKwargs(c.String("kwargs"))
	if err != nil {
		return "", nil, err
	}
	if kwargs != nil {
		args = append(args, kwargs)
	}
	if _, ok := message.ParsePriority(c.String("priority")); !ok {
		return "", nil, &usageMistake{message: fmt.Sprintf("--priority %q is unknown", c.String("priority")), hint: "low, normal or high"}
	}
	return name, args, nil
}

// caller makes one call; each value that comes goes to print.
type caller func(ctx context.Context, client *clientsdk.Client, name string, args []any, print func(any) error) error

// callAction is the action of a command that makes the call of its command line.
func callAction(streams Streams, call caller) cli.ActionFunc {
	return func(c *cli.Context) error {
		name, args, err := request(c)
		if err != nil {
			return err
		}
		client, err := connect(c)
		if err != nil {
			return err
		}
		defer leave(client)
		return call(c.Context, withCallFlags(c, client, streams), name, args, newPrinter(streams.Out, c.Bool("raw")).print)
	}
}

func callCommand(streams Streams) *cli.Command {
	return &cli.Command{
		Name:        "call",
		Description: "Example:\n   zcall call add 1 2\n   zcall call describe --kwargs '{\"depth\": 2}'",
		Usage:       "call METHOD, also one that is named like a command",
		ArgsUsage:   "METHOD [JSON-ARG ...]",
		Flags:       callFlags(),
		Action: callAction(streams, func(ctx context.Context, client *clientsdk.Client, name string, args []any, print func(any) error) error {
			v, err := clientsdk.Call[any](ctx, client, name, args...)
			if err != nil {
				return err
			}
			return print(v)
		}),
	}
}

func streamCommand(streams Streams) *cli.Command {
	return &cli.Command{
		Name:        "stream",
		Description: "Example:\n   zcall stream count 3",
		Usage:       "call a METHOD that streams, and print each item on a line",
		ArgsUsage:   "METHOD [JSON-ARG ...]",
		Flags:       callFlags(),
		Action: callAction(streams, func(ctx context.Context, client *clientsdk.Client, name string, args []any, print func(any) error) error {
			for v, err := range clientsdk.Stream[any](ctx, client, name, args...) {
				if err == nil {
					err = print(v)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

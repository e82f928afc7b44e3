package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// watchFlags are the options of a command whose answer can be followed.
func watchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "watch", Usage: "show it again and again, until interrupted"},
		&cli.DurationFlag{Name: "interval", Value: 2 * time.Second, Usage: "`TIME` between two views of --watch"},
	}
}

// view is what a command that asks one question shows: the answer to a method,
// as a table or as it is.
type view[T any] struct {
	method string
	kwargs map[string]any
	print  func(w io.Writer, answer T) error
	check  func(answer T) error // whether the answer, once printed, is a failure; nil = it is none
}

// show asks, prints, and with --watch does so until it is interrupted. With
// -o json each view of --watch is one line.
func (v view[T]) show(c *cli.Context) error {
	asJSON, err := inJSON(c)
	if err != nil {
		return err
	}
	if c.Bool("watch") && c.Duration("interval") <= 0 {
		return usagef("--interval must be more than nothing, such as 2s")
	}
	s, err := connect(c)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		var answer T
		if err := s.call(c.Context, v.method, v.kwargs, &answer); err != nil {
			return err
		}
		w := c.App.Writer
		switch {
		case asJSON && c.Bool("watch"):
			err = jsonEncoder(w).Encode(answer)
		case asJSON:
			err = writeJSON(w, answer)
		default:
			if c.Bool("watch") {
				heading(w, c.Command.HelpName)
			}
			err = v.print(w, answer)
		}
		if err == nil && v.check != nil {
			err = v.check(answer)
		}
		if err != nil || !c.Bool("watch") {
			return err
		}
		if err := pause(c.Context, c.Duration("interval")); err != nil {
			return err
		}
	}
}

// heading starts one view: on a terminal at its top, else below the last one.
func heading(w io.Writer, title string) {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		io.WriteString(w, "\x1b[H\x1b[2J")
	}
	fmt.Fprintf(w, "%s, %s\n", title, time.Now().Format(time.TimeOnly))
}

// pause waits for d, or returns why it must not.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

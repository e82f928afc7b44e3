package zcall

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/clientsdk"
)

// maxLine bounds a line of zcall map, in bytes.
const maxLine = 16 << 20

func mapCommand(streams Streams) *cli.Command {
	return &cli.Command{
		Name:        "map",
		Description: "Example:\n   seq 10 | sed 's/.*/[&]/' | zcall map primes --concurrency 4",
		Usage:       "call METHOD with the JSON argument list on each line of stdin",
		ArgsUsage:   "METHOD",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "concurrency", Value: clientsdk.DefaultMapInFlight, Usage: "`N` calls in flight"},
			&cli.BoolFlag{Name: "keep-going", Usage: `print {"error": ...} for a call that fails, and go on`},
			&cli.BoolFlag{Name: "raw", Usage: "print bytes and strings as they are"},
			&cli.BoolFlag{Name: "idempotent", Usage: "running the method twice does no harm"},
		},
		Action: func(c *cli.Context) error {
			name, rest, err := method(c)
			if err != nil {
				return err
			}
			if len(rest) > 0 || c.Int("concurrency") < 1 {
				return &usageMistake{message: "map takes one METHOD and a positive --concurrency", hint: "arguments come from stdin, one JSON list a line"}
			}
			client, err := connect(c)
			if err != nil {
				return err
			}
			defer leave(client)
			if c.Bool("idempotent") {
				client = client.With(clientsdk.Idempotent())
			}
			return mapLines(c, client, name, streams)
		},
	}
}

func mapLines(c *cli.Context, client *clientsdk.Client, name string, streams Streams) error {
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	lines := &lineReader{in: streams.In}
	p := newPrinter(streams.Out, c.Bool("raw"))
	progress := newProgress(streams.Err)
	defer progress.end()
	number := 0
	for v, err := range clientsdk.MapEach[any](ctx, client, name, lines.lists(ctx), c.Int("concurrency")) {
		number++
		progress.step(err)
		switch {
		case err == nil:
			err = p.print(v)
		case c.Bool("keep-going") && ctx.Err() == nil:
			err = p.print(map[string]any{"error": errorObject(err)})
		default:
			err = fmt.Errorf("line %d: %w", number, err)
		}
		if err != nil {
			return err
		}
	}
	return lines.err
}

// lineReader reads argument lists. Its fields are read when lists has ended.
type lineReader struct {
	in  io.Reader
	err error // why it ended early
}

// lists yields the argument list of each line. The reading goroutine may stay
// behind in a Read that does not return; the process ends soon after.
func (r *lineReader) lists(ctx context.Context) iter.Seq[clientsdk.Args] {
	type line struct {
		args clientsdk.Args
		err  error
	}
	lines := make(chan line)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(r.in)
		scanner.Buffer(nil, maxLine)
		for number := 1; scanner.Scan(); number++ {
			if len(scanner.Bytes()) == 0 {
				continue
			}
			l := line{}
			if l.args, l.err = parseList(scanner.Text()); l.err != nil {
				l.err = &usageMistake{message: fmt.Sprintf("line %d of stdin: %v", number, l.err), hint: "each line is the list of arguments of one call, such as [1, 2]"}
			}
			select {
			case lines <- l:
			case <-ctx.Done():
				return
			}
		}
		if err := scanner.Err(); err != nil {
			select {
			case lines <- line{err: &usageMistake{message: fmt.Sprintf("stdin: %v", err)}}:
			case <-ctx.Done():
			}
		}
	}()
	return func(yield func(clientsdk.Args) bool) {
		for {
			select {
			case l, ok := <-lines:
				if r.err = l.err; !ok || l.err != nil || !yield(l.args) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func errorObject(err error) any {
	var coded *clientsdk.Error
	if !errors.As(err, &coded) {
		return map[string]string{"code": "internal", "message": err.Error()}
	}
	object := map[string]any{"code": string(coded.Code), "message": coded.Message, "executed": coded.Execution().String()}
	if _, err := json.Marshal(coded.Details); err == nil && len(coded.Details) > 0 {
		object["details"] = coded.Details
	}
	return object
}

// progress shows on a terminal how far a map is.
type progress struct {
	out           io.Writer // nil if it is no terminal
	began, shown  time.Time
	count, failed int
}

func newProgress(w io.Writer) *progress {
	p := &progress{began: time.Now()}
	if terminal(w) {
		p.out = w
	}
	return p
}

func (p *progress) step(err error) {
	p.count++
	if err != nil {
		p.failed++
	}
	if p.out != nil && time.Since(p.shown) > 200*time.Millisecond {
		p.show()
	}
}

func (p *progress) show() {
	p.shown = time.Now()
	fmt.Fprintf(p.out, "\r%d done, %d failed, %.0f/s ", p.count, p.failed, float64(p.count)/time.Since(p.began).Seconds())
}

func (p *progress) end() {
	if p.out != nil {
		p.show()
		fmt.Fprintln(p.out)
	}
}

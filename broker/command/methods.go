package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker"
)

const methodsHelp = `Lists the methods that workers serve or have served, each with its signature, the
first sentence of its documentation and what became of its calls. With the name of
a METHOD it shows all that is known of that one, of the broker's own as well.

Example:
   broker methods --config server.ini
   broker methods --config server.ini word_count`

func methodsCommand() *cli.Command {
	return &cli.Command{
		Name:        "methods",
		Category:    "Look",
		Usage:       "list methods, or describe one",
		ArgsUsage:   "[METHOD]",
		Description: methodsHelp,
		Flags:       connectFlags(),
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return view[[]broker.MethodView]{method: "broker.methods", print: printMethods}.show(c)
			}
			name, err := oneArgument(c, "METHOD")
			if err != nil {
				return err
			}
			return view[broker.MethodView]{method: "broker.describe", kwargs: map[string]any{"method": name}, print: printMethod}.show(c)
		},
	}
}

func printMethods(w io.Writer, methods []broker.MethodView) error {
	t := newTable("METHOD", "WORKERS", "QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "SIGNATURE", "DOC")
	for _, m := range methods {
		t.add(m.Name, number(m.Workers), number(m.Queued), number(m.Running), number(m.Succeeded), number(m.Failed), m.Signature, firstSentence(m.Doc))
	}
	return t.write(w)
}

func printMethod(w io.Writer, m broker.MethodView) error {
	t := newTable("METHOD", m.Name)
	t.add("ALIASES", strings.Join(m.Aliases, ", "))
	t.add("SIGNATURE", m.Signature)
	t.add("IDEMPOTENT", yesNo(m.Idempotent))
	t.add("STREAM", yesNo(m.Stream))
	t.add("WORKERS", number(m.Workers))
	t.add("CALLS", fmt.Sprintf("succeeded %d, failed %d, queued %d, running %d", m.Succeeded, m.Failed, m.Queued, m.Running))
	if err := t.write(w); err != nil || m.Doc == "" {
		return err
	}
	fmt.Fprintln(w)
	for line := range strings.Lines(m.Doc) {
		if _, err := fmt.Fprintln(w, plain(strings.TrimRight(line, "\r\n"))); err != nil {
			return err
		}
	}
	return nil
}

// firstSentence returns what a list shows of a doc comment.
func firstSentence(doc string) string {
	doc = strings.Join(strings.Fields(doc), " ")
	if head, _, cut := strings.Cut(doc, ". "); cut {
		return head + "."
	}
	return doc
}

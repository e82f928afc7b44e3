package zcall

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/clientsdk"
)

// formatFlag is -o, of commands that print tables.
func formatFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORM` of the output: table or json"}
}

func format(c *cli.Context) (json bool, err error) {
	switch f := c.String("output"); f {
	case "table":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, &usageMistake{message: fmt.Sprintf("-o %s is unknown", f), hint: "table or json"}
	}
}

func describeCommand(streams Streams) *cli.Command {
	return &cli.Command{
		Name:        "describe",
		Description: "Example:\n   zcall describe\n   zcall describe add -o json",
		Usage:       "list what can be called, or show one METHOD",
		ArgsUsage:   "[METHOD]",
		Flags:       []cli.Flag{formatFlag()},
		Action: func(c *cli.Context) error {
			json, err := format(c)
			if err != nil {
				return err
			}
			client, err := connect(c)
			if err != nil {
				return err
			}
			defer leave(client)
			if c.NArg() > 0 {
				return describeOne(c, client, streams.Out, json)
			}
			methods, err := client.Methods(c.Context)
			if err != nil {
				return err
			}
			if json {
				return newPrinter(streams.Out, false).print(methods)
			}
			return listMethods(streams.Out, methods)
		},
	}
}

func describeOne(c *cli.Context, client *clientsdk.Client, w io.Writer, json bool) error {
	m, err := client.Describe(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	if json {
		return newPrinter(w, false).print(m)
	}
	signature := m.Signature
	if signature == "" {
		signature = m.Name
	}
	fmt.Fprintln(w, signature)
	if m.Doc != "" {
		fmt.Fprintln(w, "    "+strings.ReplaceAll(strings.TrimSpace(m.Doc), "\n", "\n    "))
	}
	fmt.Fprintf(w, "name %s", m.Name)
	if len(m.Aliases) > 0 {
		fmt.Fprintf(w, ", also %s", strings.Join(m.Aliases, ", "))
	}
	fmt.Fprintf(w, "; workers %d; idempotent %v; streams %v\n", m.Workers, m.Idempotent, m.Stream)
	return nil
}

func listMethods(w io.Writer, methods []clientsdk.Method) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "METHOD\tWORKERS\tSIGNATURE\tDOC")
	for _, m := range methods {
		doc, _, _ := strings.Cut(strings.TrimSpace(m.Doc), "\n")
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", m.Name, m.Workers, m.Signature, doc)
	}
	return t.Flush()
}

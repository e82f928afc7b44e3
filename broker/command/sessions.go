package command

import (
	"io"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker"
)

const sessionsHelp = `Lists the clients. A session without connection is kept for client_grace, so that
its client can come back and find its calls. OUTCOMES are those that the client
has not acknowledged yet.

Example:
   broker sessions --config server.ini`

func sessionsCommand() *cli.Command {
	return &cli.Command{
		Name:        "sessions",
		Category:    "Look",
		Usage:       "list clients",
		Description: sessionsHelp,
		Flags:       connectFlags(),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return view[[]broker.SessionView]{method: "broker.sessions", print: printSessions}.show(c)
		},
	}
}

func printSessions(w io.Writer, sessions []broker.SessionView) error {
	t := newTable("SESSION", "NAME", "ADDRESS", "CONNECTED", "PLAIN", "CALLS", "OUTCOMES", "CLIENT")
	for _, v := range sessions {
		t.add(v.Session, v.Name, v.Address, yesNo(v.Attached), yesNo(v.Plain), number(v.Calls), number(v.Outcomes), v.Client)
	}
	return t.write(w)
}

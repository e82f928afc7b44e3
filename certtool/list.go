package certtool

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

const listHelp = `Lists the certificates of a folder. A key's state is what a broker that follows
DIR/public_keys makes of it: admitted, server (the broker's own), revoked, not
public (there is only a secret file), or bad (it cannot be read).

Example:
   certtool list --path certs
   certtool list --path certs -o json`

func listCommand() *cli.Command {
	return &cli.Command{
		Name:        "list",
		Usage:       "list the certificates of a folder",
		Description: listHelp,
		Flags:       []cli.Flag{pathFlag(), outputFlag()},
		Action:      list,
	}
}

func list(c *cli.Context) error {
	_, all, asJSON, err := folder(c)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(c.App.Writer, all)
	}
	rows := []string{"NAME\tROLE\tSTATE\tMETHODS\tCREATED\tFINGERPRINT"}
	for _, r := range all {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", r.Name, r.role(), r.State, r.methods(), r.created(), orDash(r.Fingerprint)))
	}
	return writeTable(c.App.Writer, rows...)
}

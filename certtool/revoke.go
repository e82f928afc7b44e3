package certtool

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

const revokeHelp = `Moves DIR/public_keys/NAME.key to DIR/public_keys/revoked and prints its new path.
A broker that follows the folder closes the key's sessions within a second and
refuses the key from then on with status 400. The secret file stays where it is.
To take it back, move the file back.

Example:
   certtool revoke --path certs ann`

func revokeCommand() *cli.Command {
	return &cli.Command{
		Name:        "revoke",
		Usage:       "end a key's admission",
		ArgsUsage:   "NAME",
		Description: revokeHelp,
		Flags:       []cli.Flag{pathFlag()},
		Action:      revoke,
	}
}

func revoke(c *cli.Context) error {
	keys, name, err := certificate(c)
	if err != nil {
		return err
	}
	r, err := find(keys, name)
	if err != nil {
		return err
	}
	if r.State == stateRevoked {
		return fmt.Errorf("%q is revoked already: %s", name, r.PublicFile)
	}
	path, err := keys.Revoke(name)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, path)
	fmt.Fprintf(c.App.ErrWriter, "revoked the %s certificate %q, fingerprint %s\n", r.role(), name, orDash(r.Fingerprint))
	return nil
}

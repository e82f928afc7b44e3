package certtool

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

const rotateHelp = `Replaces a key pair by a new one with the same name, role and methods. The old
public certificate is revoked; the old secret one is kept in
DIR/private_keys/revoked. The paths of the new files are printed. Whoever used the
old pair needs the new secret file; after the server's pair is rotated the broker
must be restarted, and every client and worker needs the new server.key.

Example:
   certtool rotate --path certs worker`

func rotateCommand() *cli.Command {
	return &cli.Command{
		Name:        "rotate",
		Usage:       "replace a key pair by a new one",
		ArgsUsage:   "NAME",
		Description: rotateHelp,
		Flags:       []cli.Flag{pathFlag()},
		Action:      rotate,
	}
}

func rotate(c *cli.Context) error {
	keys, name, err := certificate(c)
	if err != nil {
		return err
	}
	if r, err := find(keys, name); err == nil && r.State == stateRevoked {
		return fmt.Errorf("%q is revoked: make another key with certtool generate --users %s --name %s --overwrite", name, r.role(), name)
	}
	made, err := keys.Rotate(name)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s\n%s\n", keys.PublicPath(name), keys.SecretPath(name))
	fmt.Fprintf(c.App.ErrWriter, "rotated the %s certificate %q, fingerprint %s\n", made.Role, name, made.Public.Fingerprint())
	return nil
}

package certtool

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/urfave/cli/v2"
)

const showHelp = `Shows one certificate: its role, methods, public key and the key's fingerprint,
which two people can compare on the telephone. It never shows a secret key. Give
the NAME of a certificate in --path, or the path of any certificate FILE.

Example:
   certtool show --path certs server
   certtool show -o json /media/usb/ann.key`

func showCommand() *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show one certificate, never its secret",
		ArgsUsage:   "NAME | FILE",
		Description: showHelp,
		Flags:       []cli.Flag{pathFlag(), outputFlag()},
		Action:      show,
	}
}

func show(c *cli.Context) error {
	asJSON, err := inJSON(c)
	if err != nil {
		return err
	}
	name, err := oneName(c)
	if err != nil {
		return err
	}
	r, err := showRecord(c, name)
	if err != nil {
		return err
	}
	if r.State == stateBad {
		return r.err
	}
	if asJSON {
		return writeJSON(c.App.Writer, r)
	}
	return writeTable(c.App.Writer,
		"name\t"+r.Name,
		"role\t"+r.role(),
		"state\t"+r.State,
		"methods\t"+r.methods(),
		"created\t"+r.created(),
		"public key\t"+r.PublicKey.String(),
		"fingerprint\t"+r.Fingerprint,
		"public file\t"+orDash(r.PublicFile),
		"secret file\t"+orDash(r.SecretFile),
		"problem\t"+orDash(r.Problem))
}

func showRecord(c *cli.Context, name string) (record, error) {
	if !c.IsSet("path") {
		ext := filepath.Ext(name)
		if ext != curve.PublicExt && ext != curve.SecretExt {
			return record{}, usagef("%q is not a certificate file; to show a certificate by its name add --path", name)
		}
		r := describe(strings.TrimSuffix(filepath.Base(name), ext), name)
		if errors.Is(r.err, fs.ErrNotExist) {
			return record{}, r.err
		}
		return r, nil
	}
	keys, err := keyset(c)
	if err != nil {
		return record{}, err
	}
	return find(keys, name)
}

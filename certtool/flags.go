package certtool

import (
	"strings"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/urfave/cli/v2"
)

func pathFlag() cli.Flag {
	return &cli.StringFlag{Name: "path", Usage: "the folder `DIR` with public_keys and private_keys"}
}

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORM` of the output: table or json"}
}

// keyset returns the folders that --path names.
func keyset(c *cli.Context) (curve.Keyset, error) {
	dir := c.String("path")
	if dir == "" {
		return curve.Keyset{}, usagef("--path is missing: the folder with public_keys and private_keys")
	}
	return curve.KeysetIn(dir), nil
}

// inJSON returns whether the output is to be JSON.
func inJSON(c *cli.Context) (bool, error) {
	switch form := c.String("output"); form {
	case "table":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, usagef("--output %q is not table or json", form)
	}
}

// folder returns what list and verify look at: the certificates of the folder
// that --path names, and whether the output is to be JSON.
func folder(c *cli.Context) (keys curve.Keyset, all []record, asJSON bool, err error) {
	if err := noArguments(c); err != nil {
		return keys, nil, false, err
	}
	if asJSON, err = inJSON(c); err != nil {
		return keys, nil, false, err
	}
	if keys, err = keyset(c); err != nil {
		return keys, nil, false, err
	}
	all, err = records(keys)
	return keys, all, asJSON, err
}

func noArguments(c *cli.Context) error {
	if !c.Args().Present() {
		return nil
	}
	arg := c.Args().First()
	if name, _, ok := strings.Cut(arg, "="); ok {
		return usagef("unexpected argument %q: options start with --, as in --%s=...", arg, name)
	}
	return usagef("unexpected argument %q", arg)
}

// oneName returns the certificate's name, the command's only argument.
func oneName(c *cli.Context) (string, error) {
	switch {
	case c.NArg() == 0:
		return "", usagef("the NAME of a certificate is missing")
	case c.NArg() > 1:
		return "", usagef("one NAME at a time, not %d", c.NArg())
	}
	return c.Args().First(), nil
}

// certificate returns what revoke and rotate change: the certificate of the
// folder that --path names, by the name that is the command's only argument.
func certificate(c *cli.Context) (keys curve.Keyset, name string, err error) {
	if name, err = oneName(c); err != nil {
		return keys, "", err
	}
	if keys, err = keyset(c); err != nil {
		return keys, "", err
	}
	if err := curve.CheckName(name); err != nil {
		return keys, "", usagef("%v", err)
	}
	return keys, name, nil
}

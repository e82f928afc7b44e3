package certtool

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/urfave/cli/v2"
)

const generateHelp = `Makes key pairs and writes DIR/public_keys/N.key and
DIR/private_keys/N.key_secret. Secret files get mode 0600 in a folder of mode
0700. An existing file is never replaced unless --overwrite says so. The paths of
the new files are printed.

A server is named "server"; a worker and an admin are named "worker" and "admin",
and a client gets a UUID, unless --name says otherwise. "all" makes a server, a
client, a worker and an admin. A list, such as server,admin, makes one of each. With
more than one, --name names the client.

--methods limits what the key may call, or serve: a list of method names, each
with an optional * at its end.

Example, a broker and all who use it:
   certtool generate --path certs --users all

Example, one client that may only count words:
   certtool generate --path certs --users client --name ann --methods 'word_*'`

func generateCommand() *cli.Command {
	return &cli.Command{
		Name:        "generate",
		Usage:       "make certificates",
		Description: generateHelp,
		Flags: []cli.Flag{
			pathFlag(),
			&cli.StringFlag{Name: "users", Value: "client", Usage: "whom for: `ROLE` is server, client (or user), worker, admin, a list of them, or all"},
			&cli.StringFlag{Name: "name", Usage: "the certificate's name `N`"},
			&cli.StringFlag{Name: "methods", Usage: "allow only the methods of this `LIST`, such as add,word_*"},
			&cli.BoolFlag{Name: "overwrite", Usage: "replace existing files"},
			&cli.BoolFlag{Name: "keep", Usage: "leave existing certificates as they are, and succeed"},
		},
		Action: generate,
	}
}

func generate(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	keys, err := keyset(c)
	if err != nil {
		return err
	}
	requests, err := requested(c)
	if err != nil {
		return err
	}
	var wanted []curve.Request
	for _, r := range requests { // all are checked before the first is written
		if err := curve.CheckName(r.Name); err != nil {
			return usagef("--name: %v", err)
		}
		err := keys.CheckFree(r.Name)
		switch {
		case err == nil || r.Overwrite:
			wanted = append(wanted, r)
		case c.Bool("keep"):
			fmt.Fprintf(c.App.ErrWriter, "kept the %s certificate %q\n", r.Role, r.Name)
		default:
			return explainExisting(err)
		}
	}
	for _, r := range wanted {
		made, err := keys.Generate(r)
		if err != nil {
			return explainExisting(err)
		}
		fmt.Fprintf(c.App.Writer, "%s\n%s\n", keys.PublicPath(r.Name), keys.SecretPath(r.Name))
		fmt.Fprintf(c.App.ErrWriter, "made the %s certificate %q, fingerprint %s\n", r.Role, r.Name, made.Public.Fingerprint())
	}
	return nil
}

// requested translates the flags.
func requested(c *cli.Context) ([]curve.Request, error) {
	name, users := c.String("name"), strings.ToLower(c.String("users"))
	if c.IsSet("name") && name == "" {
		return nil, usagef("--name is empty")
	}
	if c.Bool("keep") && c.Bool("overwrite") {
		return nil, usagef("--keep and --overwrite exclude each other")
	}
	var methods []string
	if c.IsSet("methods") {
		var err error
		if methods, err = curve.ParseMethods(c.String("methods")); err != nil {
			return nil, usagef("--methods: %v", err)
		}
	}
	if users == "all" {
		if name == "server" || name == "worker" || name == "admin" {
			return nil, usagef("--name %q: with --users all it names the client", name)
		}
		users = "server,client,worker,admin"
	}
	roles := strings.Split(users, ",")
	alone := len(roles) == 1
	if !alone && methods != nil {
		return nil, usagef("--methods: give each role its own list, with one command each")
	}
	var requests []curve.Request
	named := false
	for _, role := range roles {
		r := curve.Request{Methods: methods, Overwrite: c.Bool("overwrite")}
		switch strings.TrimSpace(role) {
		case "server":
			if alone && name != "" && name != "server" {
				return nil, usagef(`--name %q: the certificate of a server is always named "server"`, name)
			}
			if methods != nil {
				return nil, usagef("--methods: a server calls nothing")
			}
			r.Role, r.Name = curve.RoleServer, "server"
		case "client", "user":
			r.Role, r.Name = curve.RoleClient, uuid.NewString()
		case "worker":
			r.Role, r.Name = curve.RoleWorker, "worker"
		case "admin":
			r.Role, r.Name = curve.RoleAdmin, "admin"
		default:
			return nil, usagef("--users %q is not server, client, worker or admin, a list of them, or all", role)
		}
		if name != "" && (alone || r.Role == curve.RoleClient) {
			r.Name, named = name, true
		}
		if slices.ContainsFunc(requests, func(o curve.Request) bool { return o.Name == r.Name || o.Role == r.Role }) {
			return nil, usagef("--users %q with --name %q asks twice for one certificate", users, name)
		}
		requests = append(requests, r)
	}
	if name != "" && !named {
		return nil, usagef("--name %q: with several users it names the client, and there is none", name)
	}
	return requests, nil
}

func explainExisting(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w; --overwrite replaces it, --keep leaves it", err)
	}
	return err
}

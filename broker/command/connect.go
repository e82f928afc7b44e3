package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker/admin"
	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/wire/curve"
)

// defaultTimeout bounds a command that asks a running broker.
const defaultTimeout = 10 * time.Second

func configFlag(usage string) cli.Flag { return &cli.StringFlag{Name: "config", Usage: usage} }

// connectFlags are the options of every command that asks a running broker,
// followed by its own.
func connectFlags(own ...cli.Flag) []cli.Flag {
	return append(own,
		configFlag("`FILE` of the broker: gives its address, and the admin key in its secret_keys_dir"),
		&cli.StringFlag{Name: "server", Usage: "address `tcp://HOST:PORT` of the broker's frontend, instead of --config"},
		&cli.StringFlag{Name: "cert", Usage: "secret certificate `FILE` of an admin, with --server"},
		&cli.StringFlag{Name: "server-key", Usage: "public certificate `FILE` of the broker, with --server"},
		&cli.DurationFlag{Name: "timeout", Value: defaultTimeout, Usage: "give up after this `TIME`"},
		outputFlag())
}

// target finds out from the options which broker is meant.
func target(c *cli.Context) (admin.Target, error) {
	if c.Duration("timeout") <= 0 {
		return admin.Target{}, usagef("--timeout must be more than nothing, such as 10s")
	}
	file, server := c.String("config"), c.String("server")
	given := server != "" || c.String("cert") != "" || c.String("server-key") != ""
	switch {
	case file != "" && given:
		return admin.Target{}, usagef("--config says all that --server, --cert and --server-key would: leave one or the other away")
	case file != "":
		cfg, err := loadConfig(c, config.Read)
		if err != nil {
			return admin.Target{}, err
		}
		return targetOf(cfg)
	case server == "":
		return admin.Target{}, usagef("which broker? give --config FILE, or --server tcp://HOST:PORT --cert FILE --server-key FILE")
	}
	t := admin.Target{}
	var err error
	if t.Endpoint, err = endpoint(server); err != nil {
		return t, err
	}
	cert, key := c.String("cert"), c.String("server-key")
	switch {
	case cert == "" && key == "":
		return t, nil
	case cert == "":
		return t, usagef("--cert is missing: the secret certificate of an admin, such as private_keys/admin.key_secret")
	case key == "":
		return t, usagef("--server-key is missing: the broker's public certificate, such as public_keys/server.key")
	}
	return t, loadKeys(&t, cert, key)
}

// endpoint reads an address as a person writes it.
func endpoint(text string) (string, error) {
	address := strings.TrimPrefix(text, "tcp://")
	host, port, err := net.SplitHostPort(address)
	if n, e := strconv.Atoi(port); err != nil || host == "" || e != nil || n < 1 || n > 65535 {
		return "", usagef("--server %q is not of the form tcp://HOST:PORT", text)
	}
	return "tcp://" + address, nil
}

// targetOf returns the frontend of the broker with this configuration, and the
// admin key of its folders.
func targetOf(cfg *config.Config) (admin.Target, error) {
	if cfg.Main.Port == 0 {
		return admin.Target{}, badConfig(fmt.Errorf("%s: [main] port: there is none yet: broker serve chooses one, or write one there", cfg.Path))
	}
	t := admin.Target{Endpoint: dialAddr(cfg, cfg.Main.Port)}
	if cfg.Security.Insecure {
		return t, nil
	}
	keys := keysetOf(cfg)
	return t, loadKeys(&t, keys.SecretPath("admin"), keys.PublicPath("server"))
}

// dialAddr returns the endpoint of a port of this configuration.
func dialAddr(cfg *config.Config, port int) string {
	return "tcp://" + net.JoinHostPort(cfg.DialHost(), strconv.Itoa(port))
}

// keysetOf returns the folders of the broker's keys.
func keysetOf(cfg *config.Config) curve.Keyset {
	return curve.Keyset{PublicDir: cfg.Main.PublicKeysDir, SecretDir: cfg.Main.SecretKeysDir}
}

// loadKeys reads the keys of both sides into t.
func loadKeys(t *admin.Target, cert, serverKey string) error {
	own, err := loadSecret(cert)
	if err != nil {
		return err
	}
	server, err := curve.LoadCertificate(serverKey)
	if err != nil && !errors.Is(err, curve.ErrExposed) { // its public half is all that is used
		return badConfig(err)
	}
	t.Key, t.ServerKey = own.Secret, server.Public
	return nil
}

// loadSecret reads a secret certificate.
func loadSecret(path string) (*curve.Certificate, error) {
	c, err := curve.LoadCertificate(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		name := strings.TrimSuffix(filepath.Base(path), curve.SecretExt)
		if name == "admin" || name == "worker" || name == "server" {
			return nil, badConfig(fmt.Errorf("there is no certificate %s: make it with certtool generate --path DIR --users %s, where DIR holds public_keys and private_keys", path, name))
		}
		return nil, badConfig(err)
	case err != nil:
		return nil, badConfig(err)
	case c.Secret.IsZero():
		return nil, badConfig(fmt.Errorf("%s is a public certificate: name the secret one, which ends in %s", path, curve.SecretExt))
	}
	return c, nil
}

// session is a connection to the broker that the options name, for one command.
type session struct {
	*admin.Client
	target  admin.Target
	timeout time.Duration
}

// connect reaches the broker that the options name.
func connect(c *cli.Context) (*session, error) {
	t, err := target(c)
	if err != nil {
		return nil, err
	}
	s := &session{target: t, timeout: c.Duration("timeout")}
	ctx, cancel := context.WithTimeout(c.Context, s.timeout)
	defer cancel()
	if s.Client, err = admin.Dial(ctx, t); err != nil {
		return nil, admin.Explain(t, err)
	}
	return s, nil
}

// call runs one of the broker's methods within the command's time and decodes
// its answer into result; nil drops it.
func (s *session) call(ctx context.Context, method string, kwargs map[string]any, result any) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	answer, err := s.Call(ctx, method, kwargs)
	if err != nil {
		return admin.Explain(s.target, err)
	}
	if result == nil {
		return nil
	}
	if err := admin.Decode(answer, result); err != nil {
		return fmt.Errorf("the answer of %s does not fit: %w: is the broker of another version?", method, err)
	}
	return nil
}

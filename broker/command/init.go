package command

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/workersdk/config/ini"
)

const initHelp = `Writes the configuration file of a new broker and prints its path. What is left
out has a default; a port that is left out is chosen when the broker first starts,
and written into the file. --keys DIR stands for the folders DIR/public_keys and
DIR/private_keys that certtool generate --path DIR makes.

Example, a broker that starts four workers of its own:
   bin/demoworker init --config_file worker.ini
   broker init --config server.ini --keys certs --port 8006 --backend-port 9006 \
      --num-workers 4 --auto-start --worker-config worker.ini \
      --worker-script bin/demoworker --log-dir logs --logging-mode INFO`

func initCommand() *cli.Command {
	return &cli.Command{
		Name:        "init",
		Category:    "Configure",
		Usage:       "write the configuration of a new broker",
		Description: initHelp,
		Flags: []cli.Flag{
			configFlag("the `FILE` to write"),
			&cli.StringFlag{Name: "id", Usage: "`UUID` of the broker; default: a new one"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the broker, for people"},
			&cli.StringFlag{Name: "ip", Value: "localhost", Usage: "`ADDRESS` to listen on; * is every one"},
			&cli.IntFlag{Name: "port", DefaultText: "a free one", Usage: "`PORT` for clients"},
			&cli.IntFlag{Name: "backend-port", DefaultText: "a free one", Usage: "`PORT` for workers"},
			&cli.StringFlag{Name: "keys", Usage: "folder `DIR` with public_keys and private_keys"},
			&cli.StringFlag{Name: "public-keys-dir", Usage: "folder `DIR` of the public certificates"},
			&cli.StringFlag{Name: "secret-keys-dir", Usage: "folder `DIR` of the broker's secret certificate"},
			&cli.BoolFlag{Name: "insecure", Usage: "no keys: everybody on this machine may connect, in clear"},
			&cli.IntFlag{Name: "num-workers", DefaultText: "one for each --worker-config", Usage: "run `N` workers on this host"},
			&cli.BoolFlag{Name: "auto-start", Usage: "start the workers with the broker"},
			&cli.StringSliceFlag{Name: "worker-config", Usage: "configuration `FILE` of a worker; may be repeated"},
			&cli.StringFlag{Name: "worker-script", Usage: "`PROGRAM` or script that a worker runs"},
			&cli.StringFlag{Name: "log-dir", Usage: "folder `DIR` of log files"},
			&cli.StringFlag{Name: "logging-mode", Value: "INFO", Usage: "`LEVEL` of the log: DEBUG, INFO, WARN or ERROR"},
			&cli.BoolFlag{Name: "overwrite", Usage: "replace an existing file"},
		},
		Action: writeConfig,
	}
}

func writeConfig(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	path := c.String("config")
	if path == "" {
		return usagef("--config is missing: the file to write")
	}
	o := config.ServerConfig{
		ConfigPath:        path,
		ID:                c.String("id"),
		Name:              c.String("name"),
		IP:                c.String("ip"),
		Port:              c.Int("port"),
		BackendPort:       c.Int("backend-port"),
		PublicKeysDir:     c.String("public-keys-dir"),
		SecretKeysDir:     c.String("secret-keys-dir"),
		NumWorkers:        c.Int("num-workers"),
		AutoStart:         c.Bool("auto-start"),
		WorkerConfigPaths: c.StringSlice("worker-config"),
		WorkerScriptPath:  c.String("worker-script"),
		LogDir:            c.String("log-dir"),
		LoggingMode:       c.String("logging-mode"),
		Insecure:          c.Bool("insecure"),
		Overwrite:         c.Bool("overwrite"),
	}
	if dir := c.String("keys"); dir != "" {
		if o.PublicKeysDir != "" || o.SecretKeysDir != "" {
			return usagef("--keys stands for both --public-keys-dir and --secret-keys-dir: leave one or the other away")
		}
		keys := curve.KeysetIn(dir)
		o.PublicKeysDir, o.SecretKeysDir = keys.PublicDir, keys.SecretDir
	}
	if !o.Insecure && (o.PublicKeysDir == "" || o.SecretKeysDir == "") {
		return usagef("where are the keys? --keys DIR names the folder that certtool generate --path DIR makes; --insecure does without keys")
	}
	_, err := config.CreateNew(o)
	var fault *ini.Error
	switch {
	case errors.As(err, &fault):
		return usagef("%v", err)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already: --overwrite replaces it", path)
	case err != nil:
		return err
	}
	fmt.Fprintln(c.App.Writer, path)
	if !o.Insecure {
		server := curve.Keyset{PublicDir: o.PublicKeysDir, SecretDir: o.SecretKeysDir}.SecretPath("server")
		if _, err := os.Stat(server); err != nil {
			fmt.Fprintf(c.App.ErrWriter, "there is no %s yet: make it with certtool generate --path %s --users all\n", server, cmp.Or(c.String("keys"), "DIR"))
		}
	}
	fmt.Fprintf(c.App.ErrWriter, "start the broker with: broker serve --config %s\n", path)
	return nil
}

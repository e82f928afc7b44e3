package workersdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/workersdk/config"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:        "init",
		Usage:       "write a new configuration file",
		UsageText:   "init --config_file worker.ini --ip localhost --port 9006 --public-keys-dir keys/public_keys --secret-keys-dir keys/private_keys",
		Description: "Without --ip and --port the worker waits for a broker that starts it and writes them into the file.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config_file", Aliases: []string{"config-file"}, Usage: "the `FILE` to write"},
			&cli.StringFlag{Name: "name", Usage: "the worker's `NAME`, for people"},
			&cli.StringFlag{Name: "ip", Usage: "`HOST` of the broker"},
			&cli.IntFlag{Name: "port", DefaultText: "none", Usage: "the broker's backend `PORT`"},
			&cli.StringFlag{Name: "public-keys-dir", Usage: "the `DIR` of server.key"},
			&cli.StringFlag{Name: "secret-keys-dir", Usage: "the `DIR` of worker.key_secret"},
			&cli.StringFlag{Name: "log-dir", Usage: "the `DIR` of the log file"},
			&cli.StringFlag{Name: "logging-mode", Value: "INFO", Usage: "the lowest `LEVEL` that is logged"},
			&cli.BoolFlag{Name: "overwrite", Usage: "replace an existing file"},
		},
		Action: func(c *cli.Context) error {
			if c.String("config_file") == "" {
				return usageError{errors.New("init needs --config_file FILE")}
			}
			made, err := config.CreateNew(config.WorkerConfig{
				ConfigPath: c.String("config_file"), Name: c.String("name"), IP: c.String("ip"), Port: c.Int("port"),
				PublicKeysDir: c.String("public-keys-dir"), SecretKeysDir: c.String("secret-keys-dir"),
				LogDir: c.String("log-dir"), LoggingMode: c.String("logging-mode"), Overwrite: c.Bool("overwrite"),
			})
			if err != nil {
				return configError{err}
			}
			fmt.Fprintf(c.App.Writer, "wrote %s for worker %s\n", c.String("config_file"), made.Main.ID)
			return nil
		},
	}
}

func describeCommand(obj any, opts []Option) *cli.Command {
	return &cli.Command{
		Name:      "describe",
		Usage:     "list the methods with their signatures and doc comments",
		UsageText: "describe -o json",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text", Usage: "`FORM` of the output: text or json"},
		},
		Action: func(c *cli.Context) error {
			table, err := newOptions(opts).table(obj)
			if err != nil {
				return err
			}
			switch c.String("output") {
			case "json":
				e := json.NewEncoder(c.App.Writer)
				e.SetIndent("", "  ")
				return e.Encode(table.Methods())
			case "text":
			default:
				return usageError{fmt.Errorf("unknown output %q: it is text or json", c.String("output"))}
			}
			for _, m := range table.Methods() {
				properties := ""
				if m.Idempotent {
					properties += ", idempotent"
				}
				if m.Stream {
					properties += ", stream"
				}
				fmt.Fprintf(c.App.Writer, "%s%s\n    %s\n", m.Name, properties, m.Signature)
				if m.Doc != "" {
					fmt.Fprintf(c.App.Writer, "    %s\n", strings.ReplaceAll(m.Doc, "\n", "\n    "))
				}
			}
			return nil
		},
	}
}

func checkCommand(obj any, opts []Option) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "try the methods, the configuration, the keys and the connection to the broker",
		UsageText: "check --config_file worker.ini",
		Flags:     runFlags(),
		Action: func(c *cli.Context) error {
			say := func(format string, args ...any) { fmt.Fprintf(c.App.Writer, format+"\n", args...) }
			file, err := loadFile(c)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(c, file)
			if err != nil {
				return err
			}
			say("configuration: ok")
			if cfg.Insecure {
				say("keys: none, the connection is not encrypted")
			} else {
				say("keys: ok, this worker is %s, the broker %s", cfg.Key.Public().Fingerprint(), cfg.ServerKey.Fingerprint())
			}
			w, err := New(obj, cfg, opts...)
			if err != nil {
				return configError{err}
			}
			say("methods: ok, %d", len(w.Methods()))
			if err := w.probe(c.Context); err != nil {
				return err
			}
			say("broker: ok, %s admits this worker", cfg.Addr)
			return nil
		},
	}
}

// probe connects to the broker and leaves without registering.
func (w *Worker) probe(ctx context.Context) error {
	k, err := w.dial(ctx)
	if err != nil {
		return err
	}
	err = k.backend()
	k.link.Finish()
	_ = k.link.Run(k.receive) // how it ends says nothing more
	return err
}

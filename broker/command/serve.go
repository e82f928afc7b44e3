package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/workersdk/config/logging"
)

const serveHelp = `Runs a broker in the foreground. It logs to stderr and into log_dir.

SIGTERM or SIGINT drains it: it takes no new call, lets what runs finish within
drain_timeout, ends its workers and exits 0. A second one ends it at once with 130.
SIGHUP reloads the configuration.

Example:
   broker serve --config server.ini`

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:        "serve",
		Category:    "Run",
		Usage:       "run a broker",
		Description: serveHelp,
		Flags:       []cli.Flag{configFlag("configuration `FILE`")},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			cfg, err := loadConfig(c, broker.Load)
			if err != nil {
				return err
			}
			return serve(c.Context, c.App.ErrWriter, cfg, nil)
		},
	}
}

// loadConfig reads the file that --config names.
func loadConfig(c *cli.Context, read func(string) (*broker.Config, error)) (*broker.Config, error) {
	path := c.String("config")
	if path == "" {
		return nil, usagef("--config is missing: the broker's configuration file; broker init writes one")
	}
	cfg, err := read(path)
	return cfg, badConfig(fileError(path, err))
}

// fileError gives an error about the configuration file itself its remedy.
func fileError(path string, err error) error {
	var file *fs.PathError
	if !errors.As(err, &file) || file.Path != path {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no configuration %s: broker init --config %s writes one", path, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user may not read the configuration %s: give it to the user with chown", path)
	}
	return err
}

// serve runs a broker until ctx ends. ready, if not nil, is called once both
// endpoints are open.
func serve(ctx context.Context, stderr io.Writer, cfg *broker.Config, ready func(*broker.Broker)) error {
	settings := cfg.Log()
	settings.Stderr = stderr
	log, err := logging.Open(settings)
	if err != nil {
		return badConfig(fmt.Errorf("[logging]: %w", err))
	}
	defer log.Close()
	b, err := broker.New(cfg, broker.WithLogger(log.Logger), broker.WithLevel(log.SetMode))
	if err != nil {
		return startError(err)
	}
	if ready != nil {
		ready(b)
	}

	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var reloading sync.WaitGroup
	reloading.Go(func() {
		for range hangups {
			if _, err := b.Reload(); err != nil {
				log.Error("reload failed, nothing has changed", "error", err)
			}
		}
	})
	err = b.Run(ctx)
	signal.Stop(hangups)
	close(hangups)
	reloading.Wait()
	return err
}

// startError tells a port that is taken, which may be free in a minute, from
// what only a change of the configuration or the keys mends.
func startError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return err
	}
	return badConfig(err)
}

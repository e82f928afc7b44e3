package workersdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/wire/version"
	"github.com/servicetools/servicetools/workersdk/config"
	"github.com/servicetools/servicetools/workersdk/config/logging"
)

// Exit statuses of Main.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitBadConfig   = 78
	exitInterrupted = 130
)

// Main is the main function of a worker program that serves obj:
//
//	program --config_file FILE            run until SIGTERM, SIGINT or a drain by the broker
//	program                               the same, configured by SERVICETOOLS_* variables alone
//	program init --config_file FILE       write a new configuration
//	program describe                      list the methods
//	program check --config_file FILE      try the configuration, the keys and the broker
//	program exec NAME -- COMMAND ARG...   serve a command instead of obj
//
// The first signal drains the worker, a second one ends it at once. Main does
// not return: it ends the process with status 0, 1 if something failed, 2 for
// wrong usage, 78 for a bad configuration.
func Main(obj any, opts ...Option) {
	app := newApp(obj, opts, os.Stdout, os.Stderr)
	err := app.RunContext(signals(), os.Args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", app.Name, err)
	}
	os.Exit(exitStatus(err))
}

// signals returns a context that ends with the first SIGTERM or SIGINT. The
// second one ends the process.
func signals() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-c
		cancel()
		<-c
		os.Exit(exitInterrupted)
	}()
	return ctx
}

// configError marks what is wrong with a configuration.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// usageError marks what is wrong with a command line.
type usageError struct{ error }

func exitStatus(err error) int {
	var bad configError
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &bad):
		return exitBadConfig
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailed
}

func newApp(obj any, opts []Option, stdout, stderr io.Writer) *cli.App {
	name := filepath.Base(os.Args[0])
	run := func(c *cli.Context) error {
		if c.Args().Present() {
			return usageError{fmt.Errorf("unknown command %q; see %s --help", c.Args().First(), name)}
		}
		return runWorker(c, obj, opts)
	}
	wrongUsage := func(_ *cli.Context, err error, _ bool) error { return usageError{err} }
	app := &cli.App{
		Name:            name,
		Usage:           "a worker of a servicetools broker",
		Version:         version.String(),
		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       stderr,
		ExitErrHandler:  func(*cli.Context, error) {}, // Main prints and exits
		OnUsageError:    wrongUsage,
		Flags:           runFlags(),
		Action:          run,
		Commands: []*cli.Command{
			{Name: "run", Usage: "serve until told to stop; the default", Flags: runFlags(), Action: run},
			initCommand(),
			describeCommand(obj, opts),
			checkCommand(obj, opts),
			execCommand(opts),
		},
	}
	for _, command := range app.Commands {
		command.OnUsageError = wrongUsage
		if command.UsageText != "" {
			command.UsageText = name + " " + command.UsageText
		}
	}
	return app
}

// runFlags say where the broker is, in a file or in place of one.
func runFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config_file", Aliases: []string{"config-file"}, Usage: "the worker's INI `FILE`"},
		&cli.StringFlag{Name: "server", Usage: "the broker's backend, `tcp://host:port`; overrides the file"},
		&cli.StringFlag{Name: "cert", Usage: "the worker's secret certificate `FILE` (*.key_secret); overrides the file"},
		&cli.StringFlag{Name: "server-key", Usage: "the broker's public certificate `FILE` (server.key); overrides the file"},
		&cli.BoolFlag{Name: "insecure", Usage: "connect without encryption, to a broker with secure = False"},
		&cli.IntFlag{Name: "concurrency", DefaultText: "what the program declares", Usage: "run `N` calls at once"},
	}
}

// given returns a flag of the command line as text, before the command's name
// or behind it.
func given(c *cli.Context, name string) string {
	for _, level := range c.Lineage() {
		for _, set := range level.LocalFlagNames() {
			if set == name {
				return fmt.Sprint(level.Value(name))
			}
		}
	}
	return ""
}

// loadFile reads the configuration that the flags name, or the environment
// makes, and that the flags override.
func loadFile(c *cli.Context) (*config.Config, error) {
	load := config.FromEnv
	if path := given(c, "config_file"); path != "" {
		load = func() (*config.Config, error) { return config.Load(path) }
	}
	file, err := load()
	if err != nil {
		return nil, configError{err}
	}
	if s := given(c, "cert"); s != "" {
		file.Worker.Cert = s
	}
	if s := given(c, "server-key"); s != "" {
		file.Worker.ServerKey = s
	}
	if s := given(c, "concurrency"); s != "" {
		file.Worker.Concurrency, _ = strconv.Atoi(s) // the flag has checked it
	}
	if given(c, "insecure") == "true" {
		file.Security.Insecure = true
	}
	return file, nil
}

// loadConfig turns a file and the flags into a Config.
func loadConfig(c *cli.Context, file *config.Config) (Config, error) {
	cfg, err := fromFile(file, given(c, "server"))
	if err != nil {
		return Config{}, configError{err}
	}
	return cfg, nil
}

// runWorker is the command run, and the end of exec.
func runWorker(c *cli.Context, obj any, opts []Option) error {
	file, err := loadFile(c)
	if err != nil {
		return err
	}
	settings := file.Log()
	settings.Stderr = c.App.ErrWriter
	log, err := logging.Open(settings)
	if err != nil {
		return configError{err}
	}
	defer log.Close()
	cfg, err := loadConfig(c, file)
	if err != nil {
		return err
	}
	cfg.Log = log.Logger
	w, err := New(obj, cfg, opts...)
	if err != nil {
		return configError{err}
	}
	if err := w.Run(c.Context); err != nil {
		log.Warn("left", "error", err) // the drain is over all the same
	}
	return nil
}

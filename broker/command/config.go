package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker/config"
)

const configHelp = `Looks at a configuration file without a broker.

Example:
   broker config check --config server.ini
   broker config show --config server.ini --origin`

const checkHelp = `Checks a configuration file, and the keys, folders and worker files that it names,
without starting anything and without writing to it. Each fault is one line that
says where it is and what would be right. Exit code 78 if there is one.

Example:
   broker config check --config server.ini`

const showHelp = `Prints the whole configuration as the broker would see it: the file, the overriding
environment variables and the defaults. With --origin it says where each value
comes from, and whether a change of it applies at a reload.

Example:
   broker config show --config server.ini --origin`

func configCommand() *cli.Command {
	return &cli.Command{
		Name:        "config",
		Category:    "Configure",
		Usage:       "check or show a configuration",
		Description: configHelp,
		Subcommands: []*cli.Command{
			{
				Name:        "check",
				Usage:       "find the faults of a configuration",
				Description: checkHelp,
				Flags:       []cli.Flag{configFlag("configuration `FILE`"), outputFlag()},
				Action:      checkConfig,
			},
			{
				Name:        "show",
				Usage:       "print the configuration in force",
				Description: showHelp,
				Flags: []cli.Flag{
					configFlag("configuration `FILE`"), outputFlag(),
					&cli.BoolFlag{Name: "origin", Usage: "say where each value comes from"},
				},
				Action: showConfig,
			},
		},
		Action: func(c *cli.Context) error {
			return usagef("broker config check or broker config show? see %s --help", c.Command.HelpName)
		},
	}
}

// configToShow returns the configuration that the options name, and whether the
// output is to be JSON.
func configToShow(c *cli.Context) (cfg *config.Config, asJSON bool, err error) {
	if err := noArguments(c); err != nil {
		return nil, false, err
	}
	if asJSON, err = inJSON(c); err != nil {
		return nil, false, err
	}
	cfg, err = loadConfig(c, config.Read)
	return cfg, asJSON, err
}

func checkConfig(c *cli.Context) error {
	cfg, asJSON, err := configToShow(c)
	if err != nil {
		return err
	}
	var e examination
	e.ok("configuration", "%s is whole", cfg.Path)
	e.files(cfg)
	return e.report(c.App.Writer, asJSON)
}

// setting is one key in the output of config show.
type setting struct {
	Section string `json:"section"`
	Key     string `json:"key"`
	Value   string `json:"value"`  // as a file would have it
	Origin  string `json:"origin"` // FILE:LINE, environment NAME, or default
	Live    bool   `json:"live"`   // a reload applies a change
}

func showConfig(c *cli.Context) error {
	cfg, asJSON, err := configToShow(c)
	if err != nil {
		return err
	}
	var settings []setting
	for _, k := range config.Schema.Keys() {
		value, origin := config.Schema.Text(cfg, k), cfg.Origin(k.Section, k.Name)
		if origin == "default" && k.Default == "" && (value == "0" || value == "0s" || k.Name == "id") {
			value = "" // chosen when the broker starts, or none
		}
		settings = append(settings, setting{k.Section, k.Name, value, origin, k.Live})
	}
	switch {
	case asJSON:
		return writeJSON(c.App.Writer, settings)
	case c.Bool("origin"):
		return printOrigins(c.App.Writer, settings)
	}
	return printINI(c.App.Writer, settings)
}

func printOrigins(w io.Writer, settings []setting) error {
	t := newTable("SECTION", "KEY", "VALUE", "ORIGIN", "CHANGE")
	for _, s := range settings {
		change := "restart"
		if s.Live {
			change = "live"
		}
		t.add(s.Section, s.Key, s.Value, s.Origin, change)
	}
	return t.write(w)
}

// printINI prints a file that says in full what is in force.
func printINI(w io.Writer, settings []setting) error {
	section := ""
	for _, s := range settings {
		if s.Section != section {
			if section != "" {
				fmt.Fprintln(w)
			}
			section = s.Section
			fmt.Fprintf(w, "[%s]\n", section)
		}
		if _, err := fmt.Fprintln(w, strings.TrimSpace(s.Key+" = "+s.Value)); err != nil {
			return err
		}
	}
	return nil
}

package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/servicetools/servicetools/workersdk/config/ini"
)

// Ports from which a missing one is chosen, both ends included.
const (
	FirstPort, LastPort               = 6001, 6050
	FirstBackendPort, LastBackendPort = 9001, 9050
)

// Complete chooses what the configuration lacks and writes it back to its
// file, whose comments, order and other text stay:
//
//   - an id and ports that were not given;
//   - worker_config_paths, when there are fewer than num_workers: the first is
//     copied to sibling files with ids of their own;
//   - in a worker's file that names no port, the address of this backend.
//
// Worker files that do not exist are an error if auto_start is on, and else
// left alone. A port is free when it is chosen; another program may still take
// it before the broker listens.
func (c *Config) Complete() error {
	missing := map[[2]string]string{}
	if c.given("main", "id") == "" {
		missing[[2]string{"main", "id"}] = c.Main.ID
	}
	for _, p := range []struct {
		key         string
		port        *int
		first, last int
	}{
		{"port", &c.Main.Port, FirstPort, LastPort},
		{"backend_port", &c.Main.BackendPort, FirstBackendPort, LastBackendPort},
	} {
		if *p.port != 0 || c.given("main", p.key) != "" || c.origins == nil {
			continue
		}
		if *p.port = c.freePort(p.first, p.last); *p.port == 0 {
			return fmt.Errorf("%s: [main] %s: no port from %d to %d is free on %s: name one", c.Path, p.key, p.first, p.last, c.Main.IP)
		}
		missing[[2]string{"main", p.key}] = strconv.Itoa(*p.port)
	}
	grown, err := c.completeWorkers()
	if err != nil {
		return err
	}
	if grown && !strings.HasPrefix(c.Origin("workers", "worker_config_paths"), "environment ") {
		missing[[2]string{"workers", "worker_config_paths"}] = ini.FormatList(c.Workers.WorkerConfigPaths)
	}
	if c.origins == nil || len(missing) == 0 { // made by a program, or whole
		return nil
	}
	return c.writeBack(missing)
}

// given returns the origin of a key, or "" when neither file nor environment has it.
func (c *Config) given(section, key string) string {
	if origin := c.Origin(section, key); origin != "default" {
		return origin
	}
	return ""
}

func (c *Config) freePort(first, last int) int {
	for port := first; port <= last; port++ {
		if port == c.Main.Port || port == c.Main.BackendPort {
			continue
		}
		if l, err := net.Listen("tcp", c.addr(port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	return 0
}

func (c *Config) writeBack(values map[[2]string]string) error {
	f, err := ini.Read(c.Path)
	if err != nil {
		return err
	}
	var names []string
	for _, k := range Schema.Keys() { // in the order of the schema
		name := [2]string{k.Section, k.Name}
		value, ok := values[name]
		if !ok {
			continue
		}
		if err := f.Set(k.Section, k.Name, value); err != nil {
			return err
		}
		names = append(names, fmt.Sprintf("[%s] %s = %s", k.Section, k.Name, value))
	}
	if err := f.Save(); err != nil {
		return fmt.Errorf("writing back what %s lacks: %w: make its folder writable, or write %s there yourself", c.Path, err, strings.Join(names, ", "))
	}
	for name := range values {
		c.origins[name] = fmt.Sprintf("%s:%d", f.Name, f.Find(name[0], name[1]).Line)
	}
	return nil
}

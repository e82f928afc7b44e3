package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/servicetools/servicetools/workersdk/config/ini"
	"github.com/servicetools/servicetools/workersdk/config/logging"
)

// Schema is the schema of a broker's file.
var Schema = ini.NewSchema[Config]()

// Read reads and verifies the file at path and writes nothing. The error joins
// every fault, each with its file, line, section and key.
func Read(path string) (*Config, error) {
	f, err := ini.Read(path)
	if err != nil {
		return nil, fmt.Errorf("reading the broker's configuration: %w", err)
	}
	return decode(f)
}

// Load reads and verifies the file at path and writes back what it lacks: a
// missing id, missing ports, and configurations for the workers (see
// Config.Complete). Load it again to reload, and apply what Diff says.
func Load(path string) (*Config, error) {
	c, err := Read(path)
	if err != nil {
		return nil, err
	}
	return c, c.Complete()
}

func decode(f *ini.File) (*Config, error) {
	c := &Config{Path: f.Name}
	var err error
	if c.origins, err = Schema.Load(c, f, os.LookupEnv, c.verify); err != nil {
		return nil, err
	}
	return c, nil
}

// Verify fills the fields that are zero with their defaults and checks all.
func (c *Config) Verify() error { return errors.Join(c.verify()...) }

func (c *Config) verify() []error {
	errs := Schema.Fill(c)
	fault := func(section, key, format string, args ...any) {
		errs = append(errs, &ini.Error{Section: section, Key: key, Reason: fmt.Sprintf(format, args...)})
	}
	if c.Main.ID == "" {
		c.Main.ID = uuid.NewString()
	}
	if c.Main.Port != 0 && c.Main.Port == c.Main.BackendPort {
		fault("main", "backend_port", "is the port for clients already: choose another")
	}
	if _, err := logging.ParseLevel(c.Logging.LoggingMode); err != nil {
		fault("logging", "logging_mode", "%v", err)
	}
	switch s := c.Security; {
	case !s.Insecure && s.ForceInsecure:
		fault("security", "force_insecure", "contradicts secure = True: remove one of them")
	case s.Insecure && !s.ForceInsecure && !loopback(c.Main.IP):
		fault("main", "ip", "%q is not loopback, and secure is False: everybody who reaches it could call; make keys with certtool, or set force_insecure = True in [security]", c.Main.IP)
	}
	if !c.Security.Insecure {
		for _, dir := range []struct{ key, path string }{
			{"public_keys_dir", c.Main.PublicKeysDir}, {"secret_keys_dir", c.Main.SecretKeysDir},
		} {
			if dir.path == "" {
				fault("main", dir.key, "is missing: name the folder that certtool generate made, or set secure = False in [security]")
			}
		}
	}
	if w := &c.Workers; w.NumWorkers == 0 {
		w.NumWorkers = len(w.WorkerConfigPaths)
	} else if w.AutoStart && len(w.WorkerConfigPaths) == 0 {
		fault("workers", "worker_config_paths", "is empty: auto_start needs one at least")
	}
	if c.Workers.AutoStart && c.Workers.WorkerScriptPath == "" {
		fault("workers", "worker_script_path", "is missing: auto_start needs to know what a worker runs")
	}
	if s := c.Supervise; s.RestartBackoffMax < s.RestartBackoff {
		fault("supervise", "restart_backoff_max", "is below restart_backoff")
	}
	return errs
}

// loopback reports whether only this host reaches ip. A name other than
// localhost is not resolved: what it means may change.
func loopback(ip string) bool {
	address := net.ParseIP(strings.Trim(ip, "[]"))
	return strings.EqualFold(ip, "localhost") || address != nil && address.IsLoopback()
}

// Origin tells where the value of a key came from: "file:line", "environment
// NAME" or "default".
func (c *Config) Origin(section, key string) string { return c.origins.Of(section, key) }

// Diff lists the keys whose values differ from old to new, and for each whether
// it applies live or needs a restart.
func Diff(old, new *Config) []ini.Change { return Schema.Diff(old, new) }

// FrontendAddr returns the address to listen on for clients, host:port.
func (c *Config) FrontendAddr() string { return c.addr(c.Main.Port) }

// BackendAddr returns the address to listen on for workers, host:port.
func (c *Config) BackendAddr() string { return c.addr(c.Main.BackendPort) }

func (c *Config) addr(port int) string {
	host := strings.Trim(c.Main.IP, "[]")
	if host == "*" {
		host = ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// DialHost returns the host by which peers on this machine reach the broker.
func (c *Config) DialHost() string {
	host := strings.Trim(c.Main.IP, "[]")
	if ip := net.ParseIP(host); host == "*" || ip != nil && ip.IsUnspecified() {
		return "localhost"
	}
	return host
}

// Log returns the settings of the broker's log.
func (c *Config) Log() logging.Config {
	return logging.Config{
		Mode: c.Logging.LoggingMode,
		Dir:  c.Logging.LogDir, File: logging.FileName(c.Main.Name, c.Main.ID) + ".log",
		MaxSize: c.LogFiles.MaxSize, Backups: c.LogFiles.Backups,
	}
}

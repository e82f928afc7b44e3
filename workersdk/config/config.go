// Package config reads, checks and creates the INI file of a worker. Files of
// the Python library that servicetools succeeds load unchanged; what is new
// lives in sections that it did not have.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/servicetools/servicetools/workersdk/config/ini"
	"github.com/servicetools/servicetools/workersdk/config/logging"
)

// Config is a worker's configuration. The zero value of a field stands for its
// default; a file may leave every key out. A time that may be 0 in a file is
// one nanosecond then, because Go's 0 is the default. Each key can be overridden by the
// environment variable SERVICETOOLS_<SECTION>_<KEY>. Relative paths are taken
// from the working directory.
type Config struct {
	Main     Main     `ini:"main"`
	Logging  Logging  `ini:"logging"`
	LogFiles LogFiles `ini:"log_files"`
	Security Security `ini:"security"`
	Worker   Worker   `ini:"worker"`
	Limits   Limits   `ini:"limits"`

	// Path is the file that the configuration was read from; empty for one
	// that a program made.
	Path string

	origins ini.Origins
}

// Main is section [main]: who the worker is and where its broker is.
type Main struct {
	// ID names the worker for ever, usually a UUID. Default: a new UUID with
	// each start; without a file, the host's name.
	ID string `ini:"id"`

	// Name is for people. Default: worker.
	Name string `ini:"name" default:"worker"`

	// IP is the host name or address of the broker. Default: localhost, once
	// a port is given.
	IP string `ini:"ip"`

	// Port is the broker's backend port. Default: none; a broker that starts
	// the worker writes its own into the file.
	Port int `ini:"port" max:"65535"`

	// PublicKeysDir is the folder of server.key. Default: none; a broker that
	// starts the worker lends its own.
	PublicKeysDir string `ini:"public_keys_dir,path"`

	// SecretKeysDir is the folder of worker.key_secret. Default: none; a
	// broker that starts the worker lends its own.
	SecretKeysDir string `ini:"secret_keys_dir,path"`

	// PythonPath is the interpreter with which a broker runs its
	// worker_script_path. Default: none, the script is run itself.
	PythonPath string `ini:"python_path,path"`
}

// Logging is section [logging].
type Logging struct {
	// LogDir is the folder of the worker's log file. Default: none, the log
	// goes to stderr only.
	LogDir string `ini:"log_dir,path"`

	// LoggingMode is the lowest level that is logged: DEBUG, INFO, WARN,
	// WARNING, ERROR or CRITICAL. Default: INFO.
	LoggingMode string `ini:"logging_mode" default:"INFO"`
}

// LogFiles is section [log_files]: the rotation of what is in log_dir.
type LogFiles struct {
	// MaxSize is the size at which a file is rotated. Default: 64 MiB.
	MaxSize int64 `ini:"max_size,bytes" default:"64 MiB" min:"1 MiB"`

	// Backups is the number of rotated files kept. Default: 5.
	Backups int `ini:"backups" default:"5" min:"1" max:"1000"`
}

// Security is section [security].
type Security struct {
	// Insecure is the key secure with the value False: the worker speaks to its broker in
	// clear, without keys. Default: secure = True.
	Insecure bool `ini:"!secure" default:"True"`
}

// Worker is section [worker].
type Worker struct {
	// Concurrency is the number of calls run at once. Default: what the
	// program declares.
	Concurrency int `ini:"concurrency" max:"65536"`

	// DrainTimeout is how long a worker that was told to leave finishes its
	// calls before it hands them back. Default: 30s; 0: it does not
	// wait.
	DrainTimeout time.Duration `ini:"drain_timeout,none" default:"30s"`

	// Cert is the worker's secret certificate file. Default:
	// worker.key_secret in secret_keys_dir.
	Cert string `ini:"cert,path"`

	// ServerKey is the broker's public certificate file. Default: server.key
	// in public_keys_dir.
	ServerKey string `ini:"server_key,path"`
}

// Limits is section [limits].
type Limits struct {
	// MaxMessage bounds one message in either direction. Default: 16 MiB.
	MaxMessage int64 `ini:"max_message,bytes" default:"16 MiB" min:"1 KiB" max:"1 GiB"`
}

// Schema is the schema of a worker's file.
var Schema = ini.NewSchema[Config]()

// Load reads and verifies the file at path. The error joins every fault, each
// with its file, line, section and key.
func Load(path string) (*Config, error) { return LoadEnv(path, os.LookupEnv) }

// LoadEnv is Load with another environment: a broker reads the file of a
// worker with the variables that the worker will have, not with its own.
func LoadEnv(path string, env func(string) (string, bool)) (*Config, error) {
	f, err := ini.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the worker's configuration %s: %w: the worker's program writes one with: init --config_file %s", path, fs.ErrNotExist, path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the worker's configuration: %w", err)
	}
	return decode(f, env)
}

// FromEnv is the configuration that the environment alone makes, for a
// container or a service. A worker whose environment names no id takes that of
// its host, by which people find the container; the broker numbers those that
// are the same.
func FromEnv() (*Config, error) {
	f, err := ini.Parse("", nil)
	if err != nil {
		return nil, err
	}
	c, err := decode(f, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	if host, err := os.Hostname(); err == nil && c.Origin("main", "id") == "default" {
		c.Main.ID = host
	}
	return c, nil
}

func decode(f *ini.File, env func(string) (string, bool)) (*Config, error) {
	c := &Config{Path: f.Name}
	var err error
	if c.origins, err = Schema.Load(c, f, env, c.verify); err != nil {
		return nil, err
	}
	return c, nil
}

// Verify fills the fields that are zero with their defaults and checks all.
func (c *Config) Verify() error { return errors.Join(c.verify()...) }

func (c *Config) verify() []error {
	errs := Schema.Fill(c)
	if c.Main.ID == "" {
		c.Main.ID = uuid.NewString()
	}
	if c.Main.IP == "" && c.Main.Port != 0 {
		c.Main.IP = "localhost"
	}
	if _, err := logging.ParseLevel(c.Logging.LoggingMode); err != nil {
		errs = append(errs, &ini.Error{Section: "logging", Key: "logging_mode", Reason: err.Error()})
	}
	return errs
}

// Origin tells where the value of a key came from: "file:line", "environment
// NAME" or "default".
func (c *Config) Origin(section, key string) string { return c.origins.Of(section, key) }

// Addr returns the address of the broker's backend, tcp://host:port.
func (c *Config) Addr() (string, error) {
	if c.Main.Port == 0 {
		return "", fmt.Errorf("%s names no broker: give ip and port in [main], or let a broker start this worker", c.title())
	}
	return "tcp://" + net.JoinHostPort(strings.Trim(c.Main.IP, "[]"), strconv.Itoa(c.Main.Port)), nil
}

// HasKeys reports whether the configuration says where the worker's keys are.
func (c *Config) HasKeys() bool { return c.CertFile() != "" && c.ServerKeyFile() != "" }

// CertFile returns the path of the worker's secret certificate, or "".
func (c *Config) CertFile() string {
	return fileIn(c.Worker.Cert, c.Main.SecretKeysDir, "worker.key_secret")
}

// ServerKeyFile returns the path of the broker's public certificate, or "".
func (c *Config) ServerKeyFile() string {
	return fileIn(c.Worker.ServerKey, c.Main.PublicKeysDir, "server.key")
}

func fileIn(file, dir, name string) string {
	if file != "" || dir == "" {
		return file
	}
	return filepath.Join(dir, name)
}

// Log returns the settings of the worker's log.
func (c *Config) Log() logging.Config {
	return logging.Config{
		Mode: c.Logging.LoggingMode,
		Dir:  c.Logging.LogDir, File: logging.FileName(c.Main.Name, c.Main.ID) + ".log",
		MaxSize: c.LogFiles.MaxSize, Backups: c.LogFiles.Backups,
	}
}

func (c *Config) title() string {
	if c.Path != "" {
		return c.Path
	}
	return "the worker's configuration"
}

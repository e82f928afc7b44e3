package config

import (
	"fmt"
	"os"
	"strconv"

	"github.com/google/uuid"

	"github.com/servicetools/servicetools/workersdk/config/ini"
)

// WorkerConfig says what CreateNew writes. The zero value of a field leaves
// the key without a value, except that ID becomes a new UUID.
type WorkerConfig struct {
	ConfigPath    string // the file to write; required
	ID            string // default: a new UUID
	Name          string
	IP            string // of the broker
	Port          int    // of the broker's backend
	PublicKeysDir string
	SecretKeysDir string
	PythonPath    string
	LogDir        string
	LoggingMode   string // default: INFO
	Overwrite     bool   // replace an existing file; without it that is an error wrapping fs.ErrExist
}

// CreateNew writes a new worker file and returns its configuration. Without IP
// and Port the worker points nowhere until a broker starts it.
func CreateNew(o WorkerConfig) (*Config, error) {
	if o.ConfigPath == "" {
		return nil, fmt.Errorf("creating a worker's configuration: ConfigPath is empty: name the file to write")
	}
	if o.ID == "" {
		o.ID = uuid.NewString()
	}
	if o.LoggingMode == "" {
		o.LoggingMode = "INFO"
	}
	port := ""
	if o.Port != 0 {
		port = strconv.Itoa(o.Port)
	}
	f, err := ini.Compose(o.ConfigPath, [][3]string{
		{"main", "id", o.ID},
		{"main", "name", o.Name},
		{"main", "ip", none(o.IP)},
		{"main", "port", none(port)},
		{"main", "public_keys_dir", none(o.PublicKeysDir)},
		{"main", "secret_keys_dir", none(o.SecretKeysDir)},
		{"main", "python_path", o.PythonPath},
		{"logging", "log_dir", o.LogDir},
		{"logging", "logging_mode", o.LoggingMode},
	})
	if err != nil {
		return nil, err
	}
	c, err := decode(f, os.LookupEnv) // before it is written: a bad option leaves no file behind
	if err != nil {
		return nil, err
	}
	return c, f.Create(o.Overwrite)
}

// none is how the files of the predecessor say "not given".
func none(s string) string {
	if s == "" {
		return "None"
	}
	return s
}

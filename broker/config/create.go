package config

import (
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/servicetools/servicetools/workersdk/config/ini"
)

// ServerConfig says what CreateNew writes. The zero value of a field leaves
// the key without a value, except where a default is named.
type ServerConfig struct {
	ConfigPath        string // the file to write; required
	ID                string // default: a new UUID
	Name              string
	IP                string // default: localhost
	Port              int    // 0: a free one is chosen when the file is loaded
	BackendPort       int    // 0: a free one is chosen when the file is loaded
	PublicKeysDir     string
	SecretKeysDir     string
	NumWorkers        int // 0: one for each of WorkerConfigPaths
	AutoStart         bool
	WorkerConfigPaths []string
	WorkerScriptPath  string
	LogDir            string
	LoggingMode       string // default: INFO
	Insecure          bool   // write secure = False
	Overwrite         bool   // replace an existing file; without it that is an error wrapping fs.ErrExist
}

// CreateNew writes a new broker file and returns its configuration. Nothing is
// written when an option is bad.
func CreateNew(o ServerConfig) (*Config, error) {
	if o.ConfigPath == "" {
		return nil, fmt.Errorf("creating a broker's configuration: ConfigPath is empty: name the file to write")
	}
	if o.ID == "" {
		o.ID = uuid.NewString()
	}
	if o.IP == "" {
		o.IP = "localhost"
	}
	if o.LoggingMode == "" {
		o.LoggingMode = "INFO"
	}
	if o.NumWorkers == 0 {
		o.NumWorkers = len(o.WorkerConfigPaths)
	}
	autoStart := "False"
	if o.AutoStart {
		autoStart = "True"
	}
	rows := [][3]string{
		{"main", "id", o.ID},
		{"main", "name", o.Name},
		{"main", "ip", o.IP},
		{"main", "port", number(o.Port)},
		{"main", "backend_port", number(o.BackendPort)},
		{"main", "public_keys_dir", o.PublicKeysDir},
		{"main", "secret_keys_dir", o.SecretKeysDir},
		{"workers", "num_workers", strconv.Itoa(o.NumWorkers)},
		{"workers", "auto_start", autoStart},
		{"workers", "worker_config_paths", ini.FormatList(o.WorkerConfigPaths)},
		{"workers", "worker_script_path", o.WorkerScriptPath},
		{"logging", "log_dir", o.LogDir},
		{"logging", "logging_mode", o.LoggingMode},
	}
	if o.Insecure {
		rows = append(rows, [3]string{"security", "secure", "False"})
	}
	f, err := ini.Compose(o.ConfigPath, rows)
	if err != nil {
		return nil, err
	}
	c, err := decode(f)
	if err != nil {
		return nil, err
	}
	return c, f.Create(o.Overwrite)
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

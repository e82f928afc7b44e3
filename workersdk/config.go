package workersdk

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/zmtp"
	"github.com/servicetools/servicetools/workersdk/config"
)

// Defaults of a Config.
const (
	DefaultDrainTimeout = 30 * time.Second
	DefaultMaxMessage   = 16 << 20
)

// Config says who a worker is and where its broker is. LoadConfig makes one
// from a file.
type Config struct {
	// Addr is the broker's backend, tcp://host:port. Required.
	Addr string
	// ID names the worker for ever; the broker numbers it if it is taken.
	// Default: "worker".
	ID string
	// Name is for people. Default: none.
	Name string
	// Key is the worker's key pair, ServerKey the broker's public key. Both are
	// required unless Insecure is set.
	Key       curve.SecretKey
	ServerKey curve.PublicKey
	// Insecure connects without encryption and proof of identity (the NULL
	// mechanism), to a broker that runs with secure = False.
	Insecure bool
	// Concurrency is how many calls run at once. Default: what
	// WithConcurrency says, else the number of cores that Go may use.
	Concurrency int
	// DrainTimeout is how long the calls that run may still take when the
	// worker is told to stop. Default 30 s; negative: no time.
	DrainTimeout time.Duration
	// MaxMessage bounds the arguments of a call and its result, in bytes. The
	// broker may set a lower bound; one that sets a higher bound may send what
	// this worker does not take. Default 16 MiB.
	MaxMessage int
	// Log gets connections, drains and panics; arguments, results and keys are
	// never logged. Default: nothing is logged.
	Log *slog.Logger
}

// LoadConfig reads a worker's INI file and the key files that it names. Log is
// left to the caller: the file's own log settings are opened by Main.
func LoadConfig(path string) (Config, error) {
	file, err := config.Load(path)
	if err != nil {
		return Config{}, err
	}
	return fromFile(file, "")
}

// fromFile reads the key files; addr overrides the file's address.
func fromFile(file *config.Config, addr string) (Config, error) {
	if addr == "" {
		var err error
		if addr, err = file.Addr(); err != nil {
			return Config{}, err
		}
	}
	cfg := Config{
		Addr: addr, ID: file.Main.ID, Name: file.Main.Name,
		Insecure:    file.Security.Insecure,
		Concurrency: file.Worker.Concurrency, DrainTimeout: file.Worker.DrainTimeout,
		MaxMessage: int(file.Limits.MaxMessage),
	}
	if cfg.Insecure {
		return cfg, nil
	}
	if err := cfg.loadKeys(file); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// loadKeys reads the key files that the configuration names.
func (c *Config) loadKeys(file *config.Config) error {
	if !file.HasKeys() {
		return errors.New("the worker's configuration names no keys: give public_keys_dir and secret_keys_dir in [main]" +
			" (make them with certtool generate --users worker), or let a broker start this worker")
	}
	own, err := curve.LoadCertificate(file.CertFile())
	if err != nil {
		return err
	}
	if own.Secret.IsZero() {
		return fmt.Errorf("%s holds no secret key: give the worker's *.key_secret file", file.CertFile())
	}
	server, err := curve.LoadCertificate(file.ServerKeyFile())
	if err != nil {
		return err
	}
	c.Key, c.ServerKey = own.Secret, server.Public
	return nil
}

// verify fills in the defaults and checks all.
func (c *Config) verify(declared int) error {
	if _, err := zmtp.SplitAddr(c.Addr); err != nil {
		return fmt.Errorf("workersdk: Addr: %w", err)
	}
	if !c.Insecure && (c.Key.IsZero() || c.ServerKey.IsZero()) {
		return errors.New("workersdk: Key or ServerKey is not set; a worker without encryption sets Insecure")
	}
	if c.ID == "" {
		c.ID = "worker"
	}
	if c.Concurrency == 0 {
		c.Concurrency = declared
	}
	if c.Concurrency == 0 {
		c.Concurrency = runtime.GOMAXPROCS(0)
	}
	switch {
	case c.DrainTimeout == 0:
		c.DrainTimeout = DefaultDrainTimeout
	case c.DrainTimeout < 0:
		c.DrainTimeout = 0
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = DefaultMaxMessage
	}
	if c.MaxMessage < minMessage {
		return fmt.Errorf("workersdk: MaxMessage %d is below %d bytes", c.MaxMessage, minMessage)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// minMessage is the smallest limit under which errors still fit a message.
const minMessage = 1 << 10

// envelopeRoom is what a link takes above the largest body: its envelope, and
// others of the same batch.
const envelopeRoom = 128 << 10

// mechanism returns how links are secured.
func (c *Config) mechanism() zmtp.Mechanism {
	if c.Insecure {
		return zmtp.Null{}
	}
	return &curve.Client{Key: c.Key, ServerKey: c.ServerKey}
}

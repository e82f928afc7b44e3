package clientsdk

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Defaults and limits of a Client.
const (
	// DefaultTimeout bounds a call whose context has no deadline.
	DefaultTimeout = 30 * time.Second
	// DefaultMaxInFlight is how many calls of a client are in flight at once.
	DefaultMaxInFlight = 8192
	// DefaultMaxInFlightBytes is how many bytes of arguments they may hold. It
	// stays below the 64 MiB that a broker grants to one key.
	DefaultMaxInFlightBytes = 48 << 20
	// DefaultMaxMessage is the largest message that a client takes from its broker.
	DefaultMaxMessage = 64 << 20
)

// Option configures a Client.
type Option func(*config) error

// config is what the options make. It is static after Dial.
type config struct {
	addrs        []string
	key          curve.SecretKey
	serverKey    curve.PublicKey
	insecure     bool
	name         string
	lazy         bool
	maxCalls     int
	maxBytes     int
	maxMessage   int
	interceptors []Interceptor
	retry        Retry
	log          *slog.Logger
	call         settings // defaults of every call
}

func newConfig(addrs string, opts []Option) (*config, error) {
	cfg := &config{
		name:       defaultName(),
		maxCalls:   DefaultMaxInFlight,
		maxBytes:   DefaultMaxInFlightBytes,
		maxMessage: DefaultMaxMessage,
		log:        slog.New(slog.DiscardHandler),
		call:       settings{timeout: DefaultTimeout},
	}
	for _, opt := range opts {
		if err := opt(cfg); err != nil {
			return nil, err
		}
	}
	for addr := range strings.SplitSeq(addrs, ",") {
		addr = strings.TrimSpace(addr)
		if _, err := zmtp.SplitAddr(addr); err != nil {
			return nil, fmt.Errorf("clientsdk: %w", err)
		}
		cfg.addrs = append(cfg.addrs, addr)
	}
	return cfg, nil
}

// WithCertificate takes the client's key pair from a secret certificate file
// (*.key_secret) as certtool, czmq and pyzmq write it. A file that others may
// read is refused.
func WithCertificate(file string) Option {
	return func(cfg *config) error {
		cert, err := curve.LoadCertificate(file)
		if err != nil {
			return fmt.Errorf("clientsdk: %w", err)
		}
		if cert.Secret.IsZero() {
			return fmt.Errorf("clientsdk: %s holds no secret key; give the client's *.key_secret file", file)
		}
		cfg.key = cert.Secret
		return nil
	}
}

// WithServerKey takes the broker's public key from its certificate file (server.key).
func WithServerKey(file string) Option {
	return func(cfg *config) error {
		cert, err := curve.LoadCertificate(file)
		if err != nil {
			return fmt.Errorf("clientsdk: %w", err)
		}
		cfg.serverKey = cert.Public
		return nil
	}
}

// WithKeys gives the client's key pair and the broker's public key directly.
func WithKeys(client curve.SecretKey, server curve.PublicKey) Option {
	return func(cfg *config) error {
		cfg.key, cfg.serverKey = client, server
		return nil
	}
}

// WithInsecure connects without encryption and proof of identity (the NULL
// mechanism), to a broker that runs with secure = False.
func WithInsecure() Option {
	return func(cfg *config) error {
		cfg.insecure = true
		return nil
	}
}

// WithName sets the name under which people see this client in the broker's
// lists; "program@host" by default.
func WithName(name string) Option {
	return func(cfg *config) error {
		cfg.name = name
		return nil
	}
}

// WithTimeout bounds every call whose context has no nearer deadline. Default
// DefaultTimeout; 0 means no bound.
func WithTimeout(d time.Duration) Option { return WithDefaults(Timeout(d)) }

// WithDefaults applies opts to every call of the client.
func WithDefaults(opts ...CallOption) Option {
	return func(cfg *config) error { return cfg.call.apply(opts) }
}

// WithMaxInFlight bounds the calls in flight and the bytes of their arguments;
// further calls wait for a place, within their deadline. The broker may set a
// lower bound on calls. Zero leaves a default.
func WithMaxInFlight(calls, bytes int) Option {
	return func(cfg *config) error {
		if calls < 0 || bytes < 0 {
			return fmt.Errorf("clientsdk: WithMaxInFlight(%d, %d): a bound is negative", calls, bytes)
		}
		if calls > 0 {
			cfg.maxCalls = calls
		}
		if bytes > 0 {
			cfg.maxBytes = bytes
		}
		return nil
	}
}

// WithMaxMessage sets the largest message that the client takes from its
// broker, in bytes. Default DefaultMaxMessage.
func WithMaxMessage(bytes int) Option {
	return func(cfg *config) error {
		if bytes < 1<<16 {
			return fmt.Errorf("clientsdk: WithMaxMessage(%d): the least is 65536", bytes)
		}
		cfg.maxMessage = bytes
		return nil
	}
}

// WithInterceptors puts functions around every call, the first one outermost.
// A client without interceptors pays nothing for them.
func WithInterceptors(interceptors ...Interceptor) Option {
	return func(cfg *config) error {
		cfg.interceptors = append(cfg.interceptors, interceptors...)
		return nil
	}
}

// WithRetry repeats calls that were refused for a passing reason.
func WithRetry(r Retry) Option {
	return func(cfg *config) error {
		cfg.retry = r
		return nil
	}
}

// WithLogger gives a logger for connections lost and regained. Arguments,
// results and keys are never logged. Default: nothing is logged.
func WithLogger(log *slog.Logger) Option {
	return func(cfg *config) error {
		if log != nil {
			cfg.log = log
		}
		return nil
	}
}

// WithLazyDial makes Dial return at once. The connection is made in the
// background for as long as it takes; calls wait for it within their deadlines.
func WithLazyDial() Option {
	return func(cfg *config) error {
		cfg.lazy = true
		return nil
	}
}

func defaultName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return filepath.Base(os.Args[0]) + "@" + host
}

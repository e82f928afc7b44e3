// Package config reads, checks, completes and creates the INI file of a
// broker. Files of the Python library that servicetools succeeds load
// unchanged; what is new lives in sections that it did not have.
package config

import (
	"time"

	"github.com/servicetools/servicetools/workersdk/config/ini"
)

// Config is a broker's configuration. The zero value of a field stands for its
// default; a file may leave every key out that has one. Each key can be
// overridden by the environment variable SERVICETOOLS_<SECTION>_<KEY>.
// Relative paths are taken from the working directory.
//
// Where a comment says what 0 does, that is the file's 0. In Go, where 0 is the
// default, it is one nanosecond.
type Config struct {
	Main      Main      `ini:"main"`
	Workers   Workers   `ini:"workers"`
	Logging   Logging   `ini:"logging"`
	LogFiles  LogFiles  `ini:"log_files"`
	Security  Security  `ini:"security"`
	Limits    Limits    `ini:"limits"`
	Dispatch  Dispatch  `ini:"dispatch"`
	Supervise Supervise `ini:"supervise"`

	// Path is the file that the configuration was read from; empty for one
	// that a program made.
	Path string

	origins ini.Origins
}

// Main is section [main]: who the broker is and where it listens.
type Main struct {
	// ID names the broker for ever. Default: a new UUID, written back.
	ID string `ini:"id"`

	// Name is for people. Default: broker.
	Name string `ini:"name" default:"broker"`

	// IP is the host name or address to listen on; * is every address.
	// Default: localhost.
	IP string `ini:"ip" default:"localhost"`

	// Port is for clients. Default: a free one from 6001 to 6050, written
	// back; 0 is one that the system picks at each start.
	Port int `ini:"port" max:"65535"`

	// BackendPort is for workers. Default: a free one from 9001 to 9050,
	// written back; 0 is one that the system picks at each start.
	BackendPort int `ini:"backend_port" max:"65535"`

	// PublicKeysDir is the folder of the public certificates: the broker's own
	// server.key and those of everybody who may connect. Required unless
	// secure is False.
	PublicKeysDir string `ini:"public_keys_dir,path"`

	// SecretKeysDir is the folder of the broker's secret certificate,
	// server.key_secret. Required unless secure is False.
	SecretKeysDir string `ini:"secret_keys_dir,path"`
}

// Workers is section [workers]: the worker processes on this host.
type Workers struct {
	// NumWorkers is how many workers the broker runs. Missing worker
	// configurations are copies of the first with a new id. Default: one for
	// each of worker_config_paths.
	NumWorkers int `ini:"num_workers" max:"10000" live:"yes"`

	// AutoStart starts the workers with the broker. Default: False.
	AutoStart bool `ini:"auto_start" default:"False"`

	// WorkerConfigPaths lists the configuration files of the workers, as a
	// JSON list. Default: none.
	WorkerConfigPaths []string `ini:"worker_config_paths,path" live:"yes"`

	// WorkerScriptPath is what a worker runs, with --config_file=PATH: an
	// executable, or a script for the worker's python_path. Default: none.
	WorkerScriptPath string `ini:"worker_script_path,path"`
}

// Logging is section [logging].
type Logging struct {
	// LogDir is the folder of the broker's log file and of its workers'
	// output. Default: none, all goes to stderr.
	LogDir string `ini:"log_dir,path"`

	// LoggingMode is the lowest level that is logged: DEBUG, INFO, WARN,
	// WARNING, ERROR or CRITICAL. Default: INFO.
	LoggingMode string `ini:"logging_mode" default:"INFO" live:"yes"`
}

// LogFiles is section [log_files]: the rotation of what is in log_dir.
type LogFiles struct {
	// MaxSize is the size at which a file is rotated. Default: 64 MiB.
	MaxSize int64 `ini:"max_size,bytes" default:"64 MiB" min:"1 MiB"`

	// Backups is the number of rotated files kept. Default: 5.
	Backups int `ini:"backups" default:"5" min:"1" max:"1000"`
}

// Security is section [security]: encryption, and what a peer may cost before
// it has proved who it is. Fixed, because peers rely on them, are the 200 bytes
// of a HELLO, the 2 KiB of an INITIATE and the half second for which a client
// with a wrong server key is held.
type Security struct {
	// Insecure is the key secure with the value False: everybody may connect,
	// in clear, and the broker listens on loopback only. Default: secure = True.
	Insecure bool `ini:"!secure" default:"True"`

	// ForceInsecure lets an insecure broker listen on any address. Default:
	// False.
	ForceInsecure bool `ini:"force_insecure" default:"False"`

	// HandshakeTimeout bounds the waiting for a peer until it is
	// authenticated, in all. Default: 2s.
	HandshakeTimeout time.Duration `ini:"handshake_timeout" default:"2s" min:"50ms" max:"1m"`

	// MaxUnauthenticated is the number of peers that may be in their
	// handshake at once; the oldest silent one makes room. Default: 4096.
	MaxUnauthenticated int `ini:"max_unauthenticated" default:"4096"`

	// CryptoSlots is the number of handshakes worked on at once. Default: the
	// number of CPUs but one, which is for those who are in.
	CryptoSlots int `ini:"crypto_slots" max:"4096"`

	// MaxFailedHandshakes is the number of failed handshakes a second, from
	// one address, after which its connections are refused. Default: 20.
	MaxFailedHandshakes int `ini:"max_failed_handshakes" default:"20"`

	// UnknownKeyHold is how long a libzmq peer with an unknown key is held, to
	// slow down its endless retries. Default: 3s; 0: not.
	UnknownKeyHold time.Duration `ini:"unknown_key_hold,none" default:"3s" max:"1m"`
}

// Limits is section [limits]: what an authenticated peer may use. What exceeds
// a limit is refused with a code. A change of those that belong to a connection
// (max_message, max_frames, slow_peer_*, assembly_timeout) applies to new ones.
type Limits struct {
	// MaxMessage bounds one message. Default: 16 MiB.
	MaxMessage int64 `ini:"max_message,bytes" default:"16 MiB" min:"1 KiB" max:"1 GiB" live:"yes"`

	// MaxFrames bounds the frames of one message. Default: 64.
	MaxFrames int `ini:"max_frames" default:"64" min:"4" max:"65536" live:"yes"`

	// MaxConnections is the number of connections open on each of the two
	// ports. Default: 8192.
	MaxConnections int `ini:"max_connections" default:"8192"`

	// ConnectionsPerKey is the number of connections open with one key; one more
	// is refused until one of them ends. Without security it is those of one
	// host. Default: 2048.
	ConnectionsPerKey int `ini:"connections_per_key" default:"2048" live:"yes"`

	// CallsPerKey bounds the calls held for one client key. Default: 10000.
	CallsPerKey int `ini:"calls_per_key" default:"10000" live:"yes"`

	// BytesPerKey bounds the bytes of calls and outcomes held for one client
	// key. Default: 64 MiB.
	BytesPerKey int64 `ini:"bytes_per_key,bytes" default:"64 MiB" min:"64 KiB" live:"yes"`

	// MaxCalls bounds the calls held for all. Default: 1000000.
	MaxCalls int `ini:"max_calls" default:"1000000" live:"yes"`

	// MemoryBudget bounds the bytes of calls and outcomes held for all; beyond
	// it calls get queue_full. Default: 1 GiB.
	MemoryBudget int64 `ini:"memory_budget,bytes" default:"1 GiB" min:"1 MiB" live:"yes"`

	// SlowPeerBytes is what may wait for a peer that has stopped reading before
	// it is cut; eight times as much may wait for one that reads. Default: 8 MiB.
	SlowPeerBytes int64 `ini:"slow_peer_bytes,bytes" default:"8 MiB" min:"64 KiB" live:"yes"`

	// SlowPeerTimeout is how long one write to a peer may take before it is
	// cut. Default: 10s.
	SlowPeerTimeout time.Duration `ini:"slow_peer_timeout" default:"10s" min:"100ms" live:"yes"`

	// AssemblyTimeout is how long a message may take from its first byte to
	// its last. Default: 30s.
	AssemblyTimeout time.Duration `ini:"assembly_timeout" default:"30s" min:"100ms" live:"yes"`
}

// Dispatch is section [dispatch]: how calls are handed to workers.
type Dispatch struct {
	// MaxAttempts bounds how often an idempotent call is handed to a worker. The
	// last time it has one for itself. Default: 3.
	MaxAttempts int `ini:"max_attempts" default:"3" max:"255" live:"yes"`

	// Beat is the interval of liveness signs; a peer silent for three is dead.
	// Default: 5s.
	Beat time.Duration `ini:"beat" default:"5s" min:"10ms" max:"10m"`

	// ClientGrace is how long calls are kept for a client that vanished.
	// Default: 30s; 0: not at all.
	ClientGrace time.Duration `ini:"client_grace,none" default:"30s" live:"yes"`

	// ClaimGrace is how long, after the broker's start, a resubmitted call
	// waits for the worker that still runs it: workers try at least every two
	// seconds, and their handshakes take turns. Default: 5s; 0: not at all.
	ClaimGrace time.Duration `ini:"claim_grace,none" default:"5s" live:"yes"`

	// NoWorkerGrace is how long a call without a deadline waits for a worker of
	// a known method before it gets no_worker. Default: 5s; 0: not at all.
	NoWorkerGrace time.Duration `ini:"no_worker_grace,none" default:"5s" live:"yes"`

	// DrainTimeout is how long a broker or worker that is told to leave
	// finishes its calls. Default: 30s; 0: not at all.
	DrainTimeout time.Duration `ini:"drain_timeout,none" default:"30s" live:"yes"`

	// IdempotencyWindow is how long the outcome of a call with an idempotency
	// key is kept. Default: 2m; 0: not at all.
	IdempotencyWindow time.Duration `ini:"idempotency_window,none" default:"2m" live:"yes"`

	// IdempotencyBytes bounds the outcomes kept for idempotency keys; the
	// oldest make room. Default: 64 MiB.
	IdempotencyBytes int64 `ini:"idempotency_bytes,bytes" default:"64 MiB" live:"yes"`
}

// Supervise is section [supervise]: the life of worker processes.
type Supervise struct {
	// RestartBackoff is the delay before the first restart; it doubles with
	// each further exit, and each delay is shortened by up to half at random.
	// Default: 500ms.
	RestartBackoff time.Duration `ini:"restart_backoff" default:"500ms" min:"1ms" live:"yes"`

	// RestartBackoffMax bounds that delay. Default: 30s.
	RestartBackoffMax time.Duration `ini:"restart_backoff_max" default:"30s" min:"1ms" live:"yes"`

	// CrashLoopExits is how many exits within crash_loop_window make a crash
	// loop. Default: 5.
	CrashLoopExits int `ini:"crash_loop_exits" default:"5" min:"2" max:"1000" live:"yes"`

	// CrashLoopWindow is the time in which exits are counted; a worker that
	// runs longer is sound, and its earlier exits are forgotten. Default: 1m.
	CrashLoopWindow time.Duration `ini:"crash_loop_window" default:"1m" min:"1ms" live:"yes"`

	// CrashLoopDelay is the time between restarts in a crash loop. Default: 1m.
	CrashLoopDelay time.Duration `ini:"crash_loop_delay" default:"1m" min:"1ms" live:"yes"`

	// MaxMemory is the resident memory above which a worker is drained and
	// replaced; Linux only. Default: none.
	MaxMemory int64 `ini:"max_memory,bytes" live:"yes"`

	// MaxCalls is the number of calls after which a worker is drained and
	// replaced. Default: none.
	MaxCalls int64 `ini:"max_calls" live:"yes"`

	// MaxAge is the time after which a worker is drained and replaced.
	// Default: none.
	MaxAge time.Duration `ini:"max_age" live:"yes"`

	// StopTimeout is how long a worker that got SIGTERM may take before its
	// process group is killed. Default: 35s, longer than a worker's own
	// drain_timeout; 0: none.
	StopTimeout time.Duration `ini:"stop_timeout,none" default:"35s" live:"yes"`
}

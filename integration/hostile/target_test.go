package hostile

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/wire/curve"
)

// target is the broker under attack: a process of its own, so that its memory
// is not mixed with the attackers'. Nothing here depends on how it was started.
type target struct {
	Frontend, Backend string // host:port
	Keys              string // folder of the keys

	process *child                     // nil in an attacker's process
	secrets map[string]curve.SecretKey // of the broker and its peers, by name
}

// vitals is what a target says of itself.
type vitals struct {
	Memory     int64 // bytes
	Goroutines int
	Files      int // open descriptors
	Defects    int // panics that it has contained and logged
}

// serve runs a broker until its standard input ends, and answers each line of
// it with the vitals.
func serve(dir string) error {
	signal.Ignore(os.Interrupt) // the parent ends us
	if n, err := strconv.ParseUint(os.Getenv(filesEnv), 10, 64); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	cfg := &broker.Config{}
	cfg.Limits.ConnectionsPerKey, _ = strconv.Atoi(os.Getenv(crowdEnv)) // unset, it is the default
	keys := curve.KeysetIn(dir)
	cfg.Main.IP, cfg.Main.PublicKeysDir, cfg.Main.SecretKeysDir = "127.0.0.1", keys.PublicDir, keys.SecretDir
	cfg.Dispatch.DrainTimeout, cfg.Dispatch.ClientGrace = time.Second, time.Second
	b, err := broker.New(cfg, broker.WithLogger(slog.New(complaints{slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})})))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]string{"Frontend": b.Frontend().String(), "Backend": b.Backend().String()}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := out.Encode(measure(lines.Text() == "settled")); err != nil {
			return err
		}
	}
	cancel()
	return <-ended
}

// measure returns what is in use, after a collection if settled; else also what
// the runtime has at hand.
func measure(settled bool) vitals {
	if settled {
		debug.FreeOSMemory()
		debug.FreeOSMemory() // pools are emptied by the second collection
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, _ := os.ReadDir("/proc/self/fd")
	v := vitals{Memory: int64(m.Sys - m.HeapReleased), Goroutines: runtime.NumGoroutine(), Files: len(files), Defects: int(defects.Load())}
	if settled {
		v.Memory = int64(m.HeapAlloc + m.StackInuse)
	}
	return v
}

// defects counts what the target's process has logged of panics.
var defects atomic.Int32

// complaints counts the panics among what it passes on.
type complaints struct{ slog.Handler }

func (c complaints) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "panic" {
			defects.Add(1)
		}
		return true
	})
	return c.Handler.Handle(ctx, r)
}

func (c complaints) WithAttrs(attrs []slog.Attr) slog.Handler {
	return complaints{c.Handler.WithAttrs(attrs)}
}

func (c complaints) WithGroup(name string) slog.Handler {
	return complaints{c.Handler.WithGroup(name)}
}

// people own the keys that a target knows.
var people = map[string]curve.Role{
	"server": curve.RoleServer, "client": curve.RoleClient, "attacker": curve.RoleClient,
	"worker": curve.RoleWorker, "admin": curve.RoleAdmin,
}

// aim starts a target, which ends with the test.
func aim(t *testing.T, environ ...string) *target {
	t.Helper()
	tg := &target{Keys: t.TempDir()}
	for name, role := range people {
		if _, err := curve.KeysetIn(tg.Keys).Generate(curve.Request{Name: name, Role: role}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tg.load(); err != nil {
		t.Fatal(err)
	}
	tg.process = spawn(t, nil, append(environ, targetEnv+"="+tg.Keys)...)
	tg.process.hear(t, tg)
	return tg
}

// load reads the keys.
func (tg *target) load() error {
	tg.secrets = make(map[string]curve.SecretKey)
	for name := range people {
		c, err := curve.LoadCertificate(curve.KeysetIn(tg.Keys).SecretPath(name))
		if err != nil {
			return err
		}
		tg.secrets[name] = c.Secret
	}
	return nil
}

// vitals asks the target how it is, "settled" or "now".
func (tg *target) vitals(t *testing.T, when string) (v vitals) {
	t.Helper()
	tg.process.tell(t, when)
	tg.process.hear(t, &v)
	return v
}

// secret returns a key of the target's peers.
func (tg *target) secret(name string) curve.SecretKey { return tg.secrets[name] }

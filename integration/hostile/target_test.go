package hostile

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
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
	keys              curve.Keyset
	ask               io.Writer
	answers           *bufio.Scanner
}

// vitals is what a target says of itself.
type vitals struct {
	Memory     int64 // bytes
	Goroutines int
	Files      int // open descriptors
	Defects    int // panics that it has contained and logged
}

// What the target's process is told.
const (
	childEnv = "SERVICETOOLS_HOSTILE_TARGET" // its key folder
	filesEnv = "SERVICETOOLS_HOSTILE_FILES"  // its limit of open files
)

// TestMain is also the main of the target's process.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	printTable()
	os.Exit(code)
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

// aim starts a target, which ends with the test: a race or a panic in it fails the test.
func aim(t *testing.T, environ ...string) *target {
	t.Helper()
	dir := t.TempDir()
	tg := &target{keys: curve.KeysetIn(dir)}
	for _, role := range []curve.Role{curve.RoleServer, curve.RoleClient, curve.RoleWorker, curve.RoleAdmin} {
		if _, err := tg.keys.Generate(curve.Request{Name: role.String(), Role: role}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tg.keys.Generate(curve.Request{Name: "attacker", Role: curve.RoleClient}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childEnv+"="+dir), environ...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the broker's process ended with %v", err)
		}
	})
	tg.ask, tg.answers = in, bufio.NewScanner(out)
	tg.next(t, tg)
	return tg
}

func (tg *target) next(t *testing.T, v any) {
	t.Helper()
	if !tg.answers.Scan() {
		t.Fatal("the broker's process is gone")
	}
	if err := json.Unmarshal(tg.answers.Bytes(), v); err != nil {
		t.Fatal(err)
	}
}

// vitals asks the target how it is, "settled" or "now".
func (tg *target) vitals(t *testing.T, when string) (v vitals) {
	t.Helper()
	if _, err := io.WriteString(tg.ask, when+"\n"); err != nil {
		t.Fatalf("the broker's process is gone: %v", err)
	}
	tg.next(t, &v)
	return v
}

// secret returns a key of the target's peers.
func (tg *target) secret(t testing.TB, name string) curve.SecretKey {
	t.Helper()
	c, err := curve.LoadCertificate(tg.keys.SecretPath(name))
	if err != nil {
		t.Fatal(err)
	}
	return c.Secret
}

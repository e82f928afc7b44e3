//go:build unix

package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/config"
)

// The test binary plays the workers: TestMain becomes what this variable says.
const roleEnv = "SUPERVISE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); role {
	case "":
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // of the children: the detector's goodbye takes a second each
		os.Exit(m.Run())
	case "broker":
		playBroker()
	default:
		playWorker(role, strings.TrimPrefix(os.Args[1], "--config_file="))
	}
}

// playWorker lives as role says. It reports itself by files beside its
// configuration: .pid, .child, .done.
func playWorker(role, configFile string) {
	report := func(suffix, text string) {
		temp := configFile + suffix + ".new" // a reader sees the whole text or none
		if os.WriteFile(temp, []byte(text), 0o600) != nil || os.Rename(temp, configFile+suffix) != nil {
			os.Exit(9)
		}
	}
	term := make(chan os.Signal, 1)
	if role == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(term, syscall.SIGTERM)
	}
	switch role {
	case "crash":
		fmt.Fprintln(os.Stderr, "reading the plan")
		fmt.Fprint(os.Stderr, "no plan")
		os.Exit(3)
	case "parent", "leaver":
		child := exec.Command(os.Args[0], "--config_file="+configFile+"-child")
		child.Env = append(os.Environ(), roleEnv+"=stubborn")
		child.Stdout = os.Stdout // holds the pipe open
		if child.Start() != nil {
			os.Exit(9)
		}
		report(".child", strconv.Itoa(child.Process.Pid))
		if role == "leaver" {
			os.Exit(0)
		}
	case "large":
		ballast := bytes.Repeat([]byte("x"), 64<<20)
		defer runtime.KeepAlive(ballast)
	}
	fmt.Println("ready")
	report(".pid", strconv.Itoa(os.Getpid()))
	<-term
	fmt.Println("leaving")
	report(".done", "")
	os.Exit(0)
}

// playBroker supervises one worker, which has a child, until it is killed.
func playBroker() {
	s := New(Config{Script: os.Args[0], Log: slog.New(slog.DiscardHandler), Output: io.Discard})
	if _, err := s.Add(specOf(os.Args[1], "parent"), 1); err != nil {
		os.Exit(9)
	}
	// Threads come and go while the supervisor works; its children must not.
	for range 8 {
		go runtime.LockOSThread()
	}
	go func() {
		for s.List()[0].State != Running {
			time.Sleep(time.Millisecond)
		}
		fmt.Println("running")
	}()
	s.Run(context.Background())
}

func specOf(configFile, role string) Spec {
	return Spec{ID: filepath.Base(configFile), Name: role, Config: configFile, Env: append(os.Environ(), roleEnv+"="+role)}
}

// stage is a running supervisor whose workers the test binary plays.
type stage struct {
	*Supervisor
	t      *testing.T
	dir    string
	end    context.CancelFunc
	closed chan struct{} // when Run has returned
	log    *syncBuffer
}

var quick = config.Supervise{
	RestartBackoff: time.Millisecond, RestartBackoffMax: 2 * time.Millisecond,
	CrashLoopExits: 1000, CrashLoopWindow: time.Hour, CrashLoopDelay: time.Hour, StopTimeout: time.Hour,
}

func newStage(t *testing.T, change func(*Config)) *stage {
	t.Helper()
	st := &stage{t: t, dir: t.TempDir(), closed: make(chan struct{}), log: &syncBuffer{}}
	c := Config{
		Script: os.Args[0], Policy: quick, LogDir: filepath.Join(st.dir, "logs"),
		Log: slog.New(slog.NewTextHandler(st.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	st.Supervisor = New(c)
	st.checkEvery = 5 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	st.end = cancel
	go func() { defer close(st.closed); st.Run(ctx) }()
	t.Cleanup(func() {
		st.finish()
		if t.Failed() {
			t.Log(st.log.String())
		}
		noGoroutines(t)
	})
	return st
}

// finish ends Run and checks that no child is left.
func (st *stage) finish() {
	st.t.Helper()
	st.end()
	<-st.closed
	for _, w := range st.List() {
		if w.State != Stopped || w.PID != 0 {
			st.t.Errorf("worker %s is %v with pid %d after Run", w.ID, w.State, w.PID)
		}
	}
}

func (st *stage) add(role string) Spec {
	st.t.Helper()
	spec := specOf(filepath.Join(st.dir, fmt.Sprintf("w%d", len(st.List()))), role)
	if _, err := st.Add(spec, 1); err != nil {
		st.t.Fatal(err)
	}
	return spec
}

// status returns the status of a worker, or nil.
func (st *stage) status(id string) *Status {
	list := st.List()
	if i := slices.IndexFunc(list, func(s Status) bool { return s.ID == id }); i >= 0 {
		return &list[i]
	}
	return nil
}

// await returns when the condition holds; a test that waits in vain is ended by
// the limit of go test, which shows where.
func await(t *testing.T, condition func() bool) {
	t.Helper()
	for !condition() {
		if t.Failed() {
			t.FailNow()
		}
		time.Sleep(time.Millisecond)
	}
}

// awaitPID returns the process id in a file when it is there, and removes it.
func awaitPID(t *testing.T, path string) (pid int) {
	t.Helper()
	await(t, func() bool {
		b, err := os.ReadFile(path)
		pid, _ = strconv.Atoi(string(b))
		return err == nil && os.Remove(path) == nil
	})
	return pid
}

// alive reports whether a process runs. One that nobody reaped yet does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return runtime.GOOS != "linux" && syscall.Kill(pid, 0) == nil
	}
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return rest[0] != 'Z' && rest[0] != 'X'
}

func noGoroutines(t *testing.T) {
	t.Helper()
	await(t, func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for _, g := range strings.Split(string(stacks), "\n\n") {
			if strings.Contains(g, "/supervise.(*") || strings.Contains(g, "os/exec.") {
				return false
			}
		}
		return true
	})
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestSupervisor_killedWorkerReturns(t *testing.T) {
	st := newStage(t, nil)
	w := st.add("sleep")
	first := awaitPID(t, w.Config+".pid")
	await(t, func() bool { return st.status(w.ID).State == Running })
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := awaitPID(t, w.Config+".pid")
	s := st.status(w.ID)
	if first == second || s.State != Running || s.PID != second || s.Restarts != 1 ||
		s.LastExit.Status != "signal: killed" || s.LastExit.Reason != "" {
		t.Errorf("got %+v, last exit %+v", s, s.LastExit)
	}
}

func TestSupervisor_gracefulStopAndOutput(t *testing.T) {
	st := newStage(t, nil)
	w := st.add("sleep")
	awaitPID(t, w.Config+".pid")
	st.finish()
	if _, err := os.Stat(w.Config + ".done"); err != nil {
		t.Error("the worker did not end in good order")
	}
	s := st.status(w.ID)
	if s.LastExit.Status != "exit status 0" || s.LastExit.Reason != "stopped" {
		t.Errorf("last exit %+v", s.LastExit)
	}
	if b, err := os.ReadFile(s.Output); string(b) != "ready\nleaving\n" {
		t.Errorf("its output is %q, %v", b, err)
	}
	if _, err := st.Add(w, 1); err != ErrEnded {
		t.Errorf("adding after the end gives %v", err)
	}
}

func TestSupervisor_crashLoopKeepsEvidence(t *testing.T) {
	st := newStage(t, func(c *Config) { c.Policy.CrashLoopExits = 3 })
	w := st.add("crash")
	await(t, func() bool { return st.status(w.ID).State == CrashLoop })
	s := st.status(w.ID)
	if s.Restarts != 2 || s.LastExit.Status != "exit status 3" || s.Next.IsZero() ||
		!slices.Equal(s.LastExit.Stderr, []string{"reading the plan", "no plan"}) {
		t.Errorf("got %+v, last exit %+v", s, s.LastExit)
	}
	if log := st.log.String(); !strings.Contains(log, `level=ERROR msg="worker ends again and again"`) || strings.Contains(log, "no plan") {
		t.Errorf("the log is\n%s", log)
	}
}

func TestSupervisor_stubbornWorkerIsKilled(t *testing.T) {
	st := newStage(t, func(c *Config) { c.Policy.StopTimeout = time.Millisecond })
	w := st.add("stubborn")
	pid := awaitPID(t, w.Config+".pid")
	st.finish()
	if s := st.status(w.ID); alive(pid) || s.LastExit.Status != "signal: killed" {
		t.Errorf("last exit %+v", s.LastExit)
	}
}

func TestSupervisor_groupDiesWithItsLeader(t *testing.T) {
	for _, role := range []string{"parent", "leaver"} {
		t.Run(role, func(t *testing.T) {
			st := newStage(t, func(c *Config) { c.Policy.RestartBackoff, c.Policy.RestartBackoffMax = time.Hour, time.Hour })
			w := st.add(role)
			child := awaitPID(t, w.Config+".child")
			if role == "parent" {
				awaitPID(t, w.Config+".pid")
				st.finish()
			}
			await(t, func() bool { return !alive(child) })
		})
	}
}

func TestSupervisor_removeDrainsOrKills(t *testing.T) {
	drained := make(chan string)
	st := newStage(t, func(c *Config) {
		c.Drain = func(ctx context.Context, id string) { drained <- id; <-ctx.Done() }
	})
	w := st.add("stubborn")
	pid := awaitPID(t, w.Config+".pid")
	if err := st.Remove(w.ID, false); err != nil {
		t.Fatal(err)
	}
	if id := <-drained; id != w.ID || st.status(w.ID).State != Stopping {
		t.Errorf("drained %s while %+v", id, st.status(w.ID))
	}
	if err := st.Remove(w.ID, true); err != nil { // drains for ever, and does not mind SIGTERM
		t.Fatal(err)
	}
	await(t, func() bool { return st.status(w.ID) == nil })
	if alive(pid) {
		t.Error("its process is left")
	}
	if err := st.Remove(w.ID, true); err == nil || !strings.Contains(err.Error(), "no such worker") {
		t.Errorf("removing it again gives %v", err)
	}
}

// TestSupervisor_excused: a worker that was asked to leave is started again at
// once, and its next end counts again.
func TestSupervisor_excused(t *testing.T) {
	st := newStage(t, nil)
	w := st.add("sleep")
	running := func() *Status {
		awaitPID(t, w.Config+".pid")
		await(t, func() bool { return st.status(w.ID).State == Running })
		return st.status(w.ID)
	}
	leave := func(pid int) *Status {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		return running()
	}
	s := running()
	st.Excuse("nobody")
	st.Excuse(w.ID)
	s = leave(s.PID)
	if s.Restarts != 1 || s.LastExit.Reason != "drained" || strings.Contains(st.log.String(), "level=WARN") {
		t.Errorf("got %+v, last exit %+v", s, s.LastExit)
	}
	s = leave(s.PID)
	if s.Restarts != 2 || s.LastExit.Reason != "" || !strings.Contains(st.log.String(), "worker ended unasked") {
		t.Errorf("got %+v, last exit %+v", s, s.LastExit)
	}
}

// TestSupervisor_endsWithItsContext: nothing is started between the end of the
// context and the moment when Run sees it.
func TestSupervisor_endsWithItsContext(t *testing.T) {
	s := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	s.ctx = ctx
	cancel()
	if _, err := s.Add(Spec{ID: "late"}, 1); !errors.Is(err, ErrEnded) {
		t.Errorf("Add after the end says %v", err)
	}
}

func TestSupervisor_recycles(t *testing.T) {
	for name, row := range map[string]struct {
		role   string
		policy config.Supervise
		reason string
	}{
		"by calls":  {"sleep", config.Supervise{MaxCalls: 10}, "recycled: 10 calls reach max_calls"},
		"by age":    {"sleep", config.Supervise{MaxAge: time.Nanosecond}, "reaches max_age"},
		"by memory": {"large", config.Supervise{MaxMemory: 60 << 20}, "of memory exceed max_memory"},
	} {
		t.Run(name, func(t *testing.T) {
			if row.policy.MaxMemory > 0 && residentMemory(os.Getpid()) == 0 {
				t.Skip("NOT RUN: the memory of processes is not known on this system")
			}
			drained := make(chan string, 100)
			st := newStage(t, func(c *Config) {
				c.Drain = func(_ context.Context, id string) { drained <- id }
			})
			w := st.add(row.role)
			awaitPID(t, w.Config+".pid")
			p := quick
			p.MaxCalls, p.MaxAge, p.MaxMemory = row.policy.MaxCalls, row.policy.MaxAge, row.policy.MaxMemory
			st.SetPolicy(p)
			st.CountCalls(w.ID, 4)
			st.CountCalls(w.ID, 6)
			if id := <-drained; id != w.ID {
				t.Errorf("drained %s", id)
			}
			st.SetPolicy(quick)
			awaitPID(t, w.Config+".pid")
			s := st.status(w.ID)
			if _, err := os.Stat(w.Config + ".done"); err != nil || s.Restarts < 1 || s.Calls != 0 ||
				!strings.Contains(s.LastExit.Reason, row.reason) || strings.Contains(st.log.String(), "level=WARN") {
				t.Errorf("got %+v, last exit %+v, %v", s, s.LastExit, err)
			}
		})
	}
}

func TestSupervisor_scales(t *testing.T) {
	clones := 0
	st := newStage(t, func(c *Config) {
		c.Clone = func(spec Spec, used []Spec) (Spec, error) {
			clones++
			spec.ID, spec.Config = fmt.Sprint("clone", clones), fmt.Sprint(spec.Config, clones)
			return spec, nil
		}
	})
	if err := st.Scale(1); err == nil {
		t.Error("there is nothing to copy, and it scaled")
	}
	w := specOf(filepath.Join(st.dir, "w"), "sleep")
	if ids, err := st.Add(w, 3); err != nil || !slices.Equal(ids, []string{"w", "clone1", "clone2"}) {
		t.Fatalf("added %v, %v", ids, err)
	}
	count := func(state State) (n int) {
		for _, s := range st.List() {
			if s.State == state {
				n++
			}
		}
		return n
	}
	for _, n := range []int{3, 1, 5, 0, 2} {
		if err := st.Scale(n); err != nil {
			t.Fatal(err)
		}
		await(t, func() bool { return count(Running) == n && count(Stopped) == len(st.List())-n })
	}
	if len(st.List()) != 5 || clones != 4 {
		t.Errorf("there are %d workers and %d copies: stopped ones were not used again", len(st.List()), clones)
	}
	if err := st.Scale(-1); err == nil {
		t.Error("it scaled below nothing")
	}
}

func TestSupervisor_badCommandsSayTheRemedy(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "worker.rb")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		script string
		spec   Spec
		want   string
	}{
		"no such script":      {filepath.Join(dir, "absent"), Spec{}, "did not start: worker_script_path: stat"},
		"not executable":      {plain, Spec{Config: "w.ini"}, "is not executable: make it so, or set python_path in w.ini"},
		"no such interpreter": {plain, Spec{Python: filepath.Join(dir, "absent")}, "did not start: fork/exec"},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t, func(c *Config) { c.Script = row.script; c.Policy.RestartBackoff = time.Millisecond })
			row.spec.ID = "w"
			if _, err := st.Add(row.spec, 1); err != nil {
				t.Fatal(err)
			}
			await(t, func() bool { return st.status("w").LastExit != nil })
			if got := st.status("w").LastExit.Status; !strings.Contains(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestSupervisor_runsScriptsByTheirInterpreter(t *testing.T) {
	st := newStage(t, func(c *Config) { c.LogDir = ""; c.Output = &syncBuffer{} })
	out := st.config.Output.(*syncBuffer)
	script := filepath.Join(st.dir, "worker.sh")
	if err := os.WriteFile(script, []byte("echo \"$1\"\nexec sleep 1000"), 0o600); err != nil {
		t.Fatal(err)
	}
	st.config.Script = script
	if _, err := st.Add(Spec{ID: "w", Name: "shell", Config: "a b.ini", Python: "sh"}, 1); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return out.String() == "shell w | --config_file=a b.ini\n" })
}

// TestBroker_killedTakesItsWorkersAlong, and what they have started, which does
// not mind SIGTERM.
func TestBroker_killedTakesItsWorkersAlong(t *testing.T) {
	configFile := filepath.Join(t.TempDir(), "w")
	broker := exec.Command(os.Args[0], configFile)
	broker.Env = append(os.Environ(), roleEnv+"=broker")
	out, err := broker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	child := awaitPID(t, configFile+".child")
	worker := awaitPID(t, configFile+".pid")
	if said := awaitPID(t, configFile+"-child.pid"); said != child {
		t.Fatalf("the worker's child is %d and says it is %d", child, said)
	}
	if err := broker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = broker.Wait() // it was killed
	await(t, func() bool { return !alive(worker) && !alive(child) })
}

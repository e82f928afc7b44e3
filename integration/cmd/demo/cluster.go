package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/workersdk/group"
)

// workers is how many demoworker processes the broker starts.
const workers = 4

// cluster is a broker with its workers, set up in a folder as a user would do
// it by hand: certificates with certtool, a configuration file, broker serve.
type cluster struct {
	bin, dir string // static

	process *exec.Cmd
	group   *group.Group // of process: nothing is left even if the demo is killed
	exited  chan error   // gets the process's end once
}

// startCluster makes what is missing below dir and starts the broker. What an
// earlier run left is used again.
func startCluster(ctx context.Context, bin, dir string) (*cluster, error) {
	c := &cluster{bin: bin, dir: dir, exited: make(chan error, 1)}
	if err := c.makeCertificates(ctx); err != nil {
		return nil, err
	}
	if err := c.writeConfig(); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "broker.out"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.process = exec.Command(c.program("broker"), "serve", "--config", c.configPath())
	c.process.Stdout, c.process.Stderr = log, log
	// A group of its own: Ctrl-C at the terminal is for the demo, which stops the
	// broker in order.
	if c.group, err = group.Start(c.process); err != nil {
		return nil, err
	}
	go func() { c.exited <- c.group.Wait() }()
	return c, nil
}

func (c *cluster) program(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(c.bin, name)
}

func (c *cluster) configPath() string { return filepath.Join(c.dir, "server.ini") }

// secretKey returns the path of the secret certificate of that name.
func (c *cluster) secretKey(name string) string {
	return filepath.Join(c.dir, "private_keys", name+".key_secret")
}

func (c *cluster) serverKey() string { return filepath.Join(c.dir, "public_keys", "server.key") }

func (c *cluster) makeCertificates(ctx context.Context) error {
	for _, user := range []struct{ role, name string }{
		{"server", "server"}, {"worker", "worker"}, {"admin", "admin"}, {"client", "demo"},
	} {
		if _, err := os.Stat(c.secretKey(user.name)); err == nil {
			continue
		}
		args := []string{"generate", "--path", c.dir, "--users", user.role}
		if user.role == "client" {
			args = append(args, "--name", user.name)
		}
		out, err := exec.CommandContext(ctx, c.program("certtool"), args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("certtool %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// writeConfig writes the two files that a user of the Python library would
// have written. Ports and three more worker files are the broker's to add.
func (c *cluster) writeConfig() error {
	if _, err := os.Stat(c.configPath()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	worker := filepath.Join(c.dir, "worker.ini")
	logs := filepath.Join(c.dir, "logs")
	workerINI := fmt.Sprintf(`[main]
id = 6d8f5a0e-7b1c-4e57-9a55-f0c3b2a61d01
name = demo worker
ip = localhost
port =
public_keys_dir = None
secret_keys_dir = None
python_path =

[logging]
log_dir = %s
logging_mode = INFO
`, logs)
	serverINI := fmt.Sprintf(`[main]
id = 71c4810e-d0f7-4f06-aa50-2fa8b8cc4be2
name = demo server
ip = localhost
port =
backend_port =
public_keys_dir = %s
secret_keys_dir = %s

[workers]
num_workers = %d
auto_start = True
worker_config_paths = [%s]
worker_script_path = %s

[logging]
log_dir = %s
logging_mode = INFO
`, filepath.Join(c.dir, "public_keys"), filepath.Join(c.dir, "private_keys"), workers,
		strconv.Quote(worker), c.program("demoworker"), logs)
	if err := os.WriteFile(worker, []byte(workerINI), 0o644); err != nil {
		return err
	}
	return os.WriteFile(c.configPath(), []byte(serverINI), 0o644)
}

// address waits until the broker has chosen its port and returns its endpoint.
func (c *cluster) address(ctx context.Context) (string, error) {
	for {
		if cfg, err := config.Read(c.configPath()); err == nil && cfg.Main.Port != 0 {
			return "tcp://" + cfg.FrontendAddr(), nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case err := <-c.exited:
			return "", fmt.Errorf("the broker did not start: %v\n%s", err, c.output())
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// output returns what the broker has printed.
func (c *cluster) output() string {
	b, _ := os.ReadFile(filepath.Join(c.dir, "broker.out"))
	return string(b)
}

// stopTimeout is how long the broker may take to stop its workers and itself.
const stopTimeout = 45 * time.Second

// stop ends the broker, which ends its workers, and reports whether it did so
// in order.
func (c *cluster) stop() error {
	if err := interrupt(c.process.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-c.exited:
		if err != nil {
			return fmt.Errorf("the broker ended with %w\n%s", err, c.output())
		}
		return nil
	case <-time.After(stopTimeout):
		c.group.Kill()
		<-c.exited
		return fmt.Errorf("the broker did not stop within %v and was killed", stopTimeout)
	}
}

// interrupt asks a process to end as an operator would.
func interrupt(p *os.Process) error {
	if runtime.GOOS == "windows" {
		return p.Kill()
	}
	return p.Signal(syscall.SIGTERM)
}

package command

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/broker/admin"
	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/wire/curve"
	workerconfig "github.com/servicetools/servicetools/workersdk/config"
	"github.com/servicetools/servicetools/workersdk/config/ini"
)

const devHelp = `Runs a broker for development: on this machine only, encrypted, with everything it
needs in one folder. The first run makes keys for the broker, an admin, a worker
and a client, and the files server.ini and worker.ini; later runs use them again.
The ports are 8006 and 9006 if they are free at the first run, else others.

When it is ready it prints the next two lines to type. With --worker it starts
that program, or Python script, and the two lines call one of its methods.

Example:
   broker dev
   broker dev --worker ./calc --num-workers 4`

func devCommand() *cli.Command {
	return &cli.Command{
		Name:        "dev",
		Category:    "Run",
		Usage:       "run a broker for development, keys and all",
		Description: devHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Value: ".servicetools", Usage: "folder `DIR` of keys and configurations"},
			&cli.StringFlag{Name: "worker", Usage: "start this `PROGRAM` as worker"},
			&cli.IntFlag{Name: "num-workers", Value: 1, Usage: "start `N` of it"},
			&cli.IntFlag{Name: "port", DefaultText: "8006, or a free one", Usage: "`PORT` for clients"},
			&cli.IntFlag{Name: "backend-port", DefaultText: "9006, or a free one", Usage: "`PORT` for workers"},
		},
		Action: dev,
	}
}

// The ports that dev takes if they are free.
const (
	usualPort        = 8006
	usualBackendPort = 9006
)

func dev(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if c.Int("num-workers") < 1 {
		return usagef("--num-workers must be 1 or more")
	}
	f, err := openDevFolder(c.String("dir"))
	if err != nil {
		return err
	}
	worker := c.String("worker")
	if worker != "" {
		if _, err := os.Stat(worker); err != nil {
			return usagef("--worker: there is no program %s", worker)
		}
		if worker, err = filepath.Abs(worker); err != nil {
			return err
		}
	}
	if err := f.set(worker, c.Int("num-workers"), c.Int("port"), c.Int("backend-port")); err != nil {
		return err
	}
	cfg, err := broker.Load(f.server)
	if err != nil {
		return badConfig(err)
	}
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	var hinting sync.WaitGroup
	defer hinting.Wait()
	defer cancel()
	return serve(ctx, c.App.ErrWriter, cfg, func(*broker.Broker) {
		hinting.Go(func() { f.hint(ctx, c.App.Writer, cfg, worker != "") })
	})
}

// devFolder is the folder of a broker for development.
type devFolder struct {
	dir            string // absolute
	keys           curve.Keyset
	server, worker string // paths of the configurations
}

// openDevFolder makes what is missing in the folder.
func openDevFolder(dir string) (*devFolder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	f := &devFolder{
		dir: dir, keys: curve.KeysetIn(dir),
		server: filepath.Join(dir, "server.ini"), worker: filepath.Join(dir, "worker.ini"),
	}
	for name, role := range map[string]curve.Role{
		"server": curve.RoleServer, "admin": curve.RoleAdmin, "worker": curve.RoleWorker, "client": curve.RoleClient,
	} {
		if exists(f.keys.SecretPath(name)) {
			continue
		}
		if _, err := f.keys.Generate(curve.Request{Name: name, Role: role}); err != nil {
			return nil, fmt.Errorf("making the key of the %s: %w", name, err)
		}
	}
	if ignore := filepath.Join(dir, ".gitignore"); !exists(ignore) { // secrets stay out of version control
		if err := os.WriteFile(ignore, []byte("*\n"), 0o644); err != nil {
			return nil, err
		}
	}
	if !exists(f.worker) {
		_, err := workerconfig.CreateNew(workerconfig.WorkerConfig{
			ConfigPath: f.worker, Name: "dev worker", PublicKeysDir: f.keys.PublicDir, SecretKeysDir: f.keys.SecretDir,
		})
		if err != nil {
			return nil, err
		}
	}
	if exists(f.server) {
		return f, nil
	}
	_, err = config.CreateNew(config.ServerConfig{
		ConfigPath: f.server, Name: "dev broker", IP: "localhost",
		Port: ifFree(usualPort), BackendPort: ifFree(usualBackendPort),
		PublicKeysDir: f.keys.PublicDir, SecretKeysDir: f.keys.SecretDir,
	})
	return f, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ifFree returns port if it can be listened on, else 0, which leaves the
// choice to the configuration.
func ifFree(port int) int {
	l, err := net.Listen("tcp", net.JoinHostPort("localhost", strconv.Itoa(port)))
	if err != nil {
		return 0
	}
	l.Close()
	return port
}

// set writes what this run differs in into the configurations: which workers,
// which ports, and where the folder is by now.
func (f *devFolder) set(worker string, count, port, backendPort int) error {
	rows := [][3]string{
		{"main", "public_keys_dir", f.keys.PublicDir},
		{"main", "secret_keys_dir", f.keys.SecretDir},
		{"workers", "auto_start", "False"},
		{"workers", "worker_config_paths", ini.FormatList([]string{f.worker})},
		{"workers", "num_workers", "1"},
	}
	if worker != "" {
		rows[2][2], rows[4][2] = "True", strconv.Itoa(count)
		rows = append(rows, [3]string{"workers", "worker_script_path", worker})
	}
	if port != 0 {
		rows = append(rows, [3]string{"main", "port", strconv.Itoa(port)})
	}
	if backendPort != 0 {
		rows = append(rows, [3]string{"main", "backend_port", strconv.Itoa(backendPort)})
	}
	if err := edit(f.server, rows); err != nil {
		return err
	}
	workers, err := filepath.Glob(filepath.Join(f.dir, "worker*.ini"))
	if err != nil {
		return err
	}
	for _, path := range workers { // the broker writes its address into those that name no port
		err := edit(path, [][3]string{
			{"main", "port", ""},
			{"main", "public_keys_dir", f.keys.PublicDir},
			{"main", "secret_keys_dir", f.keys.SecretDir},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// edit gives keys of a file new values.
func edit(path string, rows [][3]string) error {
	f, err := ini.Read(path)
	if err != nil {
		return badConfig(err)
	}
	for _, row := range rows {
		if err := f.Set(row[0], row[1], row[2]); err != nil {
			return err
		}
	}
	return f.Save()
}

// hint prints the next two lines to type: to start a worker and to call it, or,
// when there is one, to name the broker and to call a method that it serves.
func (f *devFolder) hint(ctx context.Context, w io.Writer, cfg *broker.Config, started bool) {
	address := dialAddr(cfg, cfg.Main.Port)
	cert, key := f.keys.SecretPath("client"), f.keys.PublicPath("server")
	flags := fmt.Sprintf("--server %s --cert %s --server-key %s", address, quote(cert), quote(key))
	call := "add 1 2"
	if started {
		call = exampleCall(f.methods(ctx, cfg))
		if ctx.Err() != nil {
			return
		}
	}
	switch {
	case !started:
		fmt.Fprintf(w, "demoworker --config_file=%s\nzcall %s %s\n", quote(f.worker), flags, call)
	case runtime.GOOS == "windows": // whose shells agree on no way to set a variable
		fmt.Fprintf(w, "zcall %s %s\nbroker status --config %s\n", flags, call, quote(f.server))
	default:
		fmt.Fprintf(w, "export SERVICETOOLS_SERVER=%s SERVICETOOLS_CERT=%s SERVICETOOLS_SERVER_KEY=%s\nzcall %s\n",
			address, quote(cert), quote(key), call)
	}
}

// Bounds of the waiting for the worker that dev has started.
const (
	workerWait = 10 * time.Second
	workerPoll = 50 * time.Millisecond
)

// methods returns what is served once a worker is there, or nothing if none
// comes in time.
func (f *devFolder) methods(ctx context.Context, cfg *broker.Config) []broker.MethodView {
	ctx, cancel := context.WithTimeout(ctx, workerWait)
	defer cancel()
	t, err := targetOf(cfg)
	if err != nil {
		return nil
	}
	client, err := admin.Dial(ctx, t)
	if err != nil {
		return nil
	}
	defer client.Close()
	for {
		var methods []broker.MethodView
		answer, err := client.Call(ctx, "broker.methods", nil)
		if err != nil || admin.Decode(answer, &methods) != nil || len(methods) > 0 {
			return methods
		}
		if pause(ctx, workerPoll) != nil {
			return nil
		}
	}
}

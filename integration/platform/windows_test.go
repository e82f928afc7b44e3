//go:build linux

package platform

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/integration/env"
)

// TestWindows: the Windows programs make and examine keys, run a broker with
// supervised workers and another worker, call them, and end in order.
func TestWindows(t *testing.T) {
	w := openWindows(t, root+"/certtool/cmd/certtool", root+"/broker/cmd/broker", root+"/clientsdk/cmd/zcall",
		root+"/workersdk/cmd/demoworker", "./forker", "./holder", "./copier")
	if w == nil {
		return
	}
	for _, row := range []struct {
		args string
		code int
		want string
	}{
		{"generate --path keys --users all --name ann", 0, `keys\private_keys\ann.key_secret`},
		{"generate --path keys --users worker --name far", 0, `keys\public_keys\far.key`},
		{"generate --path keys --name ann", 1, "--overwrite"},
		{"list --path keys", 0, "ann     client  admitted"},
		{"verify --path keys", 0, "a broker admits the key with role client"},
		{"revoke --path keys ann", 0, "ann"},
		{"verify --path keys", 0, "revoked"},
		{"generate --path keys --name ben", 0, "ben.key_secret"},
	} {
		r := w.run("certtool", strings.Fields(row.args)...)
		if r.code != row.code || !strings.Contains(r.stdout+r.stderr, row.want) {
			t.Errorf("certtool %s exits with %d, and says\n%s%s", row.args, r.code, r.stdout, r.stderr)
		}
	}

	// Windows lets nobody move or replace a file that another has open. Neither the
	// revoking of a key nor the broker's writing to its file fails for it.
	w.hold(`keys\public_keys\ben.key`, `keys\public_keys\revoked\ben.key`)
	w.ok("certtool", "revoke", "--path", "keys", "ben")
	w.ok("certtool", "generate", "--path", "keys", "--name", "ben", "--overwrite")

	// A broker with two supervised workers, each of which starts a child, and a
	// worker from elsewhere.
	w.ok("forker", "init", "--config_file", "worker.ini")
	w.ok("broker", "init", "--config", "server.ini", "--keys", "keys", "--ip", env.Loopback(), "--auto-start",
		"--num-workers", "2", "--worker-config", "worker.ini", "--worker-script", "forker.exe")
	w.hold("server.ini", ".server.ini.*.tmp")
	serving := w.start("broker", "serve", "--config", "server.ini")
	var status broker.StatusView
	w.await("the broker serves", func() bool {
		r := w.run("broker", "status", "--config", "server.ini", "-o", "json")
		return r.code == 0 && json.Unmarshal([]byte(r.stdout), &status) == nil
	})
	w.write(filepath.Join(w.dir, "far.ini"), []byte("[main]\nid = far\nip = "+strings.Replace(status.Backend, ":", "\nport = ", 1)+
		"\n[worker]\ncert = keys\\private_keys\\far.key_secret\nserver_key = keys\\public_keys\\server.key\n"))
	far := w.start("demoworker", "--config_file=far.ini")
	// connected returns the connected workers, and how often they were restarted.
	connected := func() (list []broker.WorkerView, restarts int) {
		if err := json.Unmarshal([]byte(w.ok("broker", "workers", "--config", "server.ini", "-o", "json")), &list); err != nil {
			t.Error(err)
		}
		list = slices.DeleteFunc(list, func(v broker.WorkerView) bool { return v.State != "connected" })
		for _, v := range list {
			restarts += v.Restarts
		}
		return list, restarts
	}
	three := func(restarts int) func() bool {
		return func() bool {
			list, n := connected()
			return len(list) == 3 && n == restarts
		}
	}
	w.await("three workers are there", three(0))
	zcall := []string{"--server", "tcp://" + status.Frontend, "--cert", `keys\private_keys\ben.key_secret`, "--server-key", `keys\public_keys\server.key`}
	for call, want := range map[string]string{"add 1 2": "3", "family": "2", "describe add": "Add"} {
		if got := w.ok("zcall", append(zcall, strings.Fields(call)...)...); !strings.Contains(got, want) {
			t.Errorf("zcall %s prints %q", call, got)
		}
	}
	for program, args := range map[string][]string{
		"zcall": append([]string{"doctor"}, zcall...), "broker": {"doctor", "--config", "server.ini"},
		"demoworker": {"check", "--config_file=far.ini"},
	} {
		w.ok(program, args...)
	}

	// A key that the broker cannot read at first is admitted once it can.
	w.ok("certtool", "generate", "--path", "elsewhere", "--name", "cyd")
	w.start("copier", `elsewhere\public_keys\cyd.key`, `keys\public_keys\cyd.key`)
	w.await("the new key is admitted", func() bool {
		r := w.run("zcall", "--server", "tcp://"+status.Frontend, "--cert", `elsewhere\private_keys\cyd.key_secret`,
			"--server-key", `keys\public_keys\server.key`, "add", "1", "2")
		return r.code == 0
	})

	// A killed worker takes its child along, and returns.
	family := w.processes("forker.exe")
	if len(family) != 4 {
		t.Errorf("two workers and their children are %v", family)
	}
	for pid, line := range family {
		if strings.Contains(line, "worker.ini") {
			kill(t, pid)
		}
	}
	w.await("the killed worker returns", three(1))
	w.await("its child is gone", func() bool { return len(w.processes("forker.exe")) == 4 })

	// A broker that is interrupted ends in order, a killed one leaves nothing.
	for _, row := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGINT, 0}, {syscall.SIGKILL, -1}} {
		if code := serving.end(w, row.signal); code != row.code {
			t.Errorf("after %v the broker exits with %d", row.signal, code)
		}
		w.await("the broker's workers are gone", func() bool { return len(w.processes("forker.exe")) == 0 })
		if row.signal == syscall.SIGINT {
			serving = w.start("broker", "serve", "--config", "server.ini")
			w.await("the broker serves again", func() bool { return w.run("broker", "health", "--config", "server.ini").code == 0 })
			w.await("its workers are there", three(0))
		}
	}
	if code := far.end(w, syscall.SIGINT); code != 0 {
		t.Errorf("an interrupted worker exits with %d", code)
	}
}

// hold has another program hold a file open until shortly after there is one
// that matches the pattern.
func (w *windows) hold(file, pattern string) {
	w.t.Helper()
	w.start("holder", file, pattern)
	w.await(file+" is held", func() bool {
		_, err := os.Stat(filepath.Join(w.dir, filepath.FromSlash(strings.ReplaceAll(file, `\`, "/"))+".held"))
		return err == nil
	})
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

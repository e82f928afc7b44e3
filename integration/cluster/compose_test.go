package cluster

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/integration/chaos"
)

// compose returns the command of this machine: version 2 is a part of docker,
// version 1 a program of its own.
func compose(t *testing.T) []string {
	t.Helper()
	for _, c := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.Command(c[0], append(c[1:], "version")...).Run() == nil {
			return c
		}
	}
	t.Fatal("there is neither docker compose nor docker-compose: install one, or set SERVICETOOLS_WITHOUT=docker")
	return nil
}

// What the file promises: up, any number of workers of one key, the job, down.
func TestCompose(t *testing.T) {
	if theEngine == nil {
		t.Skip("NOT RUN: SERVICETOOLS_WITHOUT names docker")
	}
	program := compose(t)
	project := strings.ToLower(strings.ReplaceAll(theEngine.prefix, ".", "-")) + "compose"
	run := func(args ...string) string {
		t.Helper()
		c := exec.Command(program[0], slices.Concat(program[1:], []string{"-f", "../../docker-compose.yml", "-p", project}, args)...)
		c.Env = append(os.Environ(), "FRONTEND=127.0.0.1:0", "TAG="+theEngine.tag()) // any free port
		var said strings.Builder
		c.Stderr = &said
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s%s", c, err, out, &said)
		}
		return string(out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			theEngine.printLogs(os.Stderr, func(name string) bool { return strings.HasPrefix(name, project) })
		}
		run("down", "--volumes", "--timeout", "10")
	})
	must(t, theEngine.product())
	run("up", "-d", "--scale", "worker=5", "broker", "worker")
	if out := run("run", "--rm", "-T", "demo"); !strings.Contains(out, "agree") {
		t.Errorf("the job says: %s", out)
	}
	var workers string
	chaos.Await(t, "five workers are connected", func() bool {
		workers = run("exec", "-T", "broker", "/broker", "workers", "--config", configPath)
		return strings.Count(workers, "connected") == 5
	}, func() string { return workers })
}

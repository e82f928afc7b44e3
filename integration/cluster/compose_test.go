package cluster

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/integration/chaos"
)

// project is a compose project.
type project struct {
	t       *testing.T
	name    string
	program []string // docker compose: version 2 is a part of docker, version 1 a program of its own
	files   []string
	env     []string
}

// newProject ends with its test.
func newProject(t *testing.T, name string, files ...string) *project {
	t.Helper()
	p := &project{t: t, name: strings.ToLower(strings.ReplaceAll(theEngine.prefix, ".", "-")) + name, env: []string{"TAG=" + theEngine.tag()}}
	for _, c := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if p.program == nil && exec.Command(c[0], append(c[1:], "version")...).Run() == nil {
			p.program = c
		}
	}
	if p.program == nil {
		t.Fatal("there is neither docker compose nor docker-compose: install one, or set SERVICETOOLS_WITHOUT=docker")
	}
	for _, f := range files {
		p.files = append(p.files, "-f", filepath.Join("../..", f))
	}
	t.Cleanup(func() {
		if t.Failed() {
			theEngine.printLogs(os.Stderr, p.owns)
		}
		p.run("down", "--volumes", "--timeout", "10")
	})
	return p
}

func (p *project) owns(name string) bool { return strings.HasPrefix(name, p.name) }

// run runs a command of compose and returns its stdout.
func (p *project) run(args ...string) string {
	p.t.Helper()
	c := exec.Command(p.program[0], slices.Concat(p.program[1:], p.files, []string{"-p", p.name}, args)...)
	c.Env = append(os.Environ(), p.env...)
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		p.t.Fatalf("%v: %v\n%s%s", c, err, out, &said)
	}
	return string(out)
}

// awaitWorkers waits until the broker's list has so many that are connected,
// and so many of the name.
func (p *project) awaitWorkers(all int, name string, named int) {
	p.t.Helper()
	var list string
	chaos.Await(p.t, strconv.Itoa(all)+" workers are connected", func() bool {
		list = p.run("exec", "-T", "broker", "/broker", "workers", "--config", configPath)
		return strings.Count(list, "connected") == all && strings.Count(list, " "+name+" ") == named
	}, func() string { return list })
}

// What the files promise: up, any number of workers of one key, the job; then
// workers of a machine elsewhere, until their key is revoked.
func TestCompose(t *testing.T) {
	if theEngine == nil {
		t.Skip("NOT RUN: SERVICETOOLS_WITHOUT names docker")
	}
	must(t, theEngine.product())
	here := newProject(t, "compose", "docker-compose.yml", "deploy/workers-elsewhere.yml")
	bridge, err := theEngine.NetworkInfo("bridge")
	must(t, err)
	subnet, err := netip.ParsePrefix(bridge.IPAM.Config[0].Subnet)
	must(t, err)
	host := subnet.Masked().Addr().Next().String() // an address of this host that containers reach, and nobody else
	here.env = append(here.env, "FRONTEND=127.0.0.1:0", "BACKEND="+host+":0")
	here.run("up", "-d", "--scale", "worker=5", "broker", "worker")
	if out := here.run("run", "--rm", "-T", "demo"); !strings.Contains(out, "agree") {
		t.Errorf("the job says: %s", out)
	}
	here.awaitWorkers(5, "worker", 5)
	here.inspect()

	keys := t.TempDir()
	here.run("run", "--rm", "-T", "certs", "generate", "--path", "/keys", "--users", "worker", "--name", "gpu1")
	id := strings.TrimSpace(here.run("ps", "-q", "broker"))
	for from, to := range map[string]string{"private_keys/gpu1.key_secret": "worker.key_secret", "public_keys/server.key": "server.key"} {
		path := filepath.Join(keys, to)
		must(t, command(exec.Command("docker", "cp", id+":/keys/"+from, path)))
		if err := os.Chown(path, user, user); err != nil {
			t.Logf("NOT RUN: workers elsewhere: their keys cannot be given to their user: %v; run this test as root", err)
			return
		}
	}
	_, port, _ := strings.Cut(strings.TrimSpace(here.run("port", "broker", "9006")), ":")
	there := newProject(t, "elsewhere", "deploy/worker.yml")
	there.env = append(there.env, "NAME=gpu1", "BROKER="+host, "BACKEND="+port, "KEYS="+keys)
	there.run("up", "-d", "--scale", "worker=2")
	here.awaitWorkers(7, "gpu1", 2)
	here.run("run", "--rm", "-T", "certs", "revoke", "--path", "/keys", "gpu1")
	here.awaitWorkers(5, "gpu1", 0)
}

// inspect looks at what the containers may do.
func (p *project) inspect() {
	p.t.Helper()
	cfg, err := broker.Load("../../deploy/server.ini")
	must(p.t, err)
	networks := map[string][]string{"broker": {"backend", "frontend"}, "worker": {"backend"}, "certs": {"backend"}, "certs-worker": {"backend"},
		"certs-client": {"backend"}}
	for _, made := range theEngine.containers(p.owns) {
		c, err := theEngine.InspectContainer(made.ID)
		must(p.t, err)
		service := c.Config.Labels["com.docker.compose.service"]
		if !c.HostConfig.ReadonlyRootfs || !slices.Equal(c.HostConfig.CapDrop, []string{"ALL"}) || c.HostConfig.Memory == 0 {
			p.t.Errorf("%s may write, has capabilities, or any amount of memory", service)
		}
		var on []string
		for name := range c.NetworkSettings.Networks {
			on = append(on, strings.TrimPrefix(name, p.name+"_"))
		}
		if slices.Sort(on); !slices.Equal(on, networks[service]) {
			p.t.Errorf("%s is on the networks %v, not %v", service, on, networks[service])
		}
		if service != "broker" && service != "worker" {
			continue
		}
		if c.HostConfig.RestartPolicy.Name == "" || c.HostConfig.RestartPolicy.Name == "no" {
			p.t.Errorf("nobody starts %s again", service)
		}
		drain := cfg.Dispatch.DrainTimeout
		for _, v := range c.Config.Env {
			if text, ok := strings.CutPrefix(v, "SERVICETOOLS_WORKER_DRAIN_TIMEOUT="); ok {
				drain, err = time.ParseDuration(text)
				must(p.t, err)
			}
		}
		if stop := time.Duration(c.Config.StopTimeout) * time.Second; stop <= drain {
			p.t.Errorf("%s is killed after %v, and may drain for %v", service, stop, drain)
		}
	}
}

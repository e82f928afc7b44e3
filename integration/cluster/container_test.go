package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ory/dockertest/v3/docker"
)

// container is one container of a cluster.
type container struct {
	engine *engine
	id     string
	name   string // and host name
	on     string // network
}

// spec is what a container runs.
type spec struct {
	name, image string
	on          string   // network; or container:ID
	aliases     []string // on the network, beside the name
	also        []string // more networks
	args, env   []string
	keys        string // volume
	mayWrite    bool   // the volume
	root        bool   // user 0, who may listen on the wire and nothing else
	health      bool   // waits until it is healthy
}

// start makes a container and starts it.
func (e *engine) start(s spec) *container {
	t := e.t
	t.Helper()
	mode := ":ro"
	if s.mayWrite {
		mode = ""
	}
	config := &docker.Config{Image: s.image, Cmd: s.args, Env: s.env, Hostname: s.name}
	host := &docker.HostConfig{NetworkMode: s.on, CapDrop: []string{"ALL"}, ReadonlyRootfs: true}
	options := docker.CreateContainerOptions{Name: e.prefix + s.name, Config: config, HostConfig: host}
	if s.keys != "" {
		host.Binds = []string{s.keys + ":/keys" + mode}
	}
	if s.root {
		config.User, host.CapAdd = "0", []string{"NET_RAW"}
	}
	if s.health {
		config.Healthcheck = &docker.HealthConfig{Interval: 500 * time.Millisecond}
	}
	if !strings.HasPrefix(s.on, "container:") {
		options.NetworkingConfig = &docker.NetworkingConfig{EndpointsConfig: map[string]*docker.EndpointConfig{
			s.on: {Aliases: append([]string{s.name}, s.aliases...)},
		}}
	} else {
		config.Hostname = ""
	}
	made, err := e.CreateContainer(options)
	if err != nil {
		t.Fatalf("making %s: %v", s.name, err)
	}
	c := &container{engine: e, id: made.ID, name: s.name, on: s.on}
	for _, network := range s.also {
		c.connect(network, s.aliases...)
	}
	c.run()
	if s.health {
		await(t, s.name+" is healthy", func() (bool, string) {
			state := c.state()
			return state.Health.Status == "healthy", fmt.Sprintf("%s, %s", state.Status, state.Health.Status)
		})
	}
	return c
}

func (c *container) must(err error, doing string) {
	c.engine.t.Helper()
	if err != nil {
		c.engine.t.Fatalf("%s %s: %v", doing, c.name, err)
	}
}

func (c *container) run() {
	c.engine.t.Helper()
	c.must(c.engine.StartContainer(c.id, nil), "starting")
}

// stopTimeout is how many seconds a container has between SIGTERM and SIGKILL.
const stopTimeout = 60

// stop ends the container in order and checks that it ended so.
func (c *container) stop() {
	c.engine.t.Helper()
	c.engine.stop([]*container{c})
}

// stop ends containers in order, all at once.
func (e *engine) stop(all []*container) {
	e.t.Helper()
	failures := make([]error, len(all))
	var stopping sync.WaitGroup
	for i, c := range all {
		stopping.Go(func() {
			err := e.StopContainer(c.id, stopTimeout)
			if ended := (*docker.ContainerNotRunning)(nil); !errors.As(err, &ended) {
				failures[i] = err
			}
		})
	}
	stopping.Wait()
	for i, c := range all {
		c.must(failures[i], "stopping")
		if s := c.state(); s.ExitCode != 0 {
			e.t.Errorf("%s exited with %d\n%s", c.name, s.ExitCode, c.logs())
		}
	}
}

func (c *container) kill() {
	c.engine.t.Helper()
	c.must(c.engine.KillContainer(docker.KillContainerOptions{ID: c.id}), "killing")
}

func (c *container) remove() {
	c.engine.t.Helper()
	c.must(c.engine.RemoveContainer(docker.RemoveContainerOptions{ID: c.id, Force: true}), "removing")
}

func (c *container) connect(network string, aliases ...string) {
	c.engine.t.Helper()
	c.must(c.engine.ConnectNetwork(network, docker.NetworkConnectionOptions{
		Container: c.id, EndpointConfig: &docker.EndpointConfig{Aliases: append([]string{c.name}, aliases...)},
	}), "connecting")
}

func (c *container) disconnect(network string) {
	c.engine.t.Helper()
	c.must(c.engine.DisconnectNetwork(network, docker.NetworkConnectionOptions{Container: c.id}), "disconnecting")
}

func (c *container) state() docker.State {
	c.engine.t.Helper()
	made, err := c.engine.InspectContainer(c.id)
	c.must(err, "inspecting")
	return made.State
}

// wait waits for the container's own end and returns its exit code.
func (c *container) wait() int {
	c.engine.t.Helper()
	ctx, cancel := context.WithTimeout(c.engine.t.Context(), patience)
	defer cancel()
	code, err := c.engine.WaitContainerWithContext(c.id, ctx)
	c.must(err, "waiting for")
	return code
}

// output returns what the container has written to stdout and stderr.
func (c *container) output() (stdout, stderr string) {
	var out, err bytes.Buffer
	failed := c.engine.Logs(docker.LogsOptions{Container: c.id, OutputStream: &out, ErrorStream: &err, Stdout: true, Stderr: true})
	if failed != nil {
		fmt.Fprintf(&err, "reading the log: %v", failed)
	}
	return out.String(), err.String()
}

// logs returns both for people.
func (c *container) logs() string {
	out, err := c.output()
	return out + err
}

// awaitLog waits until the container has written text.
func (c *container) awaitLog(text string) {
	c.engine.t.Helper()
	await(c.engine.t, fmt.Sprintf("%s says %q", c.name, text), func() (bool, string) {
		log := c.logs()
		return strings.Contains(log, text), log
	})
}

// report ends a probe and reads what it saw.
func (c *container) report(into any) {
	c.engine.t.Helper()
	c.stop()
	out, _ := c.output()
	if err := json.Unmarshal([]byte(strings.TrimPrefix(out, "ready\n")), into); err != nil {
		c.engine.t.Fatalf("the report of %s: %v\n%s", c.name, err, c.logs())
	}
	c.remove()
}

// execute runs a program in the container and returns its stdout.
func (c *container) execute(args ...string) (string, error) {
	x, err := c.engine.CreateExec(docker.CreateExecOptions{Container: c.id, Cmd: args, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return "", err
	}
	var out, complaint bytes.Buffer
	if err := c.engine.StartExec(x.ID, docker.StartExecOptions{OutputStream: &out, ErrorStream: &complaint}); err != nil {
		return "", err
	}
	done, err := c.engine.InspectExec(x.ID)
	if err == nil && done.ExitCode != 0 {
		err = fmt.Errorf("%v: exit code %d: %s", args, done.ExitCode, &complaint)
	}
	return out.String(), err
}

// printLogs writes the end of each container's log.
func (e *engine) printLogs(w io.Writer) {
	for _, c := range e.containers(e.own) {
		fmt.Fprintf(w, "--- %s: %s\n", strings.TrimPrefix(c.Names[0], "/"), c.Status)
		_ = e.Logs(docker.LogsOptions{Container: c.ID, OutputStream: w, ErrorStream: w, Stdout: true, Stderr: true, Tail: "40"})
	}
}

// Times of a wait: for what comes by itself, and between two looks.
const (
	patience = time.Minute
	look     = 50 * time.Millisecond
)

// await waits until done says so; found is what it sees instead.
func await(t *testing.T, what string, done func() (ok bool, found string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, found := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s; instead: %s", patience, what, found)
		}
		time.Sleep(look)
	}
}

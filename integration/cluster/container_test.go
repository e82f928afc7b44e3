package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ory/dockertest/v3/docker"

	"github.com/servicetools/servicetools/integration/chaos"
)

// container is one container of a site. As a chaos.Peer it is what its one
// process is.
type container struct {
	t      testing.TB
	engine *engine
	id     string
	name   string
	on     string // network
}

// spec is what a container runs.
type spec struct {
	name, image string
	host        string   // name of the host, which its networks know; "" = name
	on          string   // network; or container:ID
	also        []string // more networks
	program     string   // of the image; "" = the usual one
	args, env   []string
	volumes     []string // volume:/path
	capability  string   // that user 0 keeps, beside whom there is nobody; "" = user 65532, who has none
	stdin       bool     // the test writes to it
}

// create makes a container.
func (s *site) create(x spec) *container {
	s.t.Helper()
	config := &docker.Config{Image: x.image, Cmd: x.args, Env: x.env, Hostname: x.host, OpenStdin: x.stdin, StdinOnce: x.stdin}
	host := &docker.HostConfig{NetworkMode: x.on, CapDrop: []string{"ALL"}, ReadonlyRootfs: true, Binds: x.volumes}
	if x.program != "" {
		config.Entrypoint = []string{x.program}
	}
	if x.capability != "" {
		config.User, host.CapAdd = "0", []string{x.capability}
	}
	options := docker.CreateContainerOptions{Name: s.prefix + x.name, Config: config, HostConfig: host}
	if x.on != "" && !strings.HasPrefix(x.on, "container:") {
		if x.host == "" {
			config.Hostname = x.name
		}
		options.NetworkingConfig = &docker.NetworkingConfig{EndpointsConfig: map[string]*docker.EndpointConfig{
			x.on: {Aliases: []string{config.Hostname}},
		}}
	}
	made, err := s.engine.CreateContainer(options)
	if err != nil {
		s.t.Fatalf("making %s: %v", x.name, err)
	}
	c := &container{t: s.t, engine: s.engine, id: made.ID, name: x.name, on: x.on}
	for _, network := range x.also {
		c.connect(network, config.Hostname)
	}
	return c
}

// start makes a container and starts it.
func (s *site) start(x spec) *container {
	s.t.Helper()
	c := s.create(x)
	c.must(s.engine.StartContainer(c.id, nil), "starting")
	return c
}

func (c *container) must(err error, doing string) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s %s: %v", doing, c.name, err)
	}
}

// stopTimeout is how many seconds a container has between SIGTERM and SIGKILL.
const stopTimeout = 60

// Stop implements chaos.Peer.
func (c *container) Stop() error {
	err := c.engine.StopContainer(c.id, stopTimeout)
	if ended := (*docker.ContainerNotRunning)(nil); err != nil && !errors.As(err, &ended) {
		return fmt.Errorf("stopping %s: %w", c.name, err)
	}
	if s := c.state(); s.ExitCode != 0 {
		return fmt.Errorf("%s exited with %d\n%s", c.name, s.ExitCode, c.Log())
	}
	return nil
}

// Kill implements chaos.Peer.
func (c *container) Kill() {
	c.must(c.engine.KillContainer(docker.KillContainerOptions{ID: c.id}), "killing")
	c.wait()
}

// Pause implements chaos.Peer.
func (c *container) Pause() { c.must(c.engine.PauseContainer(c.id), "pausing") }

// Resume implements chaos.Peer.
func (c *container) Resume() { c.must(c.engine.UnpauseContainer(c.id), "resuming") }

// Alive implements chaos.Peer.
func (c *container) Alive() bool { return c.state().Running }

// Log implements chaos.Peer.
func (c *container) Log() string {
	out, err := c.output()
	return out + err
}

func (c *container) remove() {
	c.t.Helper()
	c.must(c.engine.RemoveContainer(docker.RemoveContainerOptions{ID: c.id, Force: true}), "removing")
}

func (c *container) connect(network string, aliases ...string) {
	c.t.Helper()
	c.must(c.engine.ConnectNetwork(network, docker.NetworkConnectionOptions{
		Container: c.id, EndpointConfig: &docker.EndpointConfig{Aliases: aliases},
	}), "connecting")
}

func (c *container) disconnect(network string) {
	c.t.Helper()
	c.must(c.engine.DisconnectNetwork(network, docker.NetworkConnectionOptions{Container: c.id}), "disconnecting")
}

func (c *container) state() docker.State {
	c.t.Helper()
	made, err := c.engine.InspectContainer(c.id)
	c.must(err, "inspecting")
	return made.State
}

// wait waits for the container's own end and returns its exit code.
func (c *container) wait() int {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), chaos.Patience)
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

// awaitLog waits until the container has written text so often.
func (c *container) awaitLog(text string, times int) {
	c.t.Helper()
	what := fmt.Sprintf("%s says %q, %d times", c.name, text, times)
	chaos.Await(c.t, what, func() bool { return strings.Count(c.Log(), text) >= times }, c.Log)
}

// report ends a probe and reads what it saw.
func (c *container) report(into any) {
	c.t.Helper()
	if err := c.Stop(); err != nil {
		c.t.Fatal(err)
	}
	out, _ := c.output()
	if err := json.Unmarshal([]byte(strings.TrimPrefix(out, "ready\n")), into); err != nil {
		c.t.Fatalf("the report of %s: %v\n%s", c.name, err, c.Log())
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

package bench

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/curve"
)

//go:embed pyzmq/peer.py
var pyzmqPeer []byte

// pyzmqSpec is what a Python process needs to know.
type pyzmqSpec struct {
	Role     string   `json:"role"`
	Endpoint string   `json:"endpoint,omitempty"`
	Server   string   `json:"server,omitempty"`
	Key      []string `json:"key,omitempty"` // public and secret; none: in clear
	Workers  int      `json:"workers,omitempty"`
}

// pyzmq has the shape of the Python library that this project succeeds.
func pyzmq(name string, secure bool) *System {
	return &System{
		Name: name,
		Fits: func(c Cell) bool { return c.Workers == workerProcesses },
		Missing: func(*Site) error {
			if err := exec.Command(env.Python, "-c", "import zmq").Run(); err != nil {
				return fmt.Errorf("%s cannot import zmq: %w: apt-get install python3-zmq", env.Python, err)
			}
			return nil
		},
		Start: func(ctx context.Context, s *Site, l Layout) (*Running, error) {
			r := &Running{}
			return r, startPyzmq(ctx, s, r, name, secure, l)
		},
	}
}

func startPyzmq(ctx context.Context, s *Site, r *Running, name string, secure bool, l Layout) error {
	script := filepath.Join(s.Dir, "pyzmq-peer.py")
	if err := writePyzmq(script); err != nil {
		return err
	}
	argv := func(p pyzmqSpec) []string {
		spec, _ := json.Marshal(p) // a struct of strings and numbers
		return []string{env.Python, script, string(spec)}
	}
	proxy, peer := pyzmqSpec{Role: "proxy"}, pyzmqSpec{Role: "worker", Workers: l.perProcess()}
	if secure {
		server, own := curve.GenerateKey(), curve.GenerateKey()
		proxy.Key = []string{server.Public().String(), server.RevealZ85()}
		peer.Server, peer.Key = server.Public().String(), []string{own.Public().String(), own.RevealZ85()}
	}
	var err error
	if r.Broker, err = r.add(s.start(name+"-broker", argv(proxy)...)); err != nil {
		return err
	}
	addrs, err := r.Broker.ready(ctx)
	if err != nil {
		return err
	}
	frontend, backend, _ := strings.Cut(addrs, " ")
	peer.Endpoint = backend
	if _, err := r.startWorkers(ctx, s, name, argv(peer)); err != nil {
		return err
	}
	peer.Role, peer.Endpoint, peer.Workers = "client", frontend, 0
	return r.startClient(ctx, s, name, argv(peer))
}

func writePyzmq(path string) error { return os.WriteFile(path, pyzmqPeer, 0o600) }

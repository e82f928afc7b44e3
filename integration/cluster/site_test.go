package cluster

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ory/dockertest/v3/docker"

	"github.com/servicetools/servicetools/integration/chaos"
	"github.com/servicetools/servicetools/wire/curve"
)

// hosts stand for machines: each is a network of its own, on which its workers
// reach the broker and nobody else.
var hosts = []string{"a", "b", "c"}

// Paths in containers.
const (
	keysPath     = "/keys"
	journalsPath = "/journals"
	configPath   = "/etc/servicetools/server.ini"
)

// site is a chaos.Cluster of containers. The broker is that of the image; the
// workers and the clients, which keep journals, are the probe.
type site struct {
	t        testing.TB
	engine   *engine
	prefix   string // begins the names of all that belongs to it
	made     int    // containers, for their names
	workers  int    // among them, for their hosts
	keys     curve.Keyset
	keeper   *container // never runs: through it the test reaches the volumes
	frontend string     // network
	backend  []string   // by host
	broker   atomic.Pointer[container]
	operator atomic.Pointer[operator] // of that broker

	via    map[string]string // by worker or client: host:port that it dials instead of the broker's
	clocks map[string]string // by peer: how its clock is false
}

// sites counts them, for their names.
var sites atomic.Int64

// newSite makes networks and volumes. They, and all containers, end with the test.
func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{
		t: t, engine: theEngine, prefix: fmt.Sprintf("%s%d-", theEngine.prefix, sites.Add(1)),
		via: map[string]string{}, clocks: map[string]string{}, keys: curve.KeysetIn(t.TempDir()),
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.engine.printLogs(os.Stderr, s.own)
		}
		s.engine.sweepSites(s.own)
	})
	for _, path := range []string{keysPath, journalsPath} {
		_, err := s.engine.CreateVolume(docker.CreateVolumeOptions{Name: s.volume(path)})
		must(t, err)
	}
	s.keeper = s.create(spec{name: "keeper", image: s.engine.probeImage(), volumes: []string{s.mount(keysPath), s.mount(journalsPath)}})
	s.frontend = s.network("front")
	for _, h := range hosts {
		s.backend = append(s.backend, s.network("host-"+h))
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// own reports whether the site made what has the name.
func (s *site) own(name string) bool { return strings.HasPrefix(name, s.prefix) }

// volume is that of a path; mount is how it is mounted.
func (s *site) volume(path string) string { return s.prefix + path[1:] }

func (s *site) mount(path string) string { return s.volume(path) + ":" + path }

func (s *site) network(name string) string {
	s.t.Helper()
	n, err := s.engine.CreateNetwork(docker.CreateNetworkOptions{Name: s.prefix + name, Driver: "bridge"})
	must(s.t, err)
	return n.Name
}

// next returns a name for a container.
func (s *site) next(kind string) string {
	s.made++
	return kind + "-" + strconv.Itoa(s.made)
}

// AddKey implements chaos.Cluster.
func (s *site) AddKey(name string, role curve.Role) {
	s.t.Helper()
	_, err := s.keys.Generate(curve.Request{Name: name, Role: role})
	must(s.t, err)
	files := map[string]string{}
	for _, path := range []string{s.keys.PublicPath(name), s.keys.SecretPath(name)} {
		b, err := os.ReadFile(path)
		must(s.t, err)
		files[filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))] = string(b)
	}
	packed, err := archive(files)
	must(s.t, err)
	must(s.t, s.engine.UploadToContainer(s.keeper.id, docker.UploadToContainerOptions{InputStream: packed, Path: keysPath}))
}

// RevokeKey implements chaos.Cluster.
func (s *site) RevokeKey(name string) {
	s.t.Helper()
	c := s.start(spec{
		name: s.next("certtool"), image: s.engine.image("certtool"), on: s.frontend, volumes: []string{s.mount(keysPath)},
		args: []string{"revoke", "--path", keysPath, name},
	})
	if code := c.wait(); code != 0 {
		s.t.Fatalf("certtool revoke: exit code %d\n%s", code, c.Log())
	}
	c.remove()
}

// Journals implements chaos.Cluster.
func (s *site) Journals() string {
	s.t.Helper()
	var packed bytes.Buffer
	must(s.t, s.engine.DownloadFromContainer(s.keeper.id, docker.DownloadFromContainerOptions{OutputStream: &packed, Path: journalsPath}))
	dir := s.t.TempDir()
	for r := tar.NewReader(&packed); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		must(s.t, err)
		if h.Typeflag == tar.TypeReg {
			b, err := io.ReadAll(r)
			must(s.t, err)
			must(s.t, os.WriteFile(filepath.Join(dir, filepath.Base(h.Name)), b, 0o600))
		}
	}
}

// Ask implements chaos.Cluster.
func (s *site) Ask(result any, method string, args ...string) error {
	return s.operator.Load().ask(result, method, args...)
}

// patient are the settings in which a broker of containers differs from one of
// processes: an engine takes its time to pause or to connect one, and a
// busy host to run it.
var patient = map[string]string{"beat": "2s", "client_grace": "30s"}

// StartBroker implements chaos.Cluster. It waits until `broker health` says that the
// broker serves: a program in its container, as an operator runs it who has no key of his
// own.
func (s *site) StartBroker() chaos.Peer {
	s.t.Helper()
	x := spec{
		name: s.next("broker"), image: s.engine.image("broker"), host: "broker", on: s.frontend, also: s.backend,
		volumes: []string{s.mount(keysPath) + ":ro"},
	}
	settings := maps.Clone(chaos.Settings)
	maps.Copy(settings, patient)
	for key, value := range settings {
		x.env = append(x.env, "SERVICETOOLS_DISPATCH_"+strings.ToUpper(key)+"="+value)
	}
	if clock := s.clocks["broker"]; clock != "" {
		x.image, x.program, x.args = s.engine.probeImage(), "/broker", []string{"serve", "--config", configPath}
		x.env = append(x.env, chaos.RoleVariable+"="+chaos.RoleBroker, falseClockVariable+"="+clock)
	}
	c := s.start(x)
	chaos.Await(s.t, c.name+" is healthy", func() bool {
		_, err := c.execute("/broker", "health", "--config", configPath, "--timeout", "4s")
		return err == nil
	}, c.Log)
	s.broker.Store(c)
	if before := s.operator.Swap(s.newOperator(c)); before != nil {
		before.quit()
	}
	return c
}

// play is the probe in a role.
func (s *site) play(role, name, on string, args ...string) chaos.Peer {
	s.t.Helper()
	x := spec{
		name: s.next(name), image: s.engine.probeImage(), host: name, on: on, args: args,
		volumes: []string{s.mount(keysPath) + ":ro", s.mount(journalsPath)},
		env:     []string{chaos.RoleVariable + "=" + role, chaos.JournalsVariable + "=" + journalsPath},
	}
	if clock := s.clocks[name]; clock != "" {
		x.program, x.env = "/false", append(x.env, falseClockVariable+"="+clock)
	}
	return s.start(x)
}

// address returns what a peer dials.
func (s *site) address(peer, usual string) string {
	if other := s.via[peer]; other != "" {
		usual = other
	}
	return "tcp://" + usual
}

// there is where containers find the keys.
var there = curve.KeysetIn(keysPath)

// StartWorker implements chaos.Cluster. Workers go to each host in turn; the
// name of its host is a worker's id.
func (s *site) StartWorker(key, id string) chaos.Peer {
	s.t.Helper()
	s.workers++
	on := s.backend[s.workers%len(hosts)]
	return s.play(chaos.RoleWorker, id, on, "--server", s.address(id, "broker:9006"), "--cert", there.SecretPath(key),
		"--server-key", there.PublicPath("server"), "--concurrency", strconv.Itoa(chaos.Concurrency))
}

// StartClient implements chaos.Cluster.
func (s *site) StartClient(load chaos.Load) chaos.Peer {
	s.t.Helper()
	load = load.At(s.address(load.Name, "broker:8006"), there, journalsPath)
	return s.play(chaos.RoleClient, load.Name, s.frontend, load.Args()...)
}

package cluster

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"
)

// engine is the Docker engine that the tests drive.
type engine struct {
	*docker.Client
	prefix string     // begins the names of all that this run makes
	probe  string     // image
	built  bool       // the product's images are there
	t      *testing.T // the case that runs; cases run one after the other
}

// probePrefix begins the names of everything that any run makes; then follow
// the host and the process of the run.
const probePrefix = "servicetools-test-"

// theEngine is set by TestMain; nil if the tests are to do without.
var theEngine *engine

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if slices.Contains(strings.Split(os.Getenv("SERVICETOOLS_WITHOUT"), ","), "docker") {
		fmt.Fprintln(os.Stderr, "NOT RUN: the cluster tests (SERVICETOOLS_WITHOUT names docker)")
		return m.Run()
	}
	e, err := newEngine()
	if err != nil {
		fmt.Fprintf(os.Stderr, "the cluster tests need a Docker engine: %v: start one, or set SERVICETOOLS_WITHOUT=docker to run without them\n", err)
		return 1
	}
	theEngine = e
	e.sweep(e.abandoned)
	defer e.sweep(e.own)
	defer e.sweepOnSignal()()
	return m.Run()
}

// newEngine reaches the engine.
func newEngine() (*engine, error) {
	pool, err := dockertest.NewPool("")
	if err != nil {
		return nil, err
	}
	if err := pool.Client.Ping(); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	e := &engine{Client: pool.Client, prefix: fmt.Sprintf("%s%s-%d-", probePrefix, host, os.Getpid())}
	e.probe = strings.ToLower(e.prefix) + "probe"
	return e, nil
}

// sweepOnSignal cleans up when the run is interrupted, and shortly before its
// time limit, which would end it without a chance to. It returns a function
// that ends the watch.
func (e *engine) sweepOnSignal() (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var limit <-chan time.Time
	if f := flag.Lookup("test.timeout"); f != nil {
		if d, _ := time.ParseDuration(f.Value.String()); d > 0 {
			limit = time.After(d - min(d/4, 20*time.Second))
		}
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
		case <-limit:
			fmt.Fprintln(os.Stderr, "the tests' time limit is near:", flag.Lookup("test.timeout").Value)
			e.printLogs(os.Stderr)
		case <-done:
			return
		}
		e.sweep(e.own)
		os.Exit(1)
	}()
	return func() { close(done) }
}

// own reports whether this run made what has the name.
func (e *engine) own(name string) bool {
	return strings.HasPrefix(strings.ToLower(name), strings.ToLower(e.prefix))
}

// abandoned reports whether a run on this host that was killed made it.
func (e *engine) abandoned(name string) bool {
	host, _ := os.Hostname()
	rest, ours := strings.CutPrefix(strings.ToLower(name), strings.ToLower(probePrefix+host+"-"))
	owner, _, _ := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(owner)
	return ours && err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// containers lists the containers that this run has made.
func (e *engine) containers(match func(name string) bool) []docker.APIContainers {
	all, err := e.ListContainers(docker.ListContainersOptions{All: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, "listing containers:", err)
	}
	return slices.DeleteFunc(all, func(c docker.APIContainers) bool {
		return !slices.ContainsFunc(c.Names, func(n string) bool { return match(strings.TrimPrefix(n, "/")) })
	})
}

// sweep removes everything whose name matches.
func (e *engine) sweep(match func(name string) bool) {
	e.sweepSites(match)
	e.sweepImages(match)
}

func complain(what, name string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "removing %s %s: %v\n", what, name, err)
	}
}

// sweepSites removes containers, networks and volumes.
func (e *engine) sweepSites(match func(name string) bool) {
	for _, c := range e.containers(match) {
		complain("container", c.Names[0], e.RemoveContainer(docker.RemoveContainerOptions{ID: c.ID, Force: true, RemoveVolumes: true}))
	}
	networks, err := e.ListNetworks()
	complain("networks", "", err)
	for _, n := range networks {
		if match(n.Name) {
			complain("network", n.Name, e.RemoveNetwork(n.ID))
		}
	}
	volumes, err := e.ListVolumes(docker.ListVolumesOptions{})
	complain("volumes", "", err)
	for _, v := range volumes {
		if match(v.Name) {
			complain("volume", v.Name, e.RemoveVolumeWithOptions(docker.RemoveVolumeOptions{Name: v.Name}))
		}
	}
}

// sweepImages removes the images of a run.
func (e *engine) sweepImages(match func(name string) bool) {
	images, err := e.ListImages(docker.ListImagesOptions{})
	complain("images", "", err)
	for _, i := range images {
		for _, tag := range i.RepoTags {
			name, version, _ := strings.Cut(tag, ":")
			if match(name) || match(version) {
				complain("image", tag, e.RemoveImage(tag))
			}
		}
	}
}

// tag is that of the product's images of this run: another run, or the user,
// may build others meanwhile.
func (e *engine) tag() string { return e.prefix + "dev" }

func (e *engine) image(name string) string { return "servicetools/" + name + ":" + e.tag() }

// buildProduct builds the product's images, once.
func (e *engine) buildProduct(t *testing.T) {
	t.Helper()
	if e.built {
		return
	}
	e.built = true
	command(t, exec.Command("make", "-s", "-C", "../..", "images", "TAG="+e.tag()))
}

// buildProbe builds the image of the tests' own program.
func (e *engine) buildProbe(t *testing.T) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	command(t, build)
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	for name, content := range map[string][]byte{
		"Dockerfile": []byte("FROM scratch\nCOPY probe /probe\nUSER 65532:65532\nENTRYPOINT [\"/probe\"]\n"), "probe": b,
	} {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}))
		_, e := w.Write(content)
		err = errors.Join(err, e)
	}
	var said bytes.Buffer
	if err = errors.Join(err, w.Close()); err == nil {
		err = e.BuildImage(docker.BuildImageOptions{Name: e.probe, InputStream: &files, OutputStream: &said, RmTmpContainer: true})
	}
	if err != nil {
		t.Fatalf("the probe's image: %v\n%s", err, &said)
	}
}

func command(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c, err, out)
	}
}

package cluster

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"

	"github.com/servicetools/servicetools/integration/env"
)

// engine is the Docker engine that the tests drive.
type engine struct {
	*docker.Client
	prefix  string       // begins the names of all that this run makes
	product func() error // builds the product's images, once
	probe   func() error // builds the image of the tests' own program, once
}

// probePrefix begins the names of everything that any run makes; then follow
// the host and the process of the run.
const probePrefix = "servicetools-test-"

// theEngine is set by TestMain.
var theEngine *engine

func TestMain(m *testing.M) {
	env.SetParallel()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if env.Without("docker") {
		fmt.Fprintln(os.Stderr, "NOT RUN: the cluster tests (SERVICETOOLS_WITHOUT names docker)")
		return 0
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
	e.product, e.probe = sync.OnceValue(e.buildProduct), sync.OnceValue(e.buildProbe)
	return e, nil
}

// sweepOnSignal cleans up when the run is interrupted, and shortly before its
// time limit, which would end it without a chance to. It returns a function
// that ends the watch.
func (e *engine) sweepOnSignal() (stop func()) {
	signal.Ignore(syscall.SIGPIPE) // go test may be gone, and nobody read what is said while cleaning up
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
			e.printLogs(os.Stderr, e.own)
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

// printLogs writes the end of each container's log.
func (e *engine) printLogs(w io.Writer, match func(name string) bool) {
	for _, c := range e.containers(match) {
		fmt.Fprintf(w, "--- %s: %s\n", strings.TrimPrefix(c.Names[0], "/"), c.Status)
		_ = e.Logs(docker.LogsOptions{Container: c.ID, OutputStream: w, ErrorStream: w, Stdout: true, Stderr: true, Tail: "40"})
	}
}

// containers lists the containers whose name matches.
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

func (e *engine) probeImage() string { return strings.ToLower(e.prefix) + "probe" }

func (e *engine) buildProduct() error {
	return command(exec.Command("make", "-s", "-C", "../..", "images", "TAG="+e.tag()))
}

const probeFile = `FROM scratch
COPY --chown=65532:65532 keys /keys
COPY --chown=65532:65532 journals /journals
COPY probe false /
COPY false /broker
COPY server.ini /etc/servicetools/server.ini
USER 65532:65532
ENTRYPOINT ["/probe"]
`

// buildProbe builds the tests' own program twice: as it is, and with a false
// clock, which plays the broker, too.
func (e *engine) buildProbe() error {
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay, err := falseClock(dir)
	if err != nil {
		return err
	}
	settings, err := os.ReadFile("../../deploy/server.ini")
	if err != nil {
		return err
	}
	files := map[string]string{"Dockerfile": probeFile, "server.ini": string(settings)}
	for name, flags := range map[string][]string{"probe": nil, "false": {"-overlay", overlay}} {
		binary := filepath.Join(dir, name)
		build := exec.Command("go", slices.Concat([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", binary}, flags, []string{"./probe"})...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if err := command(build); err != nil {
			return err
		}
		b, err := os.ReadFile(binary)
		if err != nil {
			return err
		}
		files[name] = string(b)
	}
	context, err := archive(files, "keys/public_keys", "keys/private_keys", "journals")
	if err != nil {
		return err
	}
	var said bytes.Buffer
	err = e.BuildImage(docker.BuildImageOptions{Name: e.probeImage(), InputStream: context, OutputStream: &said, RmTmpContainer: true})
	if err != nil {
		return fmt.Errorf("the probe's image: %w\n%s", err, &said)
	}
	return nil
}

// archive packs files, by name, and empty folders for an engine. They belong to
// the images' user.
func archive(files map[string]string, folders ...string) (*bytes.Buffer, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, name := range folders {
		if err := w.WriteHeader(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: user, Gid: user}); err != nil {
			return nil, err
		}
	}
	for name, content := range files {
		mode := int64(0o755)
		if strings.HasSuffix(name, "_secret") {
			mode = 0o600
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Uid: user, Gid: user}); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, content); err != nil {
			return nil, err
		}
	}
	return &packed, w.Close()
}

// user is that of the images.
const user = 65532

func command(c *exec.Cmd) error {
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", c, err, out)
	}
	return nil
}

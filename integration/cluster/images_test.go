package cluster

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"path"
	"slices"
	"testing"

	"github.com/ory/dockertest/v3/docker"
)

// What images promise: one small static binary, nobody's user, no shell, and
// nothing that a container would have to write.
func TestImages(t *testing.T) {
	must(t, theEngine.product())
	for _, name := range []string{"broker", "demoworker", "zcall", "certtool", "demo"} {
		t.Run(name, func(t *testing.T) {
			image, err := theEngine.InspectImage(theEngine.image(name))
			must(t, err)
			t.Logf("%.1f MB", float64(image.Size)/1e6)
			if image.Size > 15e6 {
				t.Errorf("%d bytes", image.Size)
			}
			if image.Config.User != "65532:65532" {
				t.Errorf("it runs as %q", image.Config.User)
			}
			if checked := image.Config.Healthcheck != nil; checked != (name == "broker") {
				t.Errorf("it has a health check: %v", checked)
			}
			var programs []string
			for file := range filesOf(t, name) {
				if file.FileInfo().Mode().IsRegular() && file.Mode&0o111 != 0 && file.Size > 0 {
					programs = append(programs, path.Clean("/"+file.Name))
				}
			}
			if !slices.Equal(programs, []string{"/" + name}) {
				t.Errorf("its programs are %v", programs)
			}
		})
	}
}

// filesOf lists the files of an image.
func filesOf(t *testing.T, name string) func(yield func(*tar.Header) bool) {
	t.Helper()
	made, err := theEngine.CreateContainer(docker.CreateContainerOptions{
		Name: theEngine.prefix + "files-of-" + name, Config: &docker.Config{Image: theEngine.image(name)},
	})
	must(t, err)
	defer func() { must(t, theEngine.RemoveContainer(docker.RemoveContainerOptions{ID: made.ID})) }()
	var packed bytes.Buffer
	must(t, theEngine.ExportContainer(docker.ExportContainerOptions{ID: made.ID, OutputStream: &packed}))
	return func(yield func(*tar.Header) bool) {
		for r := tar.NewReader(&packed); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			must(t, err)
			if !yield(h) {
				return
			}
		}
	}
}

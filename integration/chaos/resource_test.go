//go:build linux

package chaos

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/servicetools/servicetools/broker"
)

// smallDisk mounts a file system of that size until the test ends; "" says that
// this cannot be done here.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Logf("NOT RUN: filling the log's disk: a file system of %s cannot be mounted here: %v; run this test as root", size, err)
		return ""
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves a disk without space until the function that it returns is called.
func (s *system) fill(disk string) (heal func()) {
	s.Helper()
	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	s.must(err)
	defer f.Close()
	if _, err = io.Copy(f, &zeros{}); !errors.Is(err, unix.ENOSPC) {
		s.Errorf("the disk is not full: %v", err)
	}
	return func() { s.must(os.Remove(ballast)) }
}

// zeros is an endless file.
type zeros struct{}

func (*zeros) Read(p []byte) (int, error) { return len(p), nil }

// A broker that cannot log any more goes on.
func TestFault_logDiskFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "256k")
	if disk == "" {
		return
	}
	s := newSystem(t, "[logging]\nlog_dir = "+disk+"\nlogging_mode = DEBUG\n")
	s.Usual()
	s.Under(func() {
		var heal func()
		s.Fault("filling the log's disk", 0, Beat, func() { heal = s.fill(disk) })
		for range 3 { // admissions are logged
			c, err := net.Dial("tcp", s.frontend)
			s.must(err)
			c.Close()
			s.AddWorker("extra")
			s.All(Workers + 1)
			s.inOrder(s.workers["extra"])
		}
		s.recover()
		heal()
	})
}

// A broker without file descriptors serves those who are connected, and takes
// others as soon as it can.
func TestFault_descriptorsExhausted(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.Usual()
	s.Under(func() {
		var heal func()
		s.Fault("200 silent peers on a broker with 8 descriptors left", 0, Beat, func() { heal = s.starve() })
		s.recover() // those who are connected are served meanwhile
		heal()
		s.AddWorker("late")
		s.All(Workers + 1)
	})
}

// A client that calls as fast as it can does not starve another.
func TestFault_flood(t *testing.T) {
	s := newSystem(t, "")
	each(func(id string) { s.AddWorker(id) })
	s.AddClient(Load{Name: "c", Callers: 4, HoldLeast: 10, HoldMost: 10})
	s.flowing()
	s.Rules.RateOf = "c"
	s.Rules.FloorShare = 0.3 // the flood has its share of the workers
	var from time.Time
	_, e := s.Under(func() {
		s.Fault("flood from a second client", 0, 0, func() {
			s.AddClient(Load{Name: "f", Cert: "other", Callers: 1000, HoldLeast: 10, HoldMost: 10})
			s.Await("the flood is there", func(v broker.StatusView) bool { return v.Queued > 500 })
		})
		from = time.Now()
	}, "queue_full")
	s.innocent(e, s.Rules.Baseline, Window{"flooded", from, s.Rules.Judged.To})
}

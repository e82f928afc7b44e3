//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A broker that cannot log any more goes on.
func TestFault_logDiskFull(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Logf("NOT RUN: a file system of 256 KiB cannot be mounted here: %v; run this test as root", err)
		return
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := newSystem(t, "[logging]\nlog_dir = "+disk+"\nlogging_mode = DEBUG\n")
	s.usual()
	s.baseline(after)
	ballast := filepath.Join(disk, "ballast")
	s.fault("filling the log's disk", 0, beat, func() {
		f, err := os.Create(ballast)
		s.must(err)
		defer f.Close()
		if _, err = io.Copy(f, &zeros{}); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
	})
	for range 3 { // admissions are logged
		c, err := net.Dial("tcp", s.frontend)
		s.must(err)
		c.Close()
		s.worker("extra", 1)
		s.all(workers + 1)
		if err := s.workers["extra"].Stop(startWait); err != nil {
			t.Error(err)
		}
	}
	s.recover()
	s.must(os.Remove(ballast))
	s.recover()
	s.rules.MayFail = []string{}
	s.settle()
}

// zeros is an endless file.
type zeros struct{}

func (*zeros) Read(p []byte) (int, error) { return len(p), nil }

// A broker without file descriptors serves those who are connected, and takes
// others as soon as it can.
func TestFault_descriptorsExhausted(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	var heal func()
	s.fault("200 silent peers on a broker with 8 descriptors left", 0, beat, func() { heal = s.starve() })
	s.recover() // those who are connected are served meanwhile
	heal()
	s.worker("late", 1)
	s.all(workers + 1)
	s.recover()
	s.rules.MayFail = []string{}
	s.settle()
}

// A client that calls as fast as it can does not starve another.
func TestFault_flood(t *testing.T) {
	s := newSystem(t, "")
	for i := range workers {
		s.worker(fmt.Sprintf("w%d", i+1), concurrency)
	}
	s.client(Load{Name: "c", Callers: 4, HoldLeast: 10, HoldMost: 10})
	s.flowing(workers)
	s.rules.RateOf = "c"
	s.rules.FloorShare = 0.3 // the flood has its share of the workers
	s.baseline(2 * time.Second)
	alone := Window{"alone", s.rules.Baseline.From, s.rules.Baseline.To}
	var flooded Window
	s.say("flood from a second client")
	from := time.Now()
	s.client(Load{Name: "f", Cert: "other", Callers: 1000, HoldLeast: 10, HoldMost: 10})
	s.eventually("the flood is there", func() bool { v, err := s.status(); return err == nil && v.Queued > 500 })
	s.rules.Faults = append(s.rules.Faults, Window{"begin of the flood", from, time.Now()})
	flooded.From = time.Now()
	s.recover()
	flooded.To = time.Now()
	s.rules.MayFail = []string{"queue_full"}
	_, e := s.settle()
	s.innocent(e, alone, flooded)
}

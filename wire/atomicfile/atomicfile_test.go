package atomicfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWrite_whileOthersRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.ini")
	version := func(n int) []byte { return bytes.Repeat([]byte{byte('a' + n)}, 10_000) }
	if err := Create(path, version(0), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
				}
				f, err := Open(path)
				if errors.Is(err, fs.ErrNotExist) { // it is away
					continue
				}
				if err != nil {
					t.Errorf("a reader gets %v", err)
					return
				}
				got, err := io.ReadAll(f)
				_ = f.Close()
				if err != nil || len(got) != 10_000 || bytes.Count(got, got[:1]) != len(got) {
					t.Errorf("a reader sees %d bytes of several versions, %v", len(got), err)
				}
			}
		})
	}
	for n := range 20 {
		if err := Write(path, version(n+1), 0o600); err != nil {
			t.Errorf("version %d: %v", n+1, err)
		}
	}
	for range 20 { // there and back
		if err := errors.Join(Move(path, path+".away"), Create(path, version(21), 0o600), os.Remove(path+".away")); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	readers.Wait()
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// What passes is waited for, but not for ever, and nothing else is.
func TestPatiently(t *testing.T) {
	busy, broken := errors.New("busy"), errors.New("broken")
	for name, row := range map[string]struct {
		fails []error // of each attempt; the last one stays
		want  error
		tries int // at least
		most  time.Duration
	}{
		"works at once":  {[]error{nil}, nil, 1, 0},
		"works at last":  {[]error{busy, busy, busy, nil}, nil, 4, 10 * time.Millisecond},
		"never works":    {[]error{busy}, busy, 40, patience},
		"is broken":      {[]error{broken}, broken, 1, 0},
		"breaks at last": {[]error{busy, broken}, broken, 2, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries, began := 0, time.Now()
				err := repeat(func() error {
					tries++
					return row.fails[min(tries, len(row.fails))-1]
				}, func(err error) bool { return err == busy })
				if took := time.Since(began); err != row.want || tries < row.tries || took > row.most {
					t.Errorf("%v after %d attempts and %v", err, tries, took)
				}
			})
		})
	}
}

// A file that somebody holds open for a while is replaced, on Windows once it is let go:
// TestWindows is where that is seen.
func TestWrite_waitsForAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.ini")
	if err := Create(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	held := time.AfterFunc(patience/10, func() { _ = f.Close() })
	defer held.Stop()
	if err := Write(path, []byte("new"), 0o600); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); string(got) != "new" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}

func TestWrite_fails(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := Create(there, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(full, "inner"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		err  error
		want error // nil: any
	}{
		"Create over a file":      {Create(there, []byte("new"), 0o600), fs.ErrExist},
		"Create over a folder":    {Create(full, []byte("new"), 0o600), fs.ErrExist},
		"Write over a folder":     {Write(full, []byte("new"), 0o600), nil},
		"Write to no folder":      {Write(filepath.Join(dir, "none", "x"), nil, 0o600), fs.ErrNotExist},
		"Move of nothing":         {Move(filepath.Join(dir, "none"), filepath.Join(dir, "x")), fs.ErrNotExist},
		"Move over another":       {Move(there, full), fs.ErrExist},
		"Open of what is nowhere": {func() error { _, err := Open(filepath.Join(dir, "none")); return err }(), fs.ErrNotExist},
	} {
		if row.err == nil || row.want != nil && !errors.Is(row.err, row.want) {
			t.Errorf("%s: %v, want %v", name, row.err, row.want)
		}
	}
	if got, err := os.ReadFile(there); string(got) != "old" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
	if info, err := os.Stat(there); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o640 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
}

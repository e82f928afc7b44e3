// Package atomicfile replaces and moves files in one step while others read
// them.
//
// POSIX lets a file be replaced that somebody has open. Windows refuses, for as
// long as the other has it open, and refuses to open a file just being replaced.
// Either passes in a moment, so opening, renaming and removing wait for it, for two
// seconds at most; then the error of the last attempt stands.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// patience bounds the waiting for others to let go of a file.
const patience = 2 * time.Second

// Open opens for reading a file that others may replace.
func Open(path string) (f *os.File, err error) {
	err = patiently(func() error {
		f, err = os.Open(path)
		return err
	})
	return f, err
}

// Write puts data at path: a reader sees the old file or the whole new one,
// even after a power cut. The file gets that mode, whatever the umask; Windows takes only
// the read-only bit of it.
func Write(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, rename)
}

// Create is Write, but an existing file is left alone, and the error matches
// fs.ErrExist.
func Create(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, Move)
}

// InUse reports whether an error may be that another program has the file open: one
// who looks again and again need not wait here. On POSIX it never is.
func InUse(err error) bool { return err != nil && inUse(err) }

// Move renames a file unless there is something at the new path; the error
// matches fs.ErrExist then. A link does both in one step; where the file system
// has no links, two writers may race.
func Move(from, to string) error {
	linked := false
	err := patiently(func() error {
		err := os.Link(from, to)
		if linked = err == nil; linked || errors.Is(err, fs.ErrExist) {
			return err
		}
		if _, err := os.Lstat(to); err == nil {
			return &fs.PathError{Op: "create", Path: to, Err: fs.ErrExist}
		}
		return os.Rename(from, to)
	})
	if !linked {
		return err
	}
	if err = patiently(func() error { return os.Remove(from) }); err != nil {
		os.Remove(to) // else the file would be at both
	}
	return err
}

func rename(from, to string) error {
	return patiently(func() error { return os.Rename(from, to) })
}

// write fills a file beside path and puts it there by place.
func write(path string, data []byte, mode fs.FileMode, place func(from, to string) error) error {
	// The name starts with a dot and ends like nothing that anybody looks for, so
	// that whoever follows the folder passes it over.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = place(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// patiently repeats what fails because another program has the file open.
func patiently(attempt func() error) error { return repeat(attempt, InUse) }

// repeat repeats what fails for a reason that passes.
func repeat(attempt func() error, passes func(error) bool) error {
	end := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, patience/40) {
		err := attempt()
		if !passes(err) || time.Now().Add(pause).After(end) {
			return err
		}
		time.Sleep(pause)
	}
}

package curve

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxFile bounds a certificate file, in bytes.
const maxFile = 64 << 10

// What is wrong with a certificate file, beside fs.ErrNotExist and the like.
var (
	// ErrExposed says that others may read a file that holds a secret key.
	ErrExposed = errors.New("curve: secret key file is open to others")
	// ErrBadCertificate says that a file's content is not a certificate.
	ErrBadCertificate = errors.New("curve: bad certificate")
)

// LoadCertificate reads a certificate file, public or secret, written by this
// package, czmq or pyzmq. Its errors name the file and the remedy and match
// fs.ErrNotExist or fs.ErrPermission where that is the reason.
//
// A secret file that others than its owner may touch gives the certificate
// together with an error that wraps ErrExposed: whoever goes on with it must
// decide to. Windows has no such mode bits, and nothing is checked there.
func LoadCertificate(path string) (*Certificate, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	if !info.Mode().IsRegular() { // a named pipe would block the reader for ever
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrBadCertificate, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fileError(path, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrBadCertificate, path, maxFile)
	}
	c, err := ParseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w; correct it or make a new one with certtool generate", ErrBadCertificate, path, err)
	}
	if !c.Secret.IsZero() && exposed(info.Mode()) {
		return c, fmt.Errorf("%w: %s has mode %04o; run chmod 600 %s", ErrExposed, path, info.Mode().Perm(), path)
	}
	return c, nil
}

func exposed(mode fs.FileMode) bool {
	return runtime.GOOS != "windows" && mode.Perm()&0o077 != 0
}

func fileError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		remedy := "make it with certtool generate"
		if filepath.Ext(path) != SecretExt {
			remedy = "copy it from the broker's public_keys folder, where certtool generate put it"
		}
		return fmt.Errorf("curve: certificate %s: %w; %s", path, fs.ErrNotExist, remedy)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("curve: this user may not read certificate %s; give it to the user with chown: %w", path, fs.ErrPermission)
	}
	return fmt.Errorf("curve: certificate: %w", err)
}

// writeFile puts data at path in one step: a reader sees the old file or the
// whole new one. Without overwrite an existing file is left alone and the error
// matches fs.ErrExist.
func writeFile(path string, data []byte, mode fs.FileMode, overwrite bool) (err error) {
	// The name starts with a dot and does not end like a certificate's, so that
	// nobody who follows the folder reads it.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("curve: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(mode); err != nil && runtime.GOOS != "windows" {
		return fmt.Errorf("curve: %w", err)
	}
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("curve: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("curve: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("curve: %w", err)
	}
	if overwrite {
		err = os.Rename(f.Name(), path)
	} else {
		err = renameNew(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("curve: %w", err)
	}
	return nil
}

// renameNew renames unless there is something at path. A link does both in one
// step; where the file system has no links, two writers may race.
func renameNew(from, path string) error {
	err := os.Link(from, path)
	if err == nil {
		return os.Remove(from)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	return os.Rename(from, path)
}

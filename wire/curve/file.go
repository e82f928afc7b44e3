package curve

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/servicetools/servicetools/wire/atomicfile"
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

// writeFile replaces the file at path in one step. Without overwrite an existing
// file is left alone and the error matches fs.ErrExist.
func writeFile(path string, data []byte, mode fs.FileMode, overwrite bool) error {
	write := atomicfile.Create
	if overwrite {
		write = atomicfile.Write
	}
	if err := write(path, data, mode); err != nil {
		return fmt.Errorf("curve: %w", err)
	}
	return nil
}

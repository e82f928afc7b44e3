package curve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/servicetools/servicetools/wire/atomicfile"
)

// Extensions of certificate files, and the folder of revoked ones beside them.
const (
	PublicExt  = ".key"
	SecretExt  = ".key_secret"
	RevokedDir = "revoked"
)

// Keyset is a pair of folders with certificates. The public one is what a
// broker follows; the secret one is the owner's alone.
type Keyset struct {
	PublicDir string
	SecretDir string
}

// KeysetIn returns the usual layout below dir: public_keys and private_keys.
func KeysetIn(dir string) Keyset {
	return Keyset{PublicDir: filepath.Join(dir, "public_keys"), SecretDir: filepath.Join(dir, "private_keys")}
}

// PublicPath returns the path of the public certificate of that name.
func (k Keyset) PublicPath(name string) string { return filepath.Join(k.PublicDir, name+PublicExt) }

// SecretPath returns the path of the secret certificate of that name.
func (k Keyset) SecretPath(name string) string { return filepath.Join(k.SecretDir, name+SecretExt) }

// Names returns the sorted names of all certificates, public or secret. A
// folder that does not exist has none.
func (k Keyset) Names() ([]string, error) {
	var names []string
	for _, d := range []struct{ dir, ext string }{{k.PublicDir, PublicExt}, {k.SecretDir, SecretExt}} {
		entries, err := os.ReadDir(d.dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("curve: %w", err)
		}
		for _, e := range entries {
			name, ok := strings.CutSuffix(e.Name(), d.ext)
			if ok && !e.IsDir() && !strings.HasPrefix(name, ".") {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Request says what Generate makes.
type Request struct {
	Name      string
	Role      Role
	Methods   []string // allow list, see ParseMethods; empty allows all
	Overwrite bool     // replace a pair of that name
}

// Generate makes a key pair and writes both its files: the secret one with mode
// 0600 into a folder of mode 0700. It makes the folders. Without Overwrite an
// existing file of either kind is left alone and the error matches fs.ErrExist.
func (k Keyset) Generate(r Request) (*Certificate, error) {
	if err := CheckName(r.Name); err != nil {
		return nil, err
	}
	if err := k.makeFolders(); err != nil {
		return nil, err
	}
	if !r.Overwrite {
		if err := k.CheckFree(r.Name); err != nil {
			return nil, err
		}
	}
	key := GenerateKey()
	c := &Certificate{
		Public:  key.Public(),
		Secret:  key,
		Role:    r.Role,
		Name:    r.Name,
		Created: time.Now().UTC().Truncate(time.Second),
		Methods: r.Methods,
	}
	// The secret first: a public file alone would admit a key that nobody has.
	public, secret := k.PublicPath(r.Name), k.SecretPath(r.Name)
	if err := writeFile(secret, c.secretText(), 0o600, r.Overwrite); err != nil {
		return nil, err
	}
	if err := writeFile(public, c.publicText(), 0o644, r.Overwrite); err != nil {
		if !r.Overwrite {
			os.Remove(secret)
		}
		return nil, err
	}
	return c, nil
}

// Ensure returns the secret certificate of that name, after generating it if
// there is none. An existing one is returned as it is, with its own role.
func (k Keyset) Ensure(r Request) (*Certificate, error) {
	r.Overwrite = false
	c, err := k.Generate(r)
	if errors.Is(err, fs.ErrExist) {
		return LoadCertificate(k.SecretPath(r.Name))
	}
	return c, err
}

// CheckFree returns an error that matches fs.ErrExist if there is a public or
// secret certificate of that name.
func (k Keyset) CheckFree(name string) error {
	for _, path := range []string{k.PublicPath(name), k.SecretPath(name)} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("curve: %s is there already; overwrite it or choose another name: %w", path, fs.ErrExist)
		}
	}
	return nil
}

func (k Keyset) makeFolders() error {
	if err := os.MkdirAll(k.PublicDir, 0o755); err != nil {
		return fmt.Errorf("curve: %w", err)
	}
	return makeSecretFolder(k.SecretDir)
}

func makeSecretFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("curve: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("curve: %w", err)
	}
	if !exposed(info.Mode()) {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("curve: secret keys need a folder of mode 0700: %w", err)
	}
	return nil
}

// Revoke moves the public certificate of that name to the folder of revoked
// ones and returns its new path. A broker that follows the public folder closes
// the key's sessions and refuses it from then on. The secret file stays.
func (k Keyset) Revoke(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	public := k.PublicPath(name)
	if _, err := os.Stat(public); err != nil {
		return "", fileError(public, err)
	}
	dir := filepath.Join(k.PublicDir, RevokedDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("curve: %w", err)
	}
	return archive(public, dir, name, PublicExt)
}

// Rotate replaces the pair of that name by a new one of the same role and
// methods. The old public certificate is revoked and the old secret one kept in
// a folder "revoked" of the secret folder.
func (k Keyset) Rotate(name string) (*Certificate, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	old, err := LoadCertificate(k.PublicPath(name))
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(k.SecretDir, RevokedDir)
	if err := makeSecretFolder(dir); err != nil {
		return nil, err
	}
	if _, err := k.Revoke(name); err != nil {
		return nil, err
	}
	if _, err := archive(k.SecretPath(name), dir, name, SecretExt); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return k.Generate(Request{Name: name, Role: old.Role, Methods: old.Methods})
}

// archive moves the file at path into dir under its name, with a number if the
// name is taken.
func archive(path, dir, name, ext string) (string, error) {
	for i := 1; ; i++ {
		target := filepath.Join(dir, name+ext)
		if i > 1 {
			target = filepath.Join(dir, fmt.Sprintf("%s.%d%s", name, i, ext))
		}
		err := atomicfile.Move(path, target)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("curve: %w", err)
		}
		return target, nil
	}
}

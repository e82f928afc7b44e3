package curve

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestKeyset_generate(t *testing.T) {
	k := KeysetIn(filepath.Join(t.TempDir(), "certs"))
	made, err := k.Generate(Request{Name: "ann", Role: RoleWorker, Methods: []string{"add", "word_*"}})
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]fs.FileMode{
		k.SecretDir:         0o700,
		k.SecretPath("ann"): 0o600,
		k.PublicPath("ann"): 0o644,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %04o, want %04o", path, info.Mode().Perm(), mode)
		}
	}
	for _, path := range []string{k.PublicPath("ann"), k.SecretPath("ann")} {
		c, err := LoadCertificate(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.Public != made.Public || c.Role != RoleWorker || c.Name != "ann" || !c.Created.Equal(made.Created) ||
			!slices.Equal(c.Methods, made.Methods) {
			t.Errorf("%s reads back as %+v", path, c)
		}
		secretThere := path == k.SecretPath("ann")
		if c.Secret.Equal(made.Secret) != secretThere {
			t.Errorf("%s: secret there: %t", path, !secretThere)
		}
	}
	if names, err := k.Names(); err != nil || !slices.Equal(names, []string{"ann"}) {
		t.Errorf("names %q, %v: temporary files may be left", names, err)
	}
}

func TestKeyset_neverReplacesUnasked(t *testing.T) {
	k := KeysetIn(t.TempDir())
	first, err := k.Generate(Request{Name: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"", k.PublicPath("ann"), k.SecretPath("ann")} {
		before := [2]string{read(k.PublicPath("ann")), read(k.SecretPath("ann"))}
		if gone != "" { // half a pair is still somebody's
			if err := os.Remove(gone); err != nil {
				t.Fatal(err)
			}
			before = [2]string{read(k.PublicPath("ann")), read(k.SecretPath("ann"))}
		}
		if _, err := k.Generate(Request{Name: "ann"}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("without %q: %v, want fs.ErrExist", gone, err)
		}
		if after := [2]string{read(k.PublicPath("ann")), read(k.SecretPath("ann"))}; after != before {
			t.Error("the files changed")
		}
		second, err := k.Generate(Request{Name: "ann", Overwrite: true})
		if err != nil {
			t.Fatal(err)
		}
		if second.Public == first.Public {
			t.Error("overwriting made the same key")
		}
	}
}

func TestKeyset_ensure(t *testing.T) {
	k := KeysetIn(t.TempDir())
	first, err := k.Ensure(Request{Name: "ann", Role: RoleWorker})
	if err != nil {
		t.Fatal(err)
	}
	second, err := k.Ensure(Request{Name: "ann", Role: RoleAdmin, Overwrite: true})
	if err != nil {
		t.Fatal(err)
	}
	if !second.Secret.Equal(first.Secret) || second.Role != RoleWorker {
		t.Errorf("the second time gives %+v", second)
	}
	if err := os.Remove(k.SecretPath("ann")); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Ensure(Request{Name: "ann"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a public file whose secret is elsewhere: %v", err)
	}
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "none"
	}
	return string(text)
}

func TestKeyset_narrowsItsSecretFolder(t *testing.T) {
	k := KeysetIn(t.TempDir())
	if err := os.MkdirAll(k.SecretDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Generate(Request{Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(k.SecretDir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of secrets has mode %v, %v", info.Mode(), err)
	}
}

func TestKeyset_revokeAndRotate(t *testing.T) {
	k := KeysetIn(t.TempDir())
	first, err := k.Generate(Request{Name: "ann", Role: RoleWorker, Methods: []string{"add"}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := k.Rotate("ann")
	if err != nil {
		t.Fatal(err)
	}
	if second.Public == first.Public || second.Role != RoleWorker || !slices.Equal(second.Methods, first.Methods) {
		t.Errorf("rotated to %+v", second)
	}
	path, err := k.Revoke("ann")
	if err != nil {
		t.Fatal(err)
	}
	for want, path := range map[PublicKey]string{
		first.Public:  filepath.Join(k.PublicDir, RevokedDir, "ann.key"),
		second.Public: path,
	} {
		if c, err := LoadCertificate(path); err != nil || c.Public != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	if !strings.HasSuffix(path, filepath.Join(RevokedDir, "ann.2.key")) {
		t.Errorf("revoked to %s", path)
	}
	old, err := LoadCertificate(filepath.Join(k.SecretDir, RevokedDir, "ann.key_secret"))
	if err != nil || !old.Secret.Equal(first.Secret) {
		t.Errorf("the old secret is not kept: %v", err)
	}
	if _, err := k.Revoke("ann"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("revoking twice: %v", err)
	}
	if _, err := k.Revoke("../ann"); err == nil {
		t.Error("a name left the folder")
	}
}

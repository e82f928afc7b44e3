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

// As zcert_save of czmq and create_certificates of pyzmq write them.
const (
	czmqSecretFile = `#   ****  Generated on 2026-03-01 10:00:00 by CZMQ  ****
#   ZeroMQ CURVE **Secret** Certificate
#   DO NOT PROVIDE THIS FILE TO OTHER USERS nor change its permissions.

metadata
    name = "Jerry"
    email = "jerry@example.org"
curve
    public-key = "` + knownPublic + `"
    secret-key = "` + knownSecret + `"
`
	pyzmqPublicFile = `#   ****  Generated on 2026-03-01 10:00:00.123456 by pyzmq  ****
#   ZeroMQ CURVE Public Certificate

metadata
curve
    public-key = "` + knownPublic + `"
`
	pyzmqMetadataFile = "metadata\n    name = Jerry # his name\n    role = worker\n    url = http://x/?a=b\ncurve\n" +
		"    public-key = '" + knownPublic + "'\n"
)

func TestParseCertificate(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       Certificate
		secret     bool
	}{
		{"czmq", czmqSecretFile, Certificate{Name: "Jerry"}, true},
		{"pyzmq", pyzmqPublicFile, Certificate{}, false},
		{"pyzmq with metadata", pyzmqMetadataFile, Certificate{Name: "Jerry", Role: RoleWorker}, false},
		{"Windows line ends and byte order mark", "\xef\xbb\xbf" + strings.ReplaceAll(pyzmqPublicFile, "\n", "\r\n"), Certificate{}, false},
		{"tabs", strings.ReplaceAll(pyzmqPublicFile, "    ", "\t"), Certificate{}, false},
		{"methods", "metadata\n    methods = \"add, word_*\"\n" + pyzmqPublicFile[strings.Index(pyzmqPublicFile, "curve"):], Certificate{Methods: []string{"add", "word_*"}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := ParseCertificate([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if c.Public.String() != knownPublic || c.Secret.IsZero() == test.secret {
				t.Errorf("keys: public %s, secret there: %t", c.Public, !c.Secret.IsZero())
			}
			if c.Name != test.want.Name || c.Role != test.want.Role || !slices.Equal(c.Methods, test.want.Methods) {
				t.Errorf("got %q %v %q", c.Name, c.Role, c.Methods)
			}
		})
	}
}

func TestParseCertificate_bad(t *testing.T) {
	for name, text := range map[string]string{
		"empty":                  "",
		"cut before the key":     pyzmqPublicFile[:strings.Index(pyzmqPublicFile, knownPublic)-1],
		"cut in the key":         pyzmqPublicFile[:strings.Index(pyzmqPublicFile, knownPublic)+20],
		"cut before the quote":   strings.TrimSuffix(pyzmqPublicFile, "\"\n"),
		"key outside its place":  "public-key = \"" + knownPublic + "\"\n",
		"zero key":               "curve\n    public-key = \"" + strings.Repeat("0", 40) + "\"\n",
		"two keys":               pyzmqPublicFile + "    public-key = \"" + knownSecret + "\"\n",
		"not a pair":             strings.Replace(czmqSecretFile, `"`+knownPublic, `"`+knownSecret, 1),
		"bad secret":             strings.Replace(czmqSecretFile, knownSecret, knownSecret[:39]+`~`, 1),
		"unknown role":           strings.Replace(pyzmqMetadataFile, "worker", "boss", 1),
		"star inside a pattern":  strings.Replace(pyzmqMetadataFile, "role = worker", "methods = a*b", 1),
		"empty pattern":          strings.Replace(pyzmqMetadataFile, "role = worker", "methods = a,,b", 1),
		"empty list of patterns": strings.Replace(pyzmqMetadataFile, "role = worker", "methods = ", 1),
	} {
		_, err := ParseCertificate([]byte(text))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, key := range []string{knownPublic[:20], knownSecret[:20]} {
			if strings.Contains(err.Error(), key) {
				t.Errorf("%s: the error repeats a key: %v", name, err)
			}
		}
	}
}

func FuzzParseCertificate(f *testing.F) {
	for _, text := range []string{czmqSecretFile, pyzmqPublicFile, pyzmqMetadataFile, "curve\npublic-key=", "a\n b='"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCertificate(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(c.Name, "\"\n") || CheckName(c.Name) != nil {
			c.Name = "" // our own files never hold such a name
		}
		written := c.publicText()
		if !c.Secret.IsZero() {
			written = c.secretText()
		}
		back, err := ParseCertificate(written)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if back.Public != c.Public || !back.Secret.Equal(c.Secret) || back.Role != c.Role || back.Name != c.Name || !slices.Equal(back.Methods, c.Methods) {
			t.Errorf("wrote %+v, read %+v", c, back)
		}
	})
}

func TestLoadCertificate_files(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		name, path string
		want       error
		words      string
	}{
		{"private secret", write("ok.key_secret", czmqSecretFile, 0o600), nil, ""},
		{"open public", write("ok.key", pyzmqPublicFile, 0o644), nil, ""},
		{"open secret", write("open.key_secret", czmqSecretFile, 0o640), ErrExposed, "chmod 600"},
		{"missing", filepath.Join(dir, "none.key"), fs.ErrNotExist, "certtool generate"},
		{"folder", dir, nil, "not a regular file"},
		{"huge", write("huge.key", strings.Repeat("#", maxFile+1), 0o600), nil, "larger than"},
		{"bad", write("bad.key", "hello", 0o600), nil, "certtool generate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := LoadCertificate(test.path)
			if test.words == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.words) || !strings.Contains(err.Error(), test.path) {
				t.Errorf("error %v does not name the file and %q", err, test.words)
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error %v is not %v", err, test.want)
			}
			if (c != nil) != (test.want == ErrExposed) {
				t.Error("only an exposed file gives a certificate beside an error")
			}
		})
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"server", "a", "3f0c1d2e-5a4b-4c3d-9e8f-000000000000", "ann@example.org", "A_b.c"} {
		if err := CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", ".hidden", "-x", "a/b", `a\b`, "..", "a b", "a\n", "a\"b", "é", "NUL", "con.x", "a.", strings.Repeat("a", 129)} {
		if CheckName(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

package certtool

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/servicetools/servicetools/wire/curve"
)

// tool runs certtool on a folder of its own.
type tool struct {
	*testing.T
	dir         string
	keys        curve.Keyset
	out, errOut string
}

func newTool(t *testing.T) *tool {
	dir := filepath.Join(t.TempDir(), "certs")
	return &tool{T: t, dir: dir, keys: curve.KeysetIn(dir)}
}

// run runs a command line whose DIR is the folder, and checks its exit code.
func (t *tool) run(want int, args ...string) {
	t.Helper()
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "DIR", t.dir)
	}
	var stdout, stderr bytes.Buffer
	got := Main(append([]string{"certtool"}, args...), &stdout, &stderr)
	t.out, t.errOut = stdout.String(), stderr.String()
	if got != want {
		t.Fatalf("certtool %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, want, t.out, t.errOut)
	}
	if want != ExitOK && want != ExitConfig && t.out != "" {
		t.Errorf("a failure writes data: %q", t.out)
	}
	t.holdsNoSecret()
}

// holdsNoSecret checks that no secret of the folder was printed.
func (t *tool) holdsNoSecret() {
	t.Helper()
	_ = filepath.WalkDir(t.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if c, _ := curve.LoadCertificate(path); c != nil && !c.Secret.IsZero() && strings.Contains(t.out+t.errOut, c.Secret.RevealZ85()) {
			t.Errorf("the secret of %s was printed", path)
		}
		return nil
	})
}

func (t *tool) says(words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(t.out+t.errOut, w) {
			t.Errorf("nothing says %q:\n%s%s", w, t.out, t.errOut)
		}
	}
}

func (t *tool) load(path string) *curve.Certificate {
	t.Helper()
	c, err := curve.LoadCertificate(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGenerate_roles(t *testing.T) {
	for _, test := range []struct {
		args []string
		name string
		role curve.Role
	}{
		{[]string{"--users", "server"}, "server", curve.RoleServer},
		{[]string{"--users", "worker"}, "worker", curve.RoleWorker},
		{[]string{"--users", "worker", "--name", "w7"}, "w7", curve.RoleWorker},
		{[]string{"--users=admin"}, "admin", curve.RoleAdmin},
		{[]string{"--users", "client", "--name", "ann"}, "ann", curve.RoleClient},
		{[]string{"--users", "user", "--name", "bob"}, "bob", curve.RoleClient},
		{[]string{"--name", "eve"}, "eve", curve.RoleClient},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			tool := newTool(t)
			tool.run(ExitOK, append([]string{"generate", "--path", "DIR"}, test.args...)...)
			public, secret := tool.load(tool.keys.PublicPath(test.name)), tool.load(tool.keys.SecretPath(test.name))
			if public.Role != test.role || secret.Role != test.role || public.Name != test.name || public.Public != secret.Public {
				t.Errorf("public %+v, secret %+v", public, secret)
			}
			if want := tool.keys.PublicPath(test.name) + "\n" + tool.keys.SecretPath(test.name) + "\n"; tool.out != want {
				t.Errorf("printed %q, want %q", tool.out, want)
			}
		})
	}
}

func TestGenerate_listOfUsers(t *testing.T) {
	tool := newTool(t)
	tool.run(ExitOK, "generate", "--path", "DIR", "--users", "server,admin,client", "--name", "ann")
	for name, role := range map[string]curve.Role{"server": curve.RoleServer, "admin": curve.RoleAdmin, "ann": curve.RoleClient} {
		if c := tool.load(tool.keys.SecretPath(name)); c.Role != role {
			t.Errorf("%s is a %s", name, c.Role)
		}
	}
	if strings.Count(tool.out, "\n") != 6 {
		t.Errorf("made %s", tool.out)
	}
}

func TestGenerate_clientsGetUUIDs(t *testing.T) {
	tool := newTool(t)
	tool.run(ExitOK, "generate", "--path", "DIR")
	tool.run(ExitOK, "generate", "--path", "DIR")
	names, err := tool.keys.Names()
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if uuid.Validate(name) != nil {
			t.Errorf("name %q is not a UUID", name)
		}
	}
}

func TestGenerate_all(t *testing.T) {
	tool := newTool(t)
	tool.run(ExitOK, "generate", "--path", "DIR", "--users", "all", "--name", "ann")
	for name, role := range map[string]curve.Role{"server": curve.RoleServer, "ann": curve.RoleClient, "worker": curve.RoleWorker, "admin": curve.RoleAdmin} {
		if c := tool.load(tool.keys.PublicPath(name)); c.Role != role {
			t.Errorf("%s has role %v", name, c.Role)
		}
	}
}

func TestGenerate_overwrite(t *testing.T) {
	tool := newTool(t)
	tool.run(ExitOK, "generate", "--path", "DIR", "--users", "worker")
	before := tool.load(tool.keys.SecretPath("worker")).Public

	tool.run(ExitFailure, "generate", "--path", "DIR", "--users", "worker")
	tool.says("worker.key", "--overwrite")
	tool.run(ExitFailure, "generate", "--path", "DIR", "--users", "all")
	if names, _ := tool.keys.Names(); len(names) != 1 {
		t.Errorf("a refused command wrote files: %q", names)
	}
	tool.run(ExitOK, "generate", "--path", "DIR", "--users", "all", "--name", "ann", "--keep")
	if tool.load(tool.keys.PublicPath("worker")).Public != before {
		t.Error("an existing certificate was replaced without --overwrite")
	}
	for _, flag := range []string{"--overwrite", "--overwrite=true", "--overwrite=True"} {
		tool.run(ExitOK, "generate", "--path", "DIR", "--users", "worker", flag)
		after := tool.load(tool.keys.PublicPath("worker")).Public
		if after == before || after != tool.load(tool.keys.SecretPath("worker")).Public {
			t.Errorf("%s did not replace the pair", flag)
		}
		before = after
	}
}

func TestUsageErrors(t *testing.T) {
	for _, test := range []struct {
		args  []string
		words string
	}{
		{nil, "generate, list"},
		{[]string{"lst"}, `unknown command "lst": use generate, list`},
		{[]string{"generate"}, "--path"},
		{[]string{"generate", "--path", "DIR", "--users", "boss"}, `"boss"`},
		{[]string{"generate", "--path", "DIR", "--colour", "red"}, "generate --help"},
		{[]string{"generate", "--path", "DIR", "users=server"}, "--users="},
		{[]string{"generate", "--path", "DIR", "--name", "a/b"}, "--name"},
		{[]string{"generate", "--path", "DIR", "--name", ""}, "--name"},
		{[]string{"generate", "--path", "DIR", "--users", "server", "--name", "x"}, `always named "server"`},
		{[]string{"generate", "--path", "DIR", "--users", "all", "--name", "worker"}, "names the client"},
		{[]string{"generate", "--path", "DIR", "--users", "server,admin", "--name", "ann"}, "names the client"},
		{[]string{"generate", "--path", "DIR", "--users", "server,server"}, "asks twice"},
		{[]string{"generate", "--path", "DIR", "--users", "worker,client", "--name", "worker"}, "asks twice"},
		{[]string{"generate", "--path", "DIR", "--users", "server,nobody"}, `"nobody" is not`},
		{[]string{"generate", "--path", "DIR", "--users", "worker,client", "--methods", "add"}, "own list"},
		{[]string{"generate", "--path", "DIR", "--methods", "a*b"}, "--methods"},
		{[]string{"generate", "--path", "DIR", "--keep", "--overwrite"}, "--keep"},
		{[]string{"generate", "--path", "DIR", "--overwrite=perhaps"}, "overwrite"},
		{[]string{"list"}, "--path"},
		{[]string{"list", "--path", "DIR", "-o", "xml"}, "table or json"},
		{[]string{"show", "--path", "DIR"}, "NAME"},
		{[]string{"show", "ann"}, "--path"},
		{[]string{"show", "ann", "--path"}, "NAME"},
		{[]string{"revoke", "--path", "DIR", "a", "b"}, "one NAME"},
		{[]string{"rotate", "--path", "DIR", "../a"}, "name"},
	} {
		tool := newTool(t)
		tool.run(ExitUsage, test.args...)
		tool.says(test.words)
		if _, err := os.Stat(tool.dir); err == nil {
			t.Errorf("%q wrote files", test.args)
		}
	}
}

func TestListAndShow(t *testing.T) {
	tool := newTool(t)
	tool.run(ExitOK, "generate", "--path", "DIR", "--users", "all", "--name", "ann")
	tool.run(ExitOK, "generate", "--path", "DIR", "--name", "bob", "--methods", "add, word_*")
	tool.run(ExitOK, "revoke", "--path", "DIR", "ann")

	tool.run(ExitOK, "list", "--path", "DIR", "-o", "json")
	var all []record
	if err := json.Unmarshal([]byte(tool.out), &all); err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, r := range all {
		states[r.Role.String()+" "+r.Name] += r.State
	}
	for who, want := range map[string]string{
		"server server": stateServer, "worker worker": stateAdmitted, "admin admin": stateAdmitted,
		"client bob": stateAdmitted, "client ann": stateRevoked,
	} {
		if states[who] != want {
			t.Errorf("%s is %q, want %q", who, states[who], want)
		}
	}
	tool.run(ExitOK, "list", "--path", "DIR")
	tool.says("NAME", "FINGERPRINT", "add,word_*", "revoked")

	bob := tool.load(tool.keys.PublicPath("bob"))
	for _, args := range [][]string{{"--path", "DIR", "bob"}, {tool.keys.PublicPath("bob")}, {tool.keys.SecretPath("bob")}} {
		tool.run(ExitOK, append([]string{"show"}, args...)...)
		tool.says(bob.Public.String(), bob.Public.Fingerprint(), "add,word_*", "client")
		tool.run(ExitOK, append([]string{"show", "-o", "json"}, args...)...)
		var r record
		if err := json.Unmarshal([]byte(tool.out), &r); err != nil || r.Name != "bob" || *r.PublicKey != bob.Public {
			t.Errorf("%s: %v", tool.out, err)
		}
	}
	tool.run(ExitFailure, "show", "--path", "DIR", "nobody")
	tool.run(ExitFailure, "show", filepath.Join(tool.dir, "none.key"))
	tool.says("none.key")
}

func TestRevokeAndRotate(t *testing.T) {
	tool := newTool(t)
	tool.run(ExitOK, "generate", "--path", "DIR", "--users", "worker", "--methods", "add")
	old := tool.load(tool.keys.SecretPath("worker"))

	tool.run(ExitOK, "rotate", "--path", "DIR", "worker")
	now := tool.load(tool.keys.SecretPath("worker"))
	if now.Public == old.Public || now.Role != old.Role || len(now.Methods) != 1 {
		t.Errorf("rotated to %+v", now)
	}
	archived := tool.load(filepath.Join(tool.keys.SecretDir, curve.RevokedDir, "worker.key_secret"))
	if !archived.Secret.Equal(old.Secret) {
		t.Error("the old secret is not kept")
	}

	tool.run(ExitOK, "revoke", "--path", "DIR", "worker")
	if c := tool.load(strings.TrimSpace(tool.out)); c.Public != now.Public {
		t.Error("another certificate was revoked")
	}
	if !tool.load(tool.keys.SecretPath("worker")).Secret.Equal(now.Secret) {
		t.Error("revoking took the secret file")
	}
	// Both old public files have names of their own; the secret one is the second's.
	tool.run(ExitOK, "list", "--path", "DIR")
	if got := strings.Count(tool.out, "\n"); got != 3 || strings.Contains(tool.out, stateUnknown) {
		t.Errorf("two revoked keys are listed as\n%s", tool.out)
	}
	tool.run(ExitOK, "show", "worker", "--path", "DIR")
	tool.says(now.Public.String(), stateRevoked, tool.keys.SecretPath("worker"))
	tool.run(ExitFailure, "revoke", "worker", "--path", "DIR")
	tool.says("is revoked already")
	tool.run(ExitFailure, "rotate", "worker", "--path", "DIR")
	tool.says("is revoked: make another key with certtool generate --users worker --name worker")
	tool.run(ExitFailure, "revoke", "--path", "DIR", "nobody")
	tool.run(ExitFailure, "rotate", "--path", "DIR", "nobody")
}

func TestVerify(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*tool)
		want  int
		words []string
	}{
		{"all is well", func(*tool) {}, ExitOK,
			[]string{"admits the key with role worker", "for the methods add", "the server's key", "the secret half of the pair"}},
		{"a revoked key", func(t *tool) { t.run(ExitOK, "revoke", "--path", "DIR", "ann") }, ExitOK,
			[]string{"it is revoked", "of no use while the key is revoked"}},
		{"an open secret", func(t *tool) { t.chmod(t.keys.SecretPath("ann"), 0o644) }, ExitConfig,
			[]string{"chmod 600"}},
		{"an open folder", func(t *tool) { t.chmod(t.keys.SecretDir, 0o755) }, ExitConfig,
			[]string{"chmod 700"}},
		{"halves of two pairs", func(t *tool) { t.copy(t.keys.SecretPath("worker"), t.keys.SecretPath("ann")) }, ExitConfig,
			[]string{"not the secret half"}},
		{"one key twice", func(t *tool) { t.copy(t.keys.PublicPath("ann"), t.keys.PublicPath("zoe")) }, ExitConfig,
			[]string{"the same key as"}},
		{"half a file", func(t *tool) { t.write(t.keys.PublicPath("ann"), "metadata\n") }, ExitConfig,
			[]string{"public-key"}},
		{"a secret among public keys", func(t *tool) { t.copy(t.keys.SecretPath("ann"), t.keys.PublicPath("ann")) }, ExitConfig,
			[]string{"among the public keys"}},
		{"a public file as secret", func(t *tool) { t.copy(t.keys.PublicPath("ann"), t.keys.SecretPath("ann")) }, ExitConfig,
			[]string{"no secret key in the file"}},
		{"a revoked key put back", func(t *tool) {
			t.run(ExitOK, "revoke", "--path", "DIR", "ann")
			t.copy(strings.TrimSpace(t.out), t.keys.PublicPath("ann"))
		}, ExitConfig, []string{"revokes"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tool := newTool(t)
			tool.run(ExitOK, "generate", "--path", "DIR", "--users", "all", "--name", "ann")
			tool.run(ExitOK, "generate", "--path", "DIR", "--users", "client", "--name", "bob", "--methods", "add")
			test.spoil(tool)
			tool.run(test.want, "verify", "--path", "DIR")
			tool.says(test.words...)
			tool.run(test.want, "verify", "--path", "DIR", "-o", "json")
			var findings []finding
			if err := json.Unmarshal([]byte(tool.out), &findings); err != nil || len(findings) == 0 {
				t.Errorf("%s: %v", tool.out, err)
			}
		})
	}
}

func TestShow_badCertificate(t *testing.T) {
	tool := newTool(t)
	tool.run(ExitOK, "generate", "--path", "DIR", "--name", "ann")
	tool.write(tool.keys.PublicPath("ann"), "hello")
	tool.run(ExitConfig, "show", "--path", "DIR", "ann")
	tool.says("ann.key")
	tool.run(ExitFailure, "list", "--path", filepath.Join(tool.dir, "elsewhere"))
	tool.says("certtool generate")
}

func TestHelpHasAnExampleForEachCommand(t *testing.T) {
	for _, c := range newApp(nil, nil).Commands {
		tool := newTool(t)
		tool.run(ExitOK, c.Name, "--help")
		tool.says("Example", "certtool "+c.Name)
	}
}

func (t *tool) chmod(path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func (t *tool) write(path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (t *tool) copy(from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	t.write(to, string(text))
}

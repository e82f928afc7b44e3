package curve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// drying is a source of randomness that fails after some bytes.
type drying struct{ left int }

var errDry = errors.New("the source is dry")

func (d *drying) Read(b []byte) (int, error) {
	if d.left == 0 {
		return 0, errDry
	}
	n := min(len(b), d.left)
	d.left -= n
	for i := range n {
		b[i] = byte(i + 1)
	}
	return n, nil
}

// Without randomness there is no handshake: nobody goes on with a key, a cookie
// or a nonce of zeros.
func TestHandshake_randomnessFails(t *testing.T) {
	const clientNeeds, serverNeeds = keySize + 16, keySize + cookieSize + 16
	for n := range serverNeeds + 1 {
		client, server := pair()
		server.random = &drying{n}
		c, s, _, _ := shake(t, client, server)
		if enough := n == serverNeeds; (s.err == nil) != enough || (c.err == nil) != enough || !enough && !errors.Is(s.err, errDry) {
			t.Fatalf("a server with %d random bytes: %v; its client: %v", n, s.err, c.err)
		}
	}
	for n := range clientNeeds + 1 {
		client, server := pair()
		client.random = &drying{n}
		c, s, _, _ := shake(t, client, server)
		if enough := n == clientNeeds; (c.err == nil) != enough || (s.err == nil) != enough || !enough && !errors.Is(c.err, errDry) {
			t.Fatalf("a client with %d random bytes: %v; its server: %v", n, c.err, s.err)
		}
	}
	if _, err := generateKey(&drying{keySize - 1}); !errors.Is(err, errDry) {
		t.Errorf("a key was made of %d random bytes: %v", keySize-1, err)
	}
}

// lazy is a connection on which writing fails from the nth command on, or
// reading does.
type lazy struct {
	zmtp.Commands
	writes, reads int
}

var errLazy = errors.New("the connection is gone")

func (l *lazy) WriteCommand(body []byte) error {
	if l.writes--; l.writes < 0 {
		return errLazy
	}
	return l.Commands.WriteCommand(body)
}

func (l *lazy) ReadCommand(limit int) ([]byte, error) {
	if l.reads--; l.reads < 0 {
		return nil, errLazy
	}
	return l.Commands.ReadCommand(limit)
}

// failing is a mechanism whose connection fails.
type failing struct {
	zmtp.Mechanism
	writes, reads int
}

func (f failing) Handshake(c zmtp.Commands, local zmtp.Metadata) (zmtp.Security, error) {
	return f.Mechanism.Handshake(&lazy{c, f.writes, f.reads}, local)
}

// Each step says that it was the one at which the connection failed.
func TestHandshake_connectionFails(t *testing.T) {
	for _, test := range []struct {
		server        bool
		writes, reads int
		step          string
	}{
		{false, 0, 9, "sending HELLO"}, {false, 9, 0, "waiting for WELCOME"}, {false, 1, 9, "sending INITIATE"}, {false, 9, 1, "waiting for READY"},
		{true, 9, 0, "waiting for HELLO"}, {true, 0, 9, "sending WELCOME"}, {true, 9, 1, "waiting for INITIATE"}, {true, 1, 9, "sending READY"},
	} {
		client, server := pair()
		var a, b zmtp.Mechanism = client, server
		if test.server {
			b = failing{server, test.writes, test.reads}
		} else {
			a = failing{client, test.writes, test.reads}
		}
		c, s, _, _ := shake(t, a, b)
		own := c.err
		if test.server {
			own = s.err
		}
		if !errors.Is(own, errLazy) || !strings.Contains(own.Error(), test.step) || c.err == nil || s.err == nil && test.step != "waiting for READY" {
			t.Errorf("%s: client %v, server %v", test.step, c.err, s.err)
		}
	}
}

// A server that holds its key may still be hostile: its transient key is of low
// order, or what it says does not fit.
func TestHandshake_hostileServer(t *testing.T) {
	key := GenerateKey()
	for name, transient := range map[string][keySize]byte{"zero": {}, "one": {1}} {
		client := &Client{Key: GenerateKey(), ServerKey: key.Public()}
		c, _, _, _ := shake(t, client, impostor{key, transient})
		if !errors.Is(c.err, errLowOrder) {
			t.Errorf("the transient key %s: %v", name, c.err)
		}
	}
}

// impostor is a server that answers HELLO with a transient key of its choice.
type impostor struct {
	key       SecretKey
	transient [keySize]byte
}

func (impostor) Name() string   { return "CURVE" }
func (impostor) AsServer() bool { return true }

func (f impostor) Handshake(c zmtp.Commands, _ zmtp.Metadata) (zmtp.Security, error) {
	body, err := c.ReadCommand(helloSize)
	if err != nil {
		return zmtp.Security{}, err
	}
	var shared sharedKey
	if err := shared.compute((*hello)(body).client(), f.key.key()); err != nil {
		return zmtp.Security{}, err
	}
	var m welcome
	copy(m[:], nameWelcome)
	plain := append(f.transient[:], make([]byte, cookieSize)...)
	shared.seal(m.box()[:0], plain, longNonce(prefixWelcome, m.nonce()))
	return zmtp.Security{}, errors.Join(c.WriteCommand(m[:]), io.EOF)
}

// More metadata than a server takes is an error at home, not a handshake that fails.
func TestHandshake_metadataTooLarge(t *testing.T) {
	client, server := pair()
	c, _, _, _ := shake(t, talkative{client}, server)
	if c.err == nil || !strings.Contains(c.err.Error(), "the limit is 2048") {
		t.Errorf("client: %v", c.err)
	}
}

type talkative struct{ zmtp.Mechanism }

func (m talkative) Handshake(c zmtp.Commands, local zmtp.Metadata) (zmtp.Security, error) {
	for i := range 8 {
		local = append(local, zmtp.Property{Name: fmt.Sprint("X-", i), Value: strings.Repeat("x", 255)})
	}
	return m.Mechanism.Handshake(c, local)
}

// Whatever is in the way of a file is named, and nothing half-made stays.
func TestKeyset_obstacles(t *testing.T) {
	file := func(path ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(append([]string{dir}, path...)...), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	folder := func(path ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Join(append(append([]string{dir}, path...), "not empty")...), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	generate := func(k Keyset) error { _, err := k.Generate(Request{Name: "bob"}); return err }
	overwrite := func(k Keyset) error { _, err := k.Generate(Request{Name: "bob", Overwrite: true}); return err }
	rotate := func(k Keyset) error { _, err := k.Rotate("ann"); return err }
	revoke := func(k Keyset) error { _, err := k.Revoke("ann"); return err }
	for _, test := range []struct {
		name  string
		fresh bool // no key ann beforehand
		put   func(*testing.T, string)
		do    func(Keyset) error
		names string // what the error names
	}{
		{"a file for the public folder", true, file("public_keys"), generate, "public_keys"},
		{"a file for the secret folder", true, file("private_keys"), generate, "private_keys"},
		{"a folder for the secret file", false, folder("private_keys", "bob.key_secret"), overwrite, "bob.key_secret"},
		{"a folder for the public file", false, folder("public_keys", "bob.key"), overwrite, "bob.key"},
		{"a file for the folder of the revoked", false, file("public_keys", "revoked"), revoke, "revoked"},
		{"the same, rotating", false, file("public_keys", "revoked"), rotate, "revoked"},
		{"a file for the folder of old secrets", false, file("private_keys", "revoked"), rotate, "revoked"},
		{"no key of that name", true, folder("public_keys"), rotate, "ann.key"},
		{"a bad name", false, folder("x"), func(k Keyset) error { _, err := k.Rotate("../ann"); return err }, "../ann"},
		{"a bad new name", false, folder("x"), func(k Keyset) error { _, err := k.Generate(Request{Name: "a/b"}); return err }, "a/b"},
		{"a file where names are looked for", true, file("public_keys"), func(k Keyset) error { _, err := k.Names(); return err }, "public_keys"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			k := KeysetIn(dir)
			if !test.fresh {
				if _, err := k.Generate(Request{Name: "ann"}); err != nil {
					t.Fatal(err)
				}
			}
			test.put(t, dir)
			err := test.do(k)
			if err == nil || !strings.Contains(err.Error(), test.names) {
				t.Errorf("error %v, want one that names %s", err, test.names)
			}
			left, _ := filepath.Glob(filepath.Join(dir, "*", ".*.tmp"))
			if len(left) > 0 {
				t.Errorf("%q stays", left)
			}
			if c, err := LoadCertificate(k.PublicPath("bob")); err == nil {
				t.Errorf("a public file of a key that nobody has: %+v", c)
			}
		})
	}
}

// Where two files of one name are wanted and one is there, neither is touched.
func TestWriteFile_race(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ann.key")
	if err := writeFile(path, []byte("first"), 0o644, false); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, []byte("second"), 0o644, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want fs.ErrExist", err)
	}
	if got := read(path); got != "first" {
		t.Errorf("the file holds %q", got)
	}
	if err := writeFile(path, []byte("third"), 0o644, true); err != nil || read(path) != "third" {
		t.Errorf("overwritten, it holds %q, %v", read(path), err)
	}
}

func TestLoadCertificate_pathThatCannotBe(t *testing.T) {
	if _, err := LoadCertificate("a\x00b"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestRole_text(t *testing.T) {
	for _, r := range []Role{RoleClient, RoleServer, RoleWorker, RoleAdmin} {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Role
		if err := json.Unmarshal(b, &back); err != nil || back != r || !bytes.Contains(b, []byte(r.String())) {
			t.Errorf("%v is %s, and back %v, %v", r, b, back, err)
		}
	}
	var r Role
	if err := json.Unmarshal([]byte(`"king"`), &r); err == nil {
		t.Error("a king is a role")
	}
	if got := Role(77).String(); got != "role 77" {
		t.Errorf("an unknown role prints as %q", got)
	}
}

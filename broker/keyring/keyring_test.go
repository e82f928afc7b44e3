package keyring

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
)

// story is a keyring over a folder of its own, in the time of a synctest bubble.
type story struct {
	*testing.T
	keys    curve.Keyset
	ring    *Keyring
	removed []curve.PublicKey
	logged  *lockedBuffer
	notice  chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tell runs a story. The system gives no notices in it but those that the story
// sends: the clock, which the story advances, makes the keyring look.
func tell(t *testing.T, before func(s *story), after func(s *story)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &story{T: t, keys: curve.KeysetIn(dir), logged: new(lockedBuffer), notice: make(chan struct{})}
		if err := os.MkdirAll(s.keys.PublicDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if before != nil {
			before(s)
		}
		ring, err := open(t.Context(), s.keys.PublicDir, slog.New(slog.NewTextHandler(s.logged, nil)), &notices{C: s.notice, stop: func() {}})
		if err != nil {
			t.Fatal(err)
		}
		defer ring.Close()
		s.ring = ring
		ring.OnRemove(func(k curve.PublicKey) { s.removed = append(s.removed, k) })
		after(s)
	})
}

// second lets one second pass, in which every change must take effect.
func (s *story) second() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func (s *story) generate(r curve.Request) curve.PublicKey {
	s.Helper()
	c, err := s.keys.Generate(r)
	if err != nil {
		s.Fatal(err)
	}
	return c.Public
}

func (s *story) write(name, text string) {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.keys.PublicDir, name), []byte(text), 0o644); err != nil {
		s.Fatal(err)
	}
}

func (s *story) text(name string) string {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(s.keys.PublicDir, name))
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

func (s *story) want(key curve.PublicKey, want Status) Entry {
	s.Helper()
	e, got := s.ring.Lookup(key)
	if got != want {
		s.Errorf("the key is %v, want %v; log:\n%s", got, want, s.logged)
	}
	return e
}

func TestKeyring_loads(t *testing.T) {
	var ann, worker, server curve.PublicKey
	tell(t, func(s *story) {
		ann = s.generate(curve.Request{Name: "ann"})
		worker = s.generate(curve.Request{Name: "worker", Role: curve.RoleWorker, Methods: []string{"add", "word_*"}})
		server = s.generate(curve.Request{Name: "server", Role: curve.RoleServer})
		s.write("notes.txt", "not a key")
		s.write("broken.key", "not a certificate")
	}, func(s *story) {
		if e := s.want(ann, Admitted); e.Role != curve.RoleClient || e.Name != "ann" || e.File != "ann.key" || e.Key != ann {
			t.Errorf("entry %+v", e)
		}
		if e := s.want(worker, Admitted); e.Role != curve.RoleWorker || !slices.Equal(e.Methods(), []string{"add", "word_*"}) {
			t.Errorf("entry %+v", e)
		}
		s.want(server, Unknown)
		s.want(curve.GenerateKey().Public(), Unknown)
		if s.ring.Len() != 2 || !strings.Contains(s.logged.String(), "broken.key") {
			t.Errorf("%d keys; log:\n%s", s.ring.Len(), s.logged)
		}
	})
}

func TestKeyring_followsItsFolder(t *testing.T) {
	tell(t, nil, func(s *story) {
		ann := s.generate(curve.Request{Name: "ann"})
		s.second()
		s.want(ann, Admitted)

		again := s.generate(curve.Request{Name: "ann", Overwrite: true})
		s.second()
		s.want(ann, Unknown)
		s.want(again, Admitted)

		if err := os.Remove(s.keys.PublicPath("ann")); err != nil {
			t.Fatal(err)
		}
		s.second()
		s.want(again, Unknown)
		if !slices.Equal(s.removed, []curve.PublicKey{ann, again}) {
			t.Errorf("%d removals were reported", len(s.removed))
		}
	})
}

// A key that is used at once is admitted as soon as its file counts, an unknown
// one waits for nothing but a change, and not for ever.
func TestKeyring_Expect(t *testing.T) {
	tell(t, nil, func(s *story) {
		waited := func(key curve.PublicKey, want Status) time.Duration {
			s.Helper()
			began := time.Now()
			if _, status := s.ring.Expect(key); status != want {
				s.Errorf("the key is %v, want %v", status, want)
			}
			return time.Since(began)
		}
		noticed := func() {
			s.notice <- struct{}{}
			synctest.Wait()
		}
		stranger := s.generate(curve.Request{Name: "stranger", Role: curve.RoleClient})
		if err := os.Remove(s.keys.PublicPath("stranger")); err != nil {
			s.Fatal(err)
		}
		if d := waited(stranger, Unknown); d != 0 {
			s.Errorf("without a change an unknown key waits for %v", d)
		}
		ann := s.generate(curve.Request{Name: "ann", Role: curve.RoleClient})
		noticed()
		if d := waited(ann, Admitted); d == 0 || d > settle+settle/2 {
			s.Errorf("a new key waits for %v", d)
		}
		if d := waited(stranger, Unknown); d != 0 {
			s.Errorf("after the change an unknown key waits for %v", d)
		}
		noticed()
		if d := waited(ann, Admitted); d != 0 {
			s.Errorf("during a change an admitted key waits for %v", d)
		}
		s.second()

		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() { // a file that is written for ever
			defer close(stopped)
			for i := 0; ; i++ {
				if err := os.WriteFile(filepath.Join(s.keys.PublicDir, "endless.key"), make([]byte, i), 0o600); err != nil {
					s.Error(err)
				}
				select {
				case s.notice <- struct{}{}:
				case <-stop:
					return
				}
				time.Sleep(settle / 4)
			}
		}()
		synctest.Wait()
		if d := waited(stranger, Unknown); d != poll {
			s.Errorf("while the folder changes an unknown key waits for %v", d)
		}
		close(stop)
		<-stopped
	})
}

func TestKeyring_revocation(t *testing.T) {
	tell(t, nil, func(s *story) {
		ann, bob := s.generate(curve.Request{Name: "ann"}), s.generate(curve.Request{Name: "bob"})
		s.second()
		path, err := s.keys.Revoke("ann")
		if err != nil {
			t.Fatal(err)
		}
		s.second()
		s.want(ann, Revoked)
		s.want(bob, Admitted)
		if !slices.Equal(s.removed, []curve.PublicKey{ann}) {
			t.Errorf("%d removals were reported", len(s.removed))
		}

		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s.write("ann.key", string(text))
		s.second()
		s.want(ann, Revoked) // a copy that somebody puts back does not count
		if !strings.Contains(s.logged.String(), "the key is revoked by") {
			t.Errorf("log:\n%s", s.logged)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		s.second()
		s.want(ann, Admitted)
	})
}

func TestKeyring_halfWrittenFilesChangeNothing(t *testing.T) {
	var ann curve.PublicKey
	tell(t, func(s *story) { ann = s.generate(curve.Request{Name: "ann", Role: curve.RoleWorker}) }, func(s *story) {
		whole := s.text("ann.key")
		for _, size := range []int{0, 1, len(whole) / 2, len(whole) - 3} {
			s.write("ann.key", whole[:size])
			s.second()
			s.want(ann, Admitted)
		}
		s.write("ann.key", whole)
		s.second()
		s.want(ann, Admitted)

		// A whole key above a role that is still to come must not admit a client.
		lines := strings.Index(whole, "metadata")
		curveFirst := whole[:lines] + whole[strings.Index(whole, "curve\n"):]
		bob := s.generate(curve.Request{Name: "bob", Role: curve.RoleAdmin})
		if err := os.Remove(s.keys.PublicPath("bob")); err != nil {
			t.Fatal(err)
		}
		slow := strings.ReplaceAll(curveFirst, ann.String(), bob.String())
		for range 30 { // a writer that adds something all the time
			slow += "\n"
			s.write("bob.key", slow)
			time.Sleep(settle / 2)
			synctest.Wait()
			s.want(bob, Unknown)
		}
		s.write("bob.key", slow+"metadata\n    role = \"admin\"\n")
		s.second()
		if e := s.want(bob, Admitted); e.Role != curve.RoleAdmin {
			t.Errorf("admitted as %v", e.Role)
		}
		if len(s.removed) != 0 {
			t.Error("a half-written file ended an admission")
		}
	})
}

func TestKeyring_shortAbsenceIsNoRemoval(t *testing.T) {
	var ann curve.PublicKey
	tell(t, func(s *story) { ann = s.generate(curve.Request{Name: "ann"}) }, func(s *story) {
		// As editors save: the old file is moved away, then the new one written.
		path := s.keys.PublicPath("ann")
		time.Sleep(poll - settle/2)
		if err := os.Rename(path, path+"~"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(settle)
		synctest.Wait()
		s.want(ann, Admitted)
		if err := os.Rename(path+"~", path); err != nil {
			t.Fatal(err)
		}
		s.second()
		s.want(ann, Admitted)
		if len(s.removed) != 0 {
			t.Error("a short absence ended the admission")
		}
	})
}

func TestKeyring_changeOfRoleEndsSessions(t *testing.T) {
	var ann curve.PublicKey
	tell(t, func(s *story) { ann = s.generate(curve.Request{Name: "ann"}) }, func(s *story) {
		text := s.text("ann.key")
		s.write("ann.key", strings.Replace(text, `role = "client"`, `role = "worker"`, 1))
		s.second()
		if e := s.want(ann, Admitted); e.Role != curve.RoleWorker {
			t.Errorf("role %v", e.Role)
		}
		s.write("ann.key", text+"# a remark\n")
		s.second()
		s.write("ann.key", text+"# another\n")
		s.second()
		if !slices.Equal(s.removed, []curve.PublicKey{ann, ann}) {
			t.Errorf("%d removals were reported, want one for each change of role", len(s.removed))
		}
	})
}

func TestKeyring_oneKeyInTwoFiles(t *testing.T) {
	var ann curve.PublicKey
	tell(t, func(s *story) {
		ann = s.generate(curve.Request{Name: "ann"})
		s.write("zoe.key", strings.ReplaceAll(s.text("ann.key"), `role = "client"`, `role = "admin"`))
	}, func(s *story) {
		if e := s.want(ann, Admitted); e.Role != curve.RoleClient {
			t.Errorf("admitted as %v: the first file counts", e.Role)
		}
		s.second()
		s.second()
		if n := strings.Count(s.logged.String(), "the key is in ann.key too"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, s.logged)
		}
		if err := os.Remove(s.keys.PublicPath("ann")); err != nil {
			t.Fatal(err)
		}
		s.second()
		if e := s.want(ann, Admitted); e.Role != curve.RoleAdmin {
			t.Errorf("admitted as %v by the file that is left", e.Role)
		}
	})
}

func TestKeyring_secretAmongPublicKeys(t *testing.T) {
	tell(t, nil, func(s *story) {
		ann := s.generate(curve.Request{Name: "ann"})
		secret, err := os.ReadFile(s.keys.SecretPath("ann"))
		if err != nil {
			t.Fatal(err)
		}
		s.write("ann.key", string(secret))
		s.second()
		s.want(ann, Admitted)
		c, err := curve.ParseCertificate(secret)
		if err != nil {
			t.Fatal(err)
		}
		if log := s.logged.String(); !strings.Contains(log, "a secret key lies") || strings.Contains(log, c.Secret.RevealZ85()) {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestKeyring_folderThatVanishesKeepsTheKeys(t *testing.T) {
	var ann curve.PublicKey
	tell(t, func(s *story) { ann = s.generate(curve.Request{Name: "ann"}) }, func(s *story) {
		away := s.keys.PublicDir + ".away"
		if err := os.Rename(s.keys.PublicDir, away); err != nil {
			t.Fatal(err)
		}
		s.second()
		s.second()
		s.want(ann, Admitted)
		if n := strings.Count(s.logged.String(), "cannot be read"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, s.logged)
		}
		if err := os.Rename(away, s.keys.PublicDir); err != nil {
			t.Fatal(err)
		}
		s.second()
		s.want(ann, Admitted)
		if len(s.removed) != 0 {
			t.Error("a folder that was away revoked keys")
		}
	})
}

func TestOpen_missingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	_, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "certtool generate") {
		t.Errorf("error %v does not name the folder and the remedy", err)
	}
}

// TestOpen_notices is the one test with the system's real notices and clock.
func TestOpen_notices(t *testing.T) {
	keys := curve.KeysetIn(t.TempDir())
	first, err := keys.Generate(curve.Request{Name: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ring, err := Open(ctx, keys.PublicDir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	removed := make(chan curve.PublicKey)
	ring.OnRemove(func(k curve.PublicKey) { removed <- k })
	if _, err := keys.Revoke("ann"); err != nil {
		t.Fatal(err)
	}
	if k := <-removed; k != first.Public {
		t.Errorf("removed %s", k)
	}
	if _, status := ring.Lookup(first.Public); status != Revoked {
		t.Errorf("the key is %v", status)
	}
	cancel()
	ring.Close()
	ring.Close()
	if _, status := ring.Lookup(first.Public); status != Revoked {
		t.Error("a closed keyring forgot its keys")
	}
}

func TestEntry_Allows(t *testing.T) {
	for _, test := range []struct {
		patterns []string
		name     string
		want     bool
	}{
		{nil, "anything", true},
		{[]string{"add"}, "add", true},
		{[]string{"add"}, "add2", false},
		{[]string{"add"}, "Add", false},
		{[]string{"word_*"}, "word_count", true},
		{[]string{"word_*"}, "word_", true},
		{[]string{"word_*"}, "sword_count", false},
		{[]string{"*"}, "anything", true},
		{[]string{"sub", "add"}, "add", true},
	} {
		e := Entry{methods: test.patterns}
		if e.Allows(test.name) != test.want {
			t.Errorf("%q allows %q: %t", test.patterns, test.name, !test.want)
		}
	}
	if !(Entry{methods: []string{"ReturnNonSense"}}).Allows("return_non_sense", "ReturnNonSense") {
		t.Error("no name of a method with two is allowed")
	}
}

func TestKeyring_lookupAllocatesNothing(t *testing.T) {
	var ann curve.PublicKey
	tell(t, func(s *story) { ann = s.generate(curve.Request{Name: "ann"}) }, func(s *story) {
		if n := testing.AllocsPerRun(100, func() { s.ring.Lookup(ann) }); n != 0 {
			t.Errorf("a lookup allocates %v times", n)
		}
	})
}

package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/servicetools/servicetools/wire/atomicfile"
	"github.com/servicetools/servicetools/wire/curve"
)

// folder is the followed folder as it was last read. It is owned by one
// goroutine.
type folder struct {
	dir string
	log *slog.Logger

	files     map[string]*file  // by path below dir, "ann.key" or "revoked/ann.key"
	unsettled bool              // some file has changed and not settled yet
	broken    bool              // the folder itself could not be read, and that was logged
	notes     map[string]string // what was logged about whole certificates, by file
}

// file is one certificate file. Its content counts once it has settled, and
// until then the last good content does: a half-written file changes nothing.
type file struct {
	info    fs.FileInfo // as last seen; nil while it is missing
	since   time.Time   // when it was first seen so
	settled bool        // the content of info has been judged
	good    *curve.Certificate
}

// load reads the folder for the first time. Nothing has to settle: what is
// there was there before the broker.
func (f *folder) load(now time.Time) error {
	if err := f.look(now); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keyring: the public-key folder %s: %w; make it with certtool generate --path DIR --users all", f.dir, fs.ErrNotExist)
		}
		return fmt.Errorf("keyring: reading the public-key folder: %w", err)
	}
	f.judge(now.Add(settle))
	return nil
}

// refresh reads the folder again and reports whether any content changed. A
// folder that cannot be read changes nothing.
func (f *folder) refresh(now time.Time) bool {
	if err := f.look(now); err != nil {
		if !f.broken {
			f.log.Error("the public-key folder cannot be read; the keys stay as they are until it can", "dir", f.dir, "err", err)
		}
		f.broken = true
		return false
	}
	if f.broken {
		f.log.Info("the public-key folder can be read again", "dir", f.dir)
		f.broken = false
	}
	return f.judge(now)
}

// look notes which files are there and whether they changed.
func (f *folder) look(now time.Time) error {
	present, err := list(f.dir, "")
	if err != nil {
		return err
	}
	revoked, err := list(f.dir, curve.RevokedDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for path, info := range revoked {
		present[path] = info
	}
	for path, info := range present {
		known := f.files[path]
		if known == nil {
			known = new(file)
			f.files[path] = known
		}
		known.saw(info, now)
	}
	for path, known := range f.files {
		if present[path] == nil {
			known.saw(nil, now)
		}
	}
	return nil
}

// list returns the certificate files of dir/sub by their paths below dir.
func list(dir, sub string) (map[string]fs.FileInfo, error) {
	entries, err := os.ReadDir(filepath.Join(dir, sub))
	if err != nil {
		return nil, err
	}
	found := make(map[string]fs.FileInfo)
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, curve.PublicExt) || strings.HasPrefix(name, ".") {
			continue
		}
		// Stat, not Lstat: orchestrators mount keys as links to what they swap.
		info, err := os.Stat(filepath.Join(dir, sub, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			found[filepath.Join(sub, name)] = info
		}
	}
	return found, nil
}

func (f *file) saw(info fs.FileInfo, now time.Time) {
	if !f.is(info) {
		f.info, f.since, f.settled = info, now, false
	}
}

// is reports whether the file is as it was when it was last seen.
func (f *file) is(info fs.FileInfo) bool {
	if info == nil || f.info == nil {
		return info == nil && f.info == nil
	}
	return os.SameFile(info, f.info) && info.Size() == f.info.Size() && info.ModTime().Equal(f.info.ModTime())
}

// judge takes over what has settled and reports whether anything changed.
func (f *folder) judge(now time.Time) (changed bool) {
	f.unsettled = false
	for path, known := range f.files {
		if known.settled {
			continue
		}
		if now.Sub(known.since) < settle {
			f.unsettled = true
			continue
		}
		known.settled = true
		if known.info == nil {
			delete(f.files, path)
			changed = changed || known.good != nil
			continue
		}
		c, err := curve.LoadCertificate(filepath.Join(f.dir, path))
		if info, err := os.Stat(filepath.Join(f.dir, path)); err != nil || !known.is(info) {
			known.since, known.settled = now, false // it changed while it was read
			f.unsettled = true
			continue
		}
		if atomicfile.InUse(err) {
			known.since, known.settled = now, false // whoever has it open lets go of it
			f.unsettled = true
			continue
		}
		if err != nil && !errors.Is(err, curve.ErrExposed) {
			f.log.Warn("a certificate is not valid and changes nothing", "file", path, "err", err)
			continue
		}
		known.good = c
		changed = true
	}
	return changed
}

// snapshot builds the state that the files' last good contents make.
func (f *folder) snapshot() *snapshot {
	s := &snapshot{admitted: make(map[curve.PublicKey]Entry), revoked: make(map[curve.PublicKey]string)}
	notes := make(map[string]string)
	paths := make([]string, 0, len(f.files))
	for path, known := range f.files {
		if known.good != nil {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths) // so that of two files with one key the same one always counts
	for _, path := range paths {
		c := f.files[path].good
		if !c.Secret.IsZero() {
			notes[path] = "a secret key lies in the public-key folder; move the file to where only its owner reads, and rotate the key"
		}
		if filepath.Dir(path) == curve.RevokedDir {
			s.revoked[c.Public] = path
			continue
		}
		if c.Role == curve.RoleServer {
			continue // a server's key is what peers know, not a peer's
		}
		if first, twice := s.admitted[c.Public]; twice {
			notes[path] = "the key is in " + first.File + " too, which counts; remove one of the files"
			continue
		}
		s.admitted[c.Public] = newEntry(c, path)
	}
	for key, path := range s.revoked {
		if e, ok := s.admitted[key]; ok {
			notes[e.File] = "the key is revoked by " + path + ", which counts; remove one of the files"
			delete(s.admitted, key)
		}
	}
	f.logNotes(notes)
	return s
}

// logNotes logs what is new among the notes.
func (f *folder) logNotes(notes map[string]string) {
	for path, note := range notes {
		if f.notes[path] != note {
			f.log.Warn(note, "file", path)
		}
	}
	f.notes = notes
}

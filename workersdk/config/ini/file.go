package ini

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/servicetools/servicetools/wire/atomicfile"
)

// MaxFile bounds a configuration file, in bytes.
const MaxFile = 1 << 20

// File is a parsed INI file. It keeps every line as it was read, so that an
// edit touches the lines of one key and nothing else.
type File struct {
	// Name is the path of the file, for messages and Save.
	Name string

	lines    []string // raw, each with its own line end
	sections []section
	entries  []Entry           // in the order of the file
	at       map[[2]string]int // section and key -> index in entries; section and "" -> in sections
}

// Entry is one key of a file.
type Entry struct {
	Section, Key string // Key is in lower case
	Value        string // trimmed; the lines of a continued value are joined by "\n"
	Line         int    // of the key, from 1

	last   int    // the line on which the value ends, from 1
	prefix string // what stands before the value, delimiter included
}

type section struct {
	name string
	line int // from 1
}

const bom = "\ufeff"

// Read parses the file at path.
func Read(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() || info.Size() > MaxFile {
		return nil, fmt.Errorf("%s is not a configuration file: it is a folder or larger than %d bytes", path, MaxFile)
	}
	r, err := atomicfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse parses data; name is used in messages and by Save.
func Parse(name string, data []byte) (*File, error) {
	if !isText(string(data)) {
		return nil, fmt.Errorf("%s is not UTF-8 text: save it in that encoding", name)
	}
	f := &File{Name: name, lines: strings.SplitAfter(string(data), "\n")}
	if last := len(f.lines) - 1; f.lines[last] == "" {
		f.lines = f.lines[:last]
	}
	return f, f.parse()
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// parse derives sections and entries from the lines.
func (f *File) parse() error {
	f.sections, f.entries, f.at = nil, nil, map[[2]string]int{}
	open, indent := -1, 0 // the entry that an indented line continues, and its key's indentation
	for i, raw := range f.lines {
		if i == 0 {
			raw = strings.TrimPrefix(raw, bom)
		}
		text := strings.TrimSpace(raw)
		depth := len(raw) - len(strings.TrimLeft(raw, " \t"))
		switch {
		case text == "" || text[0] == '#' || text[0] == ';':
		case open >= 0 && depth > indent:
			e := &f.entries[open]
			e.Value, e.last = strings.TrimSpace(e.Value+"\n"+text), i+1
		case text[0] == '[':
			name, _, ok := strings.Cut(text[1:], "]")
			if !ok {
				return f.errorAt(i, "the section header has no closing bracket")
			}
			if s := f.section(name); s != nil {
				return f.errorAt(i, "section [%s] stands on line %d already: merge the two", name, s.line)
			}
			f.at[[2]string{name, ""}] = len(f.sections)
			f.sections = append(f.sections, section{name, i + 1})
			open = -1
		default:
			at := strings.IndexAny(raw, "=:")
			if at < 0 {
				return f.errorAt(i, "%.40q is neither a [section], a key = value nor a # comment", text)
			}
			if len(f.sections) == 0 {
				return f.errorAt(i, "key %.40q stands before the first [section]", strings.TrimSpace(raw[:at]))
			}
			e := Entry{
				Section: f.sections[len(f.sections)-1].name,
				Key:     strings.ToLower(strings.TrimSpace(raw[:at])),
				Value:   strings.TrimSpace(raw[at+1:]),
				Line:    i + 1, last: i + 1,
			}
			rest := raw[at+1:]
			e.prefix = raw[:at+1] + rest[:len(rest)-len(strings.TrimLeft(rest, " \t"))]
			if e.Key == "" {
				return f.errorAt(i, "there is no key before the %q", raw[at:at+1])
			}
			if twin := f.Find(e.Section, e.Key); twin != nil {
				return f.errorAt(i, "[%s] %s stands on line %d already: keep one", e.Section, e.Key, twin.Line)
			}
			f.at[[2]string{e.Section, e.Key}] = len(f.entries)
			f.entries = append(f.entries, e)
			open, indent = len(f.entries)-1, depth
		}
	}
	return nil
}

func (f *File) errorAt(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", f.Name, line+1, fmt.Sprintf(format, args...))
}

func (f *File) section(name string) *section {
	if i, ok := f.at[[2]string{name, ""}]; ok {
		return &f.sections[i]
	}
	return nil
}

// Find returns the entry of a key, or nil.
func (f *File) Find(section, key string) *Entry {
	if i, ok := f.at[[2]string{section, key}]; ok && key != "" {
		return &f.entries[i]
	}
	return nil
}

// Set gives a key a value in memory. The key's line keeps what stands before
// the value; a new key goes to the end of its section, a new section to the
// end of the file. A value that would not read back as it is, such as one with
// a line break, is an error and changes nothing.
func (f *File) Set(section, key, value string) error {
	unfit := fmt.Errorf("%s: [%s] %s: the value %.80q cannot be written to an INI file", f.Name, section, key, value)
	if text := section + key + value; !isText(text) || strings.ContainsAny(text, "\r\n") {
		return unfit
	}
	before := slices.Clone(f.lines)
	f.put(section, key, value)
	err := f.parse()
	if e := f.Find(section, key); err == nil && (e == nil || e.Value != value) {
		err = unfit
	}
	if err != nil {
		f.lines = before
		_ = f.parse() // these lines were parsed before
	}
	return err
}

func (f *File) put(section, key, value string) {
	eol := f.lineEnd()
	if e := f.Find(section, key); e != nil {
		prefix := e.prefix
		if strings.HasSuffix(prefix, "=") && value != "" {
			prefix += " "
		}
		f.lines = slices.Replace(f.lines, e.Line-1, e.last, prefix+value+eol)
		return
	}
	added := []string{strings.TrimSpace(key+" = "+value) + eol}
	at := len(f.lines)
	if s := f.section(section); s != nil {
		at = s.line
		for _, e := range f.entries {
			if e.Section == section {
				at = e.last
			}
		}
	} else {
		added = []string{"[" + section + "]" + eol, added[0]}
		if at > 0 {
			added = append([]string{eol}, added...)
		}
	}
	if at > 0 && !strings.HasSuffix(f.lines[at-1], "\n") {
		f.lines[at-1] += eol
	}
	f.lines = slices.Insert(f.lines, at, added...)
}

// lineEnd returns the line end that the file uses.
func (f *File) lineEnd() string {
	if len(f.lines) > 0 && strings.HasSuffix(f.lines[0], "\r\n") {
		return "\r\n"
	}
	return "\n"
}

// Bytes returns the file's text.
func (f *File) Bytes() []byte { return []byte(strings.Join(f.lines, "")) }

// Save replaces the file on disk by f in one step and keeps its mode. A
// symbolic link stays one; the file that it names is replaced.
func (f *File) Save() error {
	path, err := filepath.EvalSymlinks(f.Name)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, f.Bytes(), info.Mode().Perm())
}

// Create writes f to a new file, making the folders above it. An existing file
// is left alone and is an error that wraps fs.ErrExist, unless overwrite.
func (f *File) Create(overwrite bool) error {
	if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if os.IsExist(err) && overwrite {
		return f.Save()
	}
	if err != nil {
		return err
	}
	_, err = out.Write(f.Bytes())
	if err == nil {
		err = out.Sync()
	}
	if e := out.Close(); err == nil {
		err = e
	}
	return err
}

// Compose makes a new file of {section, key, value} rows, in their order.
func Compose(name string, rows [][3]string) (*File, error) {
	f, err := Parse(name, nil)
	for _, row := range rows {
		if err == nil {
			err = f.Set(row[0], row[1], row[2])
		}
	}
	return f, err
}

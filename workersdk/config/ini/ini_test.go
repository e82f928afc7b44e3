package ini

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse_readsWhatConfigparserReads(t *testing.T) {
	const text = "\ufeff# first\r\n[main]\r\nName = a = b\r\nport:8006\r\nempty =\r\n" +
		"list = [\"a\",\r\n    # between\r\n\r\n    \"b\"]\r\n ; last\r\n[other]\r\n  indented = yes\r\n  again = no"
	f, err := Parse("x.ini", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Entry{
		{Section: "main", Key: "name", Value: "a = b", Line: 3},
		{Section: "main", Key: "port", Value: "8006", Line: 4},
		{Section: "main", Key: "empty", Value: "", Line: 5},
		{Section: "main", Key: "list", Value: "[\"a\",\n\"b\"]", Line: 6},
		{Section: "other", Key: "indented", Value: "yes", Line: 12},
		{Section: "other", Key: "again", Value: "no", Line: 13},
	} {
		e := f.Find(want.Section, want.Key)
		if e == nil || e.Value != want.Value || e.Line != want.Line {
			t.Errorf("%s %s = %+v, want %+v", want.Section, want.Key, e, want)
		}
	}
	if string(f.Bytes()) != text {
		t.Errorf("the text did not survive: %q", f.Bytes())
	}
}

func TestParse_refuses(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"a key before any section": {"a = 1\n", "x.ini:1: key \"a\" stands before"},
		"a line that is nothing":   {"[a]\nhello\n", "x.ini:2: \"hello\" is neither"},
		"an open section header":   {"[a\n", "x.ini:1: the section header"},
		"a key twice":              {"[a]\nk=1\nK=2\n", "x.ini:3: [a] k stands on line 2"},
		"a section twice":          {"[a]\n[b]\n[a]\n", "x.ini:3: section [a] stands on line 1"},
		"no key":                   {"[a]\n= 3\n", "x.ini:2: there is no key"},
		"UTF-16":                   {"\xff\xfe[\x00a\x00]\x00", "x.ini is not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("x.ini", []byte(row.text))
			if err == nil || !strings.HasPrefix(err.Error(), row.want) {
				t.Errorf("got %v, want %s...", err, row.want)
			}
		})
	}
}

func TestFile_setTouchesOneKey(t *testing.T) {
	const text = "# head\n\n[b]\n; why\nport   =\nlist = [\n   1]\nlast:x\n\n# tail\n[a]\nk = v"
	for name, row := range map[string]struct{ section, key, value, old, new string }{
		"an empty value":          {"b", "port", "6001", "port   =\n", "port   = 6001\n"},
		"a value of two lines":    {"b", "list", "[2]", "list = [\n   1]\n", "list = [2]\n"},
		"a colon":                 {"b", "last", "y", "last:x", "last:y"},
		"a new key":               {"b", "id", "1", "last:x\n", "last:x\nid = 1\n"},
		"an unended last line":    {"a", "k", "w", "k = v", "k = w\n"},
		"a key after it":          {"a", "l", "w", "k = v", "k = v\nl = w\n"},
		"a new section":           {"c", "l", "w", "k = v", "k = v\n\n[c]\nl = w\n"},
		"a value taken away":      {"a", "k", "", "k = v", "k = \n"},
		"a value like a comment":  {"a", "k", "#1", "k = v", "k = #1\n"},
		"a value like a section":  {"a", "k", "[b]", "k = v", "k = [b]\n"},
		"a value with delimiters": {"a", "k", "x=y:z", "k = v", "k = x=y:z\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse("x.ini", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Set(row.section, row.key, row.value); err != nil {
				t.Fatal(err)
			}
			if want := strings.Replace(text, row.old, row.new, 1); string(f.Bytes()) != want {
				t.Errorf("got\n%s\nwant\n%s", f.Bytes(), want)
			}
		})
	}
	f, _ := Parse("x.ini", []byte(text))
	for _, bad := range []string{"a\nb", " a", "a\r", "a\n[c]"} {
		if err := f.Set("a", "k", bad); err == nil || string(f.Bytes()) != text {
			t.Errorf("Set(%q) = %v and left\n%s", bad, err, f.Bytes())
		}
	}
}

func TestFile_saveKeepsModeAndLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "x.ini"), filepath.Join(dir, "link.ini")
	if err := os.WriteFile(path, []byte("[a]\nk = 1\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("x.ini", link); err != nil {
		t.Fatal(err)
	}
	f, err := Read(link)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Set("a", "k", "2"), f.Save()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("the file is now %v, %v", info.Mode(), err)
	}
	if target, err := os.Readlink(link); target != "x.ini" {
		t.Errorf("the link is now %q, %v", target, err)
	}
	if b, _ := os.ReadFile(path); string(b) != "[a]\nk = 2\n" {
		t.Errorf("the file holds %q", b)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("files were left behind: %v", left)
	}
	if err := f.Create(false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file = %v", err)
	}
	if err := f.Create(true); err != nil {
		t.Errorf("Create with overwrite = %v", err)
	}
}

func TestParseList(t *testing.T) {
	for text, want := range map[string][]string{
		`["resources\worker1_config.ini", "resources\worker2_config.ini"]`: {`resources\worker1_config.ini`, `resources\worker2_config.ini`},
		`["resources\\worker1_config.ini"]`:                                {`resources\worker1_config.ini`},
		`["resources\test.ini", "new\nested.ini"]`:                         {`resources\test.ini`, `new\nested.ini`}, // \t and \n are JSON escapes
		`["resources\users\b.ini"]`:                                        {`resources\users\b.ini`},
		`["stra\u00dfe\\w.ini"]`:                                           {`straße\w.ini`}, // as json.dumps writes it
		`['a\\b.ini', 'c.ini']`:                                            {`a\b.ini`, `c.ini`},
		`["dir\"]`:                                                         {`dir\`},
		`[]`:                                                               {},
		`one.ini`:                                                          {"one.ini"},
		"[\"a\",\n\"b\"]":                                                  {"a", "b"},
	} {
		if got, err := parseList(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s = %q, %v", text, got, err)
		}
	}
	for _, bad := range []string{`["a"`, `[1]`, `["a" "b"]`, "[\"a\nb\"]"} {
		if got, err := parseList(bad); err == nil {
			t.Errorf("%s was taken as %q", bad, got)
		}
	}
	if got := FormatList([]string{`a\b`, "c&d", `e",`}); got != `["a\\b", "c&d", "e\","]` {
		t.Errorf("FormatList = %s", got)
	}
}

func TestHostPath(t *testing.T) {
	if filepath.Separator == '\\' {
		if got := hostPath(`a\b`); got != `a\b` {
			t.Errorf("a path of this host became %q", got)
		}
		return
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile(`odd\name`, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		`resources\public_keys`: "resources/public_keys",
		`a\\b`:                  "a/b",
		`..\keys\`:              "../keys",
		`/srv/keys`:             "/srv/keys",
		`C:\keys`:               `C:\keys`,
		`\\server\share`:        `\\server\share`,
		`odd\name`:              `odd\name`,
	} {
		if got := hostPath(path); got != want {
			t.Errorf("%s became %s, want %s", path, got, want)
		}
	}
}

type sample struct {
	Main  sampleMain  `ini:"main"`
	Extra sampleExtra `ini:"extra"`
	note  string
}

type sampleMain struct {
	Name  string   `ini:"name" default:"anon"`
	Port  int      `ini:"port" max:"65535"`
	Dir   string   `ini:"dir,path"`
	Files []string `ini:"files,path" live:"yes"`
	Plain bool     `ini:"!secure"`
}

type sampleExtra struct {
	Grace time.Duration `ini:"grace,none" default:"30s" live:"yes"`
	Beat  time.Duration `ini:"beat" default:"5s" min:"100ms" max:"1m"`
	Size  int64         `ini:"size,bytes" default:"16 MiB" min:"1 KiB"`
	Cap   int64         `ini:"cap,bytes"`
}

var sampleSchema = NewSchema[sample]()

func decode(t *testing.T, text string, env map[string]string) (*sample, Origins, []error) {
	t.Helper()
	f, err := Parse("x.ini", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var v sample
	origins, errs := sampleSchema.Decode(&v, f, func(k string) (string, bool) { s, ok := env[k]; return s, ok })
	fill := sampleSchema.Fill(&v)
	origins.Locate(fill, "x.ini")
	return &v, origins, append(errs, fill...)
}

func TestSchema_decodesFileEnvironmentAndDefaults(t *testing.T) {
	v, origins, errs := decode(t, "[main]\nname = None\nport = 8006\ndir = a\\b\nfiles = [\"c\\d\"]\nsecure = False\n"+
		"[extra]\ngrace = 0\nbeat = 1.5\nsize = 64 kib\n",
		map[string]string{"SERVICETOOLS_MAIN_PORT": "8007", "SERVICETOOLS_EXTRA_CAP": "1MiB", "SERVICETOOLS_EXTRA_BEAT": ""})
	if errs != nil {
		t.Fatal(errs)
	}
	sep := string(filepath.Separator)
	want := sample{
		Main:  sampleMain{Name: "anon", Port: 8007, Dir: "a" + sep + "b", Files: []string{"c" + sep + "d"}, Plain: true},
		Extra: sampleExtra{Grace: 1, Beat: 1500 * time.Millisecond, Size: 64 << 10, Cap: 1 << 20},
	}
	if !reflect.DeepEqual(*v, want) {
		t.Errorf("got %+v, want %+v", *v, want)
	}
	for key, want := range map[string]string{
		"main.name": "default", "main.port": "environment SERVICETOOLS_MAIN_PORT", "main.dir": "x.ini:4",
		"extra.beat": "x.ini:9", "extra.cap": "environment SERVICETOOLS_EXTRA_CAP",
	} {
		section, name, _ := strings.Cut(key, ".")
		if got := origins.Of(section, name); got != want {
			t.Errorf("the origin of %s is %q, want %q", key, got, want)
		}
	}
	for name, want := range map[string]string{"grace": "0s", "beat": "1.5s", "size": "64 KiB", "cap": "1 MiB"} {
		k, _ := sampleSchema.Find("extra", name)
		if got := sampleSchema.Text(v, k); got != want {
			t.Errorf("%s prints as %q, want %q", name, got, want)
		}
	}
}

func TestSchema_namesTheFaultAndItsPlace(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"a near key":           {"[main]\nprot = 1\n", `x.ini:2: [main] prot: unknown key (did you mean "port"?)`},
		"a key of elsewhere":   {"[main]\nbeat = 1\n", `x.ini:2: [main] beat: unknown key (it belongs in section [extra])`},
		"a near section":       {"[mian]\n", `x.ini:1: [mian]: unknown section (did you mean "main"?); there are main, extra`},
		"a word for a number":  {"[main]\nport = http\n", `x.ini:2: [main] port: "http" is not a whole number`},
		"a trailing comment":   {"[main]\nport = 80 ; web\n", `x.ini:2: [main] port: "80 ; web" is not a whole number (a comment needs a line of its own)`},
		"a number too large":   {"[main]\nport = 65536\n", `x.ini:2: [main] port: "65536" is above 65535`},
		"a negative number":    {"[main]\nport = -1\n", `x.ini:2: [main] port: "-1" is below 0`},
		"a bad boolean":        {"[main]\nsecure = maybe\n", `x.ini:2: [main] secure: "maybe" is neither True nor False`},
		"a bad list":           {"[main]\nfiles = [1]\n", `x.ini:2: [main] files: "[1]" is not a list such as ["worker1.ini", "worker2.ini"]`},
		"a bad time":           {"[extra]\nbeat = soon\n", `x.ini:2: [extra] beat: "soon" is not a time such as 30s, 500ms, 2m or a number of seconds`},
		"a time too short":     {"[extra]\nbeat = 1ms\n", `x.ini:2: [extra] beat: "1ms" is below 100ms`},
		"a zero that is none":  {"[extra]\nbeat = 0\n", `x.ini:2: [extra] beat: "0" is below 100ms`},
		"a negative grace":     {"[extra]\ngrace = -2s\n", `x.ini:2: [extra] grace: "-2s" is below 0s`},
		"a bad size":           {"[extra]\nsize = 3 MB\n", `x.ini:2: [extra] size: "3 MB" is not a size such as 16 MiB, 64 KiB or a number of bytes`},
		"a size beyond int64":  {"[extra]\nsize = 9999999999 GiB\n", `x.ini:2: [extra] size: "9999999999 GiB" is not a size such as 16 MiB, 64 KiB or a number of bytes`},
		"a mistaken continued": {"[main]\nname = a\n  port = 1\n", `x.ini:2: [main] name: the line below is indented and so continues this value: remove its indentation`},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, errs := decode(t, row.text, nil)
			if len(errs) != 1 || errs[0].Error() != row.want {
				t.Errorf("got  %v\nwant %s", errs, row.want)
			}
		})
	}
	_, _, errs := decode(t, "", map[string]string{"SERVICETOOLS_MAIN_PORT": "x"})
	if want := `environment SERVICETOOLS_MAIN_PORT: [main] port: "x" is not a whole number`; len(errs) != 1 || errs[0].Error() != want {
		t.Errorf("got %v, want %s", errs, want)
	}
}

func TestSchema_fillChecksValuesOfPrograms(t *testing.T) {
	v := sample{Main: sampleMain{Port: 70000}, Extra: sampleExtra{Grace: -5, Beat: -1}}
	errs := sampleSchema.Fill(&v)
	want := []string{"[main] port: 70000 is above 65535", "[extra] grace: -5ns is below 0s", "[extra] beat: -1ns is below 100ms"}
	if got := strings.Split(errors.Join(errs...).Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSchema_diff(t *testing.T) {
	a, b := sample{}, sample{Main: sampleMain{Port: 1, Files: []string{"x"}}, note: "not a key"}
	got := sampleSchema.Diff(&a, &b)
	want := []string{"[main] port: 0 -> 1 (needs a restart)", `[main] files: [] -> ["x"]`}
	if len(got) != 2 || got[0].String() != want[0] || got[1].String() != want[1] || got[0].Live || !got[1].Live {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", time.Minute: "1m", 90 * time.Second: "1m30s", time.Hour: "1h",
		2*time.Hour + time.Second: "2h0m1s", 20 * time.Second: "20s", 10 * time.Minute: "10m", 500 * time.Millisecond: "500ms",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v prints as %q, want %q", int64(d), got, want)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("[main]\nport = 8006\n", "main", "port", "1")
	f.Add("\ufeff; c\r\n[a]\r\nk:\r\n  v\r\n\r\n  w", "a", "new", "[\"x\"]")
	f.Add("", "s", "k", "")
	f.Add(`[workers]`+"\n"+`worker_config_paths = ["resources\worker1_config.ini"]`, "workers", "worker_config_paths", `["a"]`)
	f.Fuzz(func(t *testing.T, text, section, key, value string) {
		file, err := Parse("x", []byte(text))
		if err != nil {
			return
		}
		if string(file.Bytes()) != text {
			t.Fatalf("%q came back as %q", text, file.Bytes())
		}
		before := len(file.entries)
		if err := file.Set(section, key, value); err != nil {
			if string(file.Bytes()) != text {
				t.Fatalf("a refused Set changed %q to %q", text, file.Bytes())
			}
			return
		}
		again, err := Parse("x", file.Bytes())
		if err != nil || again.Find(section, key) == nil || again.Find(section, key).Value != value {
			t.Fatalf("%q does not hold [%s] %s = %q: %v", file.Bytes(), section, key, value, err)
		}
		if n := len(again.entries); n != before && n != before+1 {
			t.Fatalf("setting one key turned %d keys into %d", before, n)
		}
	})
}

func FuzzList(f *testing.F) {
	f.Add(`["resources\worker1_config.ini"]`)
	f.Add(`["a\\b", "\u00e4"]`)
	f.Add(`['a']`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseList(text)
		if err != nil || !strings.HasPrefix(text, "[") {
			return
		}
		again, err := parseList(FormatList(list))
		if err != nil || !slices.Equal(list, again) {
			t.Fatalf("%q = %q, written and read again %q, %v", text, list, again, err)
		}
	})
}

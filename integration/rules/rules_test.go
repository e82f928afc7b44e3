// Package rules holds the rules of this repository as tests.
package rules

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	root     = "../.."
	prefix   = "github.com/servicetools/servicetools/"
	maxLines = 700
)

// mayImport lists the siblings that each module's production code may import.
var mayImport = map[string][]string{
	"wire":        {},
	"broker":      {"wire", "workersdk/config", "workersdk/group"},
	"workersdk":   {"wire"},
	"clientsdk":   {"wire"},
	"certtool":    {"wire"},
	"integration": {"wire", "broker", "workersdk", "clientsdk", "certtool"},
}

// wireLibraries is all that wire may import outside the standard library.
var wireLibraries = []string{"golang.org/x/crypto/", "github.com/vmihailenco/msgpack/v5"}

// goFiles calls f for each Go file of each module.
func goFiles(t *testing.T, f func(module, path string)) {
	t.Helper()
	for module := range mayImport {
		err := filepath.WalkDir(filepath.Join(root, module), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if strings.HasSuffix(path, ".go") {
				f(module, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestImports_runOneWay(t *testing.T) {
	goFiles(t, func(module, path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, spec := range file.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			switch sibling, ours := strings.CutPrefix(name, prefix); {
			case (name == "testing" || name == "C") && module != "integration":
				t.Errorf("%s imports %s", path, name)
			case ours && !allowed(sibling, append(mayImport[module], module)):
				t.Errorf("%s imports %s: the modules' imports run one way (docs/adr/0001)", path, sibling)
			case !ours && module == "wire" && strings.Contains(name, ".") && !allowed(name, wireLibraries):
				t.Errorf("%s imports %s: wire stays small", path, name)
			}
		}
	})
}

func allowed(name string, list []string) bool {
	for _, a := range list {
		if name == strings.TrimSuffix(a, "/") || strings.HasPrefix(name, strings.TrimSuffix(a, "/")+"/") {
			return true
		}
	}
	return false
}

func TestPackages_sayWhatTheyAre(t *testing.T) {
	documented := map[string]bool{}
	goFiles(t, func(_, path string) {
		dir := filepath.Dir(path)
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		documented[dir] = documented[dir] || file.Doc != nil
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

func TestFiles_stayReadable(t *testing.T) {
	goFiles(t, func(_, path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		if n := bytes.Count(b, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, more than %d: split it by what a stranger would look for", path, n, maxLines)
		}
	})
}

// A replace in a go.mod breaks `go install module@version` for users.
func TestModules_haveNoReplace(t *testing.T) {
	for module := range mayImport {
		b, err := os.ReadFile(filepath.Join(root, module, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("=>")) {
			t.Errorf("%s/go.mod has a replace", module)
		}
	}
}

// Documents name the tests that show what they promise; a test that is renamed
// or gone takes its promise with it.
func TestDocs_nameTestsThatExist(t *testing.T) {
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	goFiles(t, func(_, path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		for _, m := range declared.FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
	})
	named := regexp.MustCompile("`(Test\\w+)`")
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			for _, m := range named.FindAllSubmatch(b, -1) {
				if !tests[string(m[1])] {
					t.Errorf("%s names %s, which does not exist", path, m[1])
				}
			}
		}
	}
}

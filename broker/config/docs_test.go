package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"

	workerconfig "github.com/servicetools/servicetools/workersdk/config"
	"github.com/servicetools/servicetools/workersdk/config/ini"
)

var update = flag.Bool("update", false, "write the tables of docs/operations.md")

const operations = "../../docs/operations.md"

// TestOperations_tablesMatchTheSchema holds the tables of every key in
// docs/operations.md to the tags and comments of the Config structs.
func TestOperations_tablesMatchTheSchema(t *testing.T) {
	b, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, table := range map[string]string{
		"broker keys": table(t, Schema.Keys(), "config.go", true),
		"worker keys": table(t, workerconfig.Schema.Keys(), "../../workersdk/config/config.go", false),
	} {
		begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
		head, rest, ok := strings.Cut(text, begin)
		_, tail, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no %q ... %q", operations, begin, end)
		}
		text = head + begin + table + end + tail
	}
	if text == string(b) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the schemas say: run `go test ./config -update` in broker", operations)
	}
	if err := os.WriteFile(operations, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

var defaultOf = regexp.MustCompile(`\s*Default: (.*?)(;|\.(\s|$))`)

func table(t *testing.T, keys []ini.Key, source string, reloads bool) string {
	t.Helper()
	comments := fieldComments(t, source)
	var b strings.Builder
	section := ""
	for _, k := range keys {
		comment, ok := comments[k.Type+"."+k.Field]
		if !ok {
			t.Fatalf("%s.%s has no comment", k.Type, k.Field)
		}
		fallback := "required"
		if m := defaultOf.FindStringSubmatch(comment); m != nil {
			comment = strings.Replace(comment, m[0], m[2]+m[3], 1)
			fallback = strings.TrimPrefix(m[1], k.Name+" = ")
		}
		if k.Default != "" && fallback != k.Default && !strings.HasPrefix(fallback, k.Default+",") {
			t.Errorf("[%s] %s: its comment says that the default is %q, its tag says %q", k.Section, k.Name, fallback, k.Default)
		}
		if k.Section != section {
			section = k.Section
			fmt.Fprintf(&b, "\n#### [%s]\n\n| key | default | kind |%s what it is |\n|---|---|---|%s---|\n",
				section, column(reloads, " change |"), column(reloads, "---|"))
		}
		change := " restart |"
		if k.Live {
			change = " live |"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |%s %s |\n", k.Name, fallback, k.Kind(), column(reloads, change), sentence(k.Field, comment))
	}
	return b.String() + "\n"
}

func column(on bool, text string) string {
	if on {
		return text
	}
	return ""
}

// sentence turns a field's comment into a table's cell.
func sentence(field, comment string) string {
	s := strings.TrimPrefix(comment, field+" ")
	s = strings.TrimPrefix(s, "is ")
	s = strings.TrimSpace(strings.NewReplacer(".;", ";", "..", ".").Replace(s))
	return strings.ToUpper(s[:1]) + s[1:]
}

// fieldComments returns the comment of each field, by Type.Field, on one line.
func fieldComments(t *testing.T, source string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					if text := strings.Join(strings.Fields(f.Doc.Text()), " "); text != "" {
						comments[spec.Name.Name+"."+name.Name] = text
					}
				}
			}
		}
		return false
	})
	return comments
}

package method

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
)

// described is what the source says about a method and reflection does not.
type described struct {
	doc    string
	params []string // names, the context's included; nil if unknown
}

// readSource returns what the Go files of fsys say of the methods of the named
// type. Files of tests are left out.
func readSource(fsys fs.FS, typeName string) (map[string]described, error) {
	if fsys == nil {
		return nil, nil
	}
	methods := map[string]described{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && receiver(f) == typeName {
				methods[f.Name.Name] = described{doc: strings.TrimSpace(f.Doc.Text()), params: paramNames(f.Type)}
			}
		}
		return nil
	})
	if err == nil && len(methods) == 0 {
		err = fmt.Errorf("no Go file in it declares a method of %s: embed the files of its package", typeName)
	}
	return methods, err
}

// receiver returns the name of the type whose method f is.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) != 1 {
		return ""
	}
	t := f.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr: // T[P]
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func paramNames(f *ast.FuncType) []string {
	var names []string
	for _, field := range f.Params.List {
		if len(field.Names) == 0 {
			return nil // a list is named as a whole or not at all
		}
		for _, name := range field.Names {
			names = append(names, name.Name)
		}
	}
	return names
}

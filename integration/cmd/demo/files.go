package main

import (
	"context"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
)

// goFiles returns every .go file below root; "" is the Go installation's src.
func goFiles(ctx context.Context, root string) ([]string, error) {
	if root == "" {
		out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return nil, err
		}
		root = filepath.Join(strings.TrimSpace(string(out)), "src")
	}
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

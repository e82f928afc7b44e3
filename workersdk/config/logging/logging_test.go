package logging

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseLevel(t *testing.T) {
	for mode, want := range map[string]slog.Level{
		"DEBUG": slog.LevelDebug, "info": slog.LevelInfo, "WARN": slog.LevelWarn, "Warning": slog.LevelWarn,
		"ERROR": slog.LevelError, "CRITICAL": LevelCritical,
	} {
		if got, err := ParseLevel(mode); got != want || err != nil {
			t.Errorf("%s = %v, %v", mode, got, err)
		}
	}
	if _, err := ParseLevel("DEBGU"); err == nil || !strings.Contains(err.Error(), `did you mean "DEBUG"`) {
		t.Errorf("a typing mistake gives %v", err)
	}
}

func TestLog_writesJSONToBothAndChangesItsLevel(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	var stderr bytes.Buffer
	l, err := Open(Config{Mode: "WARN", Dir: dir, File: "broker.log", Stderr: &stderr})
	if err != nil {
		t.Fatal(err)
	}
	l.Info("hidden")
	if err := l.SetMode("INFO"); err != nil {
		t.Fatal(err)
	}
	l.Info("shown", "worker", "w1", "took", 30*time.Second)
	l.Log(t.Context(), LevelCritical, "loud")
	if err := l.SetMode("LOUD"); err == nil {
		t.Error("an unknown mode was accepted")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "broker.log"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"stderr": stderr.String(), "the file": string(file)} {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if len(lines) != 2 {
			t.Fatalf("%s has %d lines: %s", name, len(lines), text)
		}
		var shown, loud map[string]any
		if json.Unmarshal([]byte(lines[0]), &shown) != nil || json.Unmarshal([]byte(lines[1]), &loud) != nil ||
			shown["msg"] != "shown" || shown["worker"] != "w1" || shown["took"] != "30s" || loud["level"] != "CRITICAL" {
			t.Errorf("%s holds %s", name, text)
		}
	}
}

func TestOpen_refusesWhatItCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"a file as the folder": {Dir: file, File: "x.log"},
		"a folder as the file": {Dir: filepath.Dir(file), File: "."},
		"an unknown mode":      {Mode: "LOUD"},
	} {
		if _, err := Open(c); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestOpenFile_rotates(t *testing.T) {
	dir := t.TempDir()
	f, err := OpenFile(filepath.Join(dir, "x.log"), 1<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte("x"), 700<<10)
	for range 2 {
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("there are %v, want the file and one rotated", files)
	}
}

func TestFileName(t *testing.T) {
	for _, row := range []struct{ name, id, want string }{
		{"test worker", "ee8a", "test_worker-ee8a"},
		{"../../etc", `a\b:c`, "______etc-a_b_c"},
		{"grüße", "1", "grüße-1"},
	} {
		if got := FileName(row.name, row.id); got != row.want {
			t.Errorf("%q %q = %q, want %q", row.name, row.id, got, row.want)
		}
	}
	if got := FileName(strings.Repeat("ü", 200), "id"); len(got) > 120 || !strings.HasSuffix(got, "ü-id") {
		t.Errorf("a long name gives %q", got)
	}
}

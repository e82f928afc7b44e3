// Package logging sets up the log of brokers and workers: records go to
// stderr, as text on a terminal and as JSON otherwise, and as JSON to a
// rotated file in the log folder, where one is configured.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/servicetools/servicetools/wire/message"
)

// LevelCritical is Python's CRITICAL: above slog's Error.
const LevelCritical = slog.LevelError + 4

// Config says what to log where.
type Config struct {
	Mode    string    // see ParseLevel; default INFO
	Dir     string    // folder of the log file, made if absent; empty = no file
	File    string    // name of the file in Dir
	MaxSize int64     // bytes before the file is rotated; default 64 MiB
	Backups int       // rotated files kept; default 5
	Stderr  io.Writer // default os.Stderr
}

// Log is a logger whose level can be changed while it is used.
type Log struct {
	*slog.Logger
	level slog.LevelVar
	file  io.Closer // nil without a file
}

// Open sets up a log. It fails when Mode is unknown or the log file cannot be
// written. Close it when nothing logs any more.
func Open(c Config) (*Log, error) {
	l := &Log{}
	if c.Mode == "" {
		c.Mode = "INFO"
	}
	if err := l.SetMode(c.Mode); err != nil {
		return nil, err
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	options := &slog.HandlerOptions{Level: &l.level, ReplaceAttr: readable}
	var out slog.Handler
	if f, ok := c.Stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		out = slog.NewTextHandler(c.Stderr, options)
	} else {
		out = slog.NewJSONHandler(c.Stderr, options)
	}
	if c.Dir != "" {
		file, err := OpenFile(filepath.Join(c.Dir, c.File), c.MaxSize, c.Backups)
		if err != nil {
			return nil, err
		}
		l.file = file
		out = slog.NewMultiHandler(out, slog.NewJSONHandler(file, options))
	}
	l.Logger = slog.New(out)
	return l, nil
}

// SetMode changes the lowest level that is logged, from now on.
func (l *Log) SetMode(mode string) error {
	level, err := ParseLevel(mode)
	if err == nil {
		l.level.Set(level)
	}
	return err
}

// Close closes the log file.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

var modes = []string{"DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL"}

// ParseLevel reads DEBUG, INFO, WARN, WARNING, ERROR or CRITICAL, in any case.
func ParseLevel(mode string) (slog.Level, error) {
	switch strings.ToUpper(mode) {
	case "DEBUG":
		return slog.LevelDebug, nil
	case "INFO":
		return slog.LevelInfo, nil
	case "WARN", "WARNING":
		return slog.LevelWarn, nil
	case "ERROR":
		return slog.LevelError, nil
	case "CRITICAL":
		return LevelCritical, nil
	}
	return 0, fmt.Errorf("unknown logging mode %.40q%s; there are %s", mode, message.DidYouMean(mode, modes), strings.Join(modes, ", "))
}

// readable gives CRITICAL its name, and times a unit, which slog's JSON lacks.
func readable(groups []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	if level, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && a.Key == slog.LevelKey && level >= LevelCritical {
		a.Value = slog.StringValue("CRITICAL")
	}
	return a
}

// FileName returns the name, without suffix, of the files of the worker or
// broker with this name and id: distinct for each id, and safe on every host.
func FileName(name, id string) string {
	safe := strings.Map(func(r rune) rune {
		if r < '0' && r != '-' || strings.ContainsRune(`:;<=>?@[\]^{|}~`+"`\x7f", r) {
			return '_'
		}
		return r
	}, name+"-"+id)
	const limit = 120 // bytes; file systems stop at 255, rotation adds a time
	if len(safe) > limit {
		safe = strings.ToValidUTF8(safe[len(safe)-limit:], "")
	}
	return safe
}

// OpenFile opens a rotated file for appending, and makes its folder. It fails
// at once when the file cannot be written. maxSize 0 is 64 MiB, backups 0 is 5.
//
// The goroutine by which lumberjack removes old files lives as long as the
// process (its Close does not end it), so open each name once.
func OpenFile(path string, maxSize int64, backups int) (io.WriteCloser, error) {
	if maxSize <= 0 {
		maxSize = 64 << 20
	}
	if backups <= 0 {
		backups = 5
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("making the log folder: %w", err)
	}
	probe, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err == nil {
		err = probe.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("opening the log file: %w", err)
	}
	megabytes := max(int(maxSize>>20), 1)
	return &lumberjack.Logger{Filename: path, MaxSize: megabytes, MaxBackups: backups}, nil
}

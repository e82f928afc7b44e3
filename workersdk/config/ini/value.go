package ini

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// isUnset reports whether a value stands for "not given": nothing, or Python's None.
func isUnset(value string) bool { return value == "" || strings.EqualFold(value, "none") }

// parseBool reads what configparser's getboolean reads.
func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return false, errors.New("is neither True nor False")
}

func formatBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errors.New("is not a whole number" + commentHint(s))
	}
	return n, nil
}

// parseDuration reads "30s", "1m30s", "500ms" or a plain number of seconds.
func parseDuration(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		if !(math.Abs(seconds) < math.MaxInt64/float64(time.Second)) {
			return 0, errors.New("is out of range")
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		return 0, errors.New("is not a time such as 30s, 500ms, 2m or a number of seconds" + commentHint(s))
	}
	return d, nil
}

var units = []struct {
	suffix string
	bytes  int64
}{{"GIB", 1 << 30}, {"MIB", 1 << 20}, {"KIB", 1 << 10}, {"B", 1}}

// parseBytes reads "16 MiB", "64KiB" or a plain number of bytes.
func parseBytes(s string) (int64, error) {
	number, factor := strings.ToUpper(s), int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n > math.MaxInt64/factor || n < math.MinInt64/factor {
		return 0, errors.New("is not a size such as 16 MiB, 64 KiB or a number of bytes" + commentHint(s))
	}
	return n * factor, nil
}

func formatBytes(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d %s", n/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(n, 10)
}

func formatDuration(d time.Duration) string {
	s := d.String() // "1m0s", "2h0m0s": drop the zeros
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func commentHint(s string) string {
	if strings.ContainsAny(s, "#;") {
		return " (a comment needs a line of its own)"
	}
	return ""
}

// parseList reads a JSON list of strings, one bare string, or Python's way of
// printing a list. Files in the field hold paths whose backslashes are not
// escaped: a list that is no JSON, or whose strings would get control
// characters from it ("resources\test.ini"), is read with each backslash
// standing for itself.
func parseList(s string) ([]string, error) {
	if !strings.HasPrefix(s, "[") {
		return []string{s}, nil
	}
	if !strings.Contains(s, `"`) {
		s = strings.ReplaceAll(s, `'`, `"`)
	}
	var list []string
	err := json.Unmarshal([]byte(s), &list)
	if err != nil || hasControl(list) {
		err = json.Unmarshal([]byte(strings.ReplaceAll(s, `\`, `\\`)), &list)
	}
	if err != nil || hasControl(list) {
		return nil, errors.New(`is not a list such as ["worker1.ini", "worker2.ini"]`)
	}
	return list, nil
}

func hasControl(list []string) bool {
	for _, s := range list {
		if strings.ContainsFunc(s, unicode.IsControl) {
			return true
		}
	}
	return false
}

// FormatList returns the JSON form of a list of strings.
func FormatList(list []string) string {
	items := make([]string, len(list))
	for i, item := range list {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // paths may hold & and <
		_ = e.Encode(item)     // a string cannot fail
		items[i] = strings.TrimSpace(b.String())
	}
	return "[" + strings.Join(items, ", ") + "]"
}

var drive = regexp.MustCompile(`^([A-Za-z]:|\\\\)`)

// hostPath turns the backslashes of a path written on Windows into the host's
// separator. A path with a drive letter or of a network share has no meaning
// elsewhere and stays, as does the name of a file that exists just so.
func hostPath(path string) string {
	if filepath.Separator == '\\' || !strings.Contains(path, `\`) || drive.MatchString(path) {
		return path
	}
	if _, err := os.Lstat(path); err == nil {
		return path
	}
	return filepath.Clean(strings.ReplaceAll(path, `\`, "/"))
}

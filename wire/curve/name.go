package curve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxName is the longest name of a certificate, in bytes.
const MaxName = 128

// deviceNames are files that Windows keeps for itself, with any extension.
var deviceNames = []string{"con", "prn", "aux", "nul"}

// CheckName refuses what cannot be a certificate's name, which is also its
// file's: letters, digits, "-", "_", "." and "@", not starting with "." or "-".
func CheckName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("curve: a certificate's name has 1 to %d characters", MaxName)
	}
	if name[0] == '.' || name[0] == '-' || strings.HasSuffix(name, ".") {
		return fmt.Errorf(`curve: the certificate name %q starts with "." or "-", or ends in "."`, name)
	}
	for _, c := range []byte(name) {
		if !isWord(c) && c != '-' && c != '.' && c != '@' {
			return fmt.Errorf(`curve: the certificate name %.40q has a character other than letters, digits, "-", "_", "." and "@"`, name)
		}
	}
	stem, _, _ := strings.Cut(strings.ToLower(name), ".")
	if slices.Contains(deviceNames, stem) {
		return fmt.Errorf("curve: the certificate name %q is a device on Windows", name)
	}
	return nil
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// MaxMethods is the most patterns of one certificate.
const MaxMethods = 256

var errMethods = errors.New(`curve: methods is a comma-separated list of method names, each with an optional "*" at its end`)

// ParseMethods reads an allow list of methods: patterns separated by commas,
// each the name of a method or, with a "*" at its end, the start of names.
func ParseMethods(list string) ([]string, error) {
	var patterns []string
	for pattern := range strings.SplitSeq(list, ",") {
		pattern = strings.TrimSpace(pattern)
		if !validPattern(pattern) || len(patterns) == MaxMethods {
			return nil, errMethods
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// validPattern allows what method names may hold, but for the characters that
// the file's format needs itself.
func validPattern(pattern string) bool {
	if pattern == "" || len(pattern) > 255 {
		return false
	}
	for _, c := range []byte(strings.TrimSuffix(pattern, "*")) {
		if c <= ' ' || c > '~' || strings.IndexByte(`"'#,*`, c) >= 0 {
			return false
		}
	}
	return true
}

package curve

import (
	"bytes"
	"fmt"
	"strings"
)

// parseZPL reads the part of ZPL (RFC 4) that certificate files use: sections
// at the margin, "name = value" indented below them. The result's keys are
// "section/name". Values may stand in single or double quotes, as czmq writes
// all and pyzmq only keys. Errors name a line and never its content.
func parseZPL(text []byte) (map[string]string, error) {
	values := make(map[string]string)
	section := ""
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // Windows editors put it there
	line := 0
	for raw := range bytes.Lines(text) {
		line++
		s := strings.TrimRight(string(raw), " \t\r\n")
		body := strings.TrimLeft(s, " \t")
		if body == "" || body[0] == '#' {
			continue
		}
		name, value, hasValue := strings.Cut(body, "=")
		name = strings.TrimSpace(name)
		if len(body) == len(s) {
			section = name
			continue
		}
		if !hasValue {
			continue // a subsection, which certificates do not have
		}
		value, ok := unquote(strings.TrimSpace(value))
		if !ok {
			return nil, fmt.Errorf("curve: line %d: the quote of the value does not end", line)
		}
		key := section + "/" + name
		if old, twice := values[key]; twice && old != value {
			return nil, fmt.Errorf("curve: line %d: the name has another value above", line)
		}
		values[key] = value
	}
	return values, nil
}

// unquote returns what is between quotes, or a bare value up to its comment.
func unquote(value string) (string, bool) {
	if value == "" {
		return "", true
	}
	if q := value[0]; q == '"' || q == '\'' {
		end := strings.IndexByte(value[1:], q)
		if end < 0 {
			return "", false
		}
		return value[1 : 1+end], true
	}
	value, _, _ = strings.Cut(value, "#")
	return strings.TrimSpace(value), true
}

package command

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/servicetools/servicetools/broker"
)

// exampleCall returns the arguments by which zcall calls one of the methods:
// the first whose parameters a person would know how to fill.
func exampleCall(methods []broker.MethodView) string {
	fallback := "broker.methods"
	for _, m := range methods {
		if arguments, ok := exampleArguments(m.Signature); ok {
			return m.Name + arguments
		}
		if fallback == "broker.methods" {
			fallback = "describe " + m.Name
		}
	}
	return fallback
}

// exampleArguments makes up arguments for a signature such as
// "Add(a int, b int) int", and reports whether it could.
func exampleArguments(signature string) (string, bool) {
	_, rest, ok := strings.Cut(signature, "(")
	list, _, closed := strings.Cut(rest, ")")
	if !ok || !closed || list == "" {
		return "", false
	}
	var b strings.Builder
	for i, parameter := range strings.Split(list, ",") {
		words := strings.Fields(parameter)
		if len(words) == 0 {
			return "", false
		}
		switch kind := words[len(words)-1]; {
		case slices.Contains([]string{"int", "int64", "int32", "uint64", "float64"}, kind):
			b.WriteString(" " + strconv.Itoa(i+1))
		case kind == "string":
			b.WriteString(` '"hello"'`)
		default:
			return "", false
		}
	}
	return b.String(), true
}

// bare matches what a shell takes as one word as it stands.
var bare = regexp.MustCompile(`^[A-Za-z0-9_./:\\@%+=-]+$`)

// quote writes a path so that a shell reads it as one word.
func quote(path string) string {
	if bare.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

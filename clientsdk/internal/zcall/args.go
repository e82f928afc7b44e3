package zcall

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/wire/cmdline"
)

// normalise rewrites a command line so that flags may stand anywhere and
// negative numbers are arguments: the command, its flags, "--", the rest. A
// line that does not begin with a command is a call.
func normalise(app *cli.App, args []string) []string {
	if len(args) > 1 && args[len(args)-1] == cmdline.CompletionFlag { // it must stay the last
		return args
	}
	valued := map[string]bool{} // flags that take a value
	for _, command := range app.Commands {
		for _, flag := range command.Flags {
			_, isBool := flag.(*cli.BoolFlag)
			for _, name := range flag.Names() {
				valued[name] = !isBool
			}
		}
	}
	var flags, rest []string
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if !isFlag(arg) {
			rest = append(rest, arg)
			continue
		}
		flags = append(flags, arg)
		name, _, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if valued[name] && !joined && i+1 < len(args) {
			i++
			flags = append(flags, args[i])
		}
	}
	if len(rest) == 0 { // of the flags only these make sense without a command
		about := []string{"-h", "--help", "-v", "--version"}
		return append(args[:1:1], slices.DeleteFunc(flags, func(f string) bool { return !slices.Contains(about, f) })...)
	}
	command := "call"
	if app.Command(rest[0]) != nil {
		command, rest = rest[0], rest[1:]
	}
	line := append(append(args[:1:1], command), flags...)
	return append(append(line, "--"), rest...)
}

// isFlag tells flags from JSON: of JSON only numbers begin with a dash.
func isFlag(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' && (arg[1] < '0' || arg[1] > '9')
}

// parseArgs reads JSON arguments.
func parseArgs(texts []string) ([]any, error) {
	args := make([]any, 0, len(texts)+1)
	for i, text := range texts {
		v, err := parseJSON(text)
		if err != nil {
			mistake := &usageMistake{message: fmt.Sprintf("argument %d, %s, is not JSON: %v", i+1, shorten(text), err)}
			if quoted, err := json.Marshal(text); err == nil {
				mistake.hint = fmt.Sprintf("a string needs quotes that the shell leaves alone: '%s'", shorten(string(quoted)))
			}
			return nil, mistake
		}
		args = append(args, v)
	}
	return args, nil
}

// parseKwargs reads --kwargs; "" means none.
func parseKwargs(text string) (clientsdk.Kwargs, error) {
	if text == "" {
		return nil, nil
	}
	v, err := parseJSON(text)
	named, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, &usageMistake{
			message: fmt.Sprintf("--kwargs %s is not a JSON object", shorten(text)),
			hint:    `for example: --kwargs '{"text": "to be", "top": 3}'`,
		}
	}
	return named, nil
}

// parseList reads a line of zcall map.
func parseList(text string) (clientsdk.Args, error) {
	v, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("it is not a JSON array of arguments, such as [1, 2]")
	}
	return list, nil
}

// parseJSON reads exactly one value. Whole numbers stay whole, and an object
// {"base64": "..."} is bytes.
func parseJSON(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("it is incomplete")
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return plain(v)
}

// plain replaces the numbers and byte objects of decoded JSON.
func plain(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		var whole int64
		if json.Unmarshal([]byte(v), &whole) == nil {
			return whole, nil
		}
		var large uint64
		if json.Unmarshal([]byte(v), &large) == nil {
			return large, nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			if v[i], err = plain(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if text, ok := v["base64"].(string); ok && len(v) == 1 {
			return base64.StdEncoding.DecodeString(text)
		}
		for key := range v {
			if v[key], err = plain(v[key]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// shorten keeps a text within a line.
func shorten(s string) string {
	const most = 60
	s = string(bytes.ToValidUTF8([]byte(s), []byte("?")))
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

package broker

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/message"
)

// params are the arguments of one of the broker's own methods, undecoded.
type params struct {
	args   []msgpack.RawMessage
	kwargs map[string]msgpack.RawMessage
}

func parseParams(body []byte) (params, error) {
	var p params
	args, kwargs, malformed := message.SplitBody(body)
	if malformed != nil {
		return p, malformed
	}
	if err := message.Unmarshal(args, &p.args); err != nil {
		return p, err
	}
	return p, message.Unmarshal(kwargs, &p.kwargs)
}

// maxParamsText bounds what the log has of the arguments of a call.
const maxParamsText = 256

// paramsText prints the arguments of a call of an own method, for the log.
func paramsText(body []byte) string {
	args, kwargs, malformed := message.SplitBody(body)
	if malformed != nil {
		return "malformed"
	}
	var a, k any
	text := ""
	if message.Unmarshal(args, &a) == nil {
		text = fmt.Sprint(a)
	}
	if message.Unmarshal(kwargs, &k) == nil && k != nil {
		text += fmt.Sprint(" ", k)
	}
	return text[:min(len(text), maxParamsText)]
}

// get decodes the parameter that is called name, or stands at position, into
// v, and reports whether it was given.
func (p params) get(name string, position int, v any) (bool, error) {
	raw, ok := p.kwargs[name]
	if !ok && position < len(p.args) {
		raw, ok = p.args[position], true
	}
	if !ok || len(raw) == 0 { // nil is decoded to nothing
		return false, nil
	}
	if err := msgpack.Unmarshal(raw, v); err != nil {
		return false, message.Errorf(message.BadArgs, "parameter %q must be of type %s", name, reflect.TypeOf(v).Elem())
	}
	return true, nil
}

// need is get for a parameter that must be given.
func (p params) need(name string, position int, v any) error {
	ok, err := p.get(name, position, v)
	if err == nil && !ok {
		err = message.Errorf(message.BadArgs, "parameter %q is missing", name)
	}
	return err
}

// encodeJSONNames encodes v with the names that its JSON form has, so that
// every client sees the same keys as the command line prints.
func encodeJSONNames(v any) ([]byte, error) {
	var b bytes.Buffer
	e := msgpack.NewEncoder(&b)
	e.SetCustomStructTag("json")
	e.SetSortMapKeys(true)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

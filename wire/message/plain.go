package message

import (
	"encoding/binary"
	"math"
	"time"
)

// Limits of names and of the echoed id; each is refused with a code.
const (
	MaxMethodName     = 255
	MaxIdempotencyKey = 255
	MaxPlainID        = 1024
)

// MaxTimeout is the longest deadline the compact form can carry, about 49 days.
const MaxTimeout = time.Duration(math.MaxUint32) * time.Millisecond

// Request is a plain peer's call. The slices alias the parsed body.
type Request struct {
	Method  []byte
	Args    []byte        // one msgpack array or nil
	Kwargs  []byte        // one msgpack map or nil
	ID      []byte        // one msgpack value echoed in the reply; nil when absent
	Timeout time.Duration // 0 = none

	Idempotent     bool
	IdempotencyKey []byte
	Priority       Priority
}

// ParseRequest reads {"method", "args"?, "kwargs"?, "id"?, "timeout"?} and the
// optional keys "idempotent", "idempotency_key" and "priority". Keys it does
// not know are an error, so that a typing mistake is not silently dropped. The
// returned Request carries the ID even when err is not nil, if one was read.
func ParseRequest(body []byte) (r Request, err *Error) {
	n, at, ok := mapLen(body)
	if !ok {
		return r, Errorf(Malformed, `the request is not a msgpack map; send {"method": str, "args": [..], "kwargs": {..}}`)
	}
	if e := Validate(body); e != nil {
		return r, Errorf(Malformed, "the request is not one msgpack value: %v", e)
	}
	rest := body[at:]
	for range n {
		var key, value []byte
		key, rest, _ = SplitValue(rest) // cannot fail: validated above
		value, rest, _ = SplitValue(rest)
		name, ok := stringBytes(key)
		if !ok {
			return r, Errorf(Malformed, "a key of the request map is not a string")
		}
		if e := r.set(name, value); e != nil {
			err = e // keep reading: a later "id" lets the answer find its caller
		}
	}
	if err == nil && len(r.Method) == 0 {
		err = Errorf(Malformed, `the request map has no "method"`)
	}
	return r, err
}

var requestKeys = []string{"method", "args", "kwargs", "id", "timeout", "idempotent", "idempotency_key", "priority"}

func (r *Request) set(name, value []byte) *Error {
	isNil := value[0] == 0xc0
	switch string(name) {
	case "method":
		m, ok := stringBytes(value)
		if !ok || len(m) == 0 || len(m) > MaxMethodName {
			return Errorf(Malformed, `"method" must be a string of 1 to %d bytes`, MaxMethodName)
		}
		r.Method = m
	case "args":
		if !isNil && !isArray(value) {
			return Errorf(BadArgs, `"args" must be an array`)
		}
		r.Args = value
	case "kwargs":
		if _, _, ok := mapLen(value); !isNil && !ok {
			return Errorf(BadArgs, `"kwargs" must be a map`)
		}
		r.Kwargs = value
	case "id":
		if len(value) > MaxPlainID {
			return Errorf(TooLarge, `"id" exceeds %d bytes`, MaxPlainID)
		}
		r.ID = value
	case "timeout":
		var s float64
		if isNil {
			return nil
		}
		if unmarshal(value, &s) != nil || !(s > 0) {
			return Errorf(BadArgs, `"timeout" must be a positive number of seconds`)
		}
		r.Timeout = MaxTimeout
		if s < MaxTimeout.Seconds() {
			r.Timeout = max(time.Duration(s*float64(time.Second)), time.Millisecond)
		}
	case "idempotent":
		if c := value[0]; !isNil && c != 0xc2 && c != 0xc3 {
			return Errorf(BadArgs, `"idempotent" must be true or false`)
		}
		r.Idempotent = value[0] == 0xc3
	case "idempotency_key":
		k, ok := stringBytes(value)
		if !isNil && (!ok || len(k) > MaxIdempotencyKey) {
			return Errorf(BadArgs, `"idempotency_key" must be a string of at most %d bytes`, MaxIdempotencyKey)
		}
		r.IdempotencyKey = k
	case "priority":
		s, _ := stringBytes(value)
		p, ok := ParsePriority(string(s))
		if !ok {
			return Errorf(BadArgs, `"priority" must be "low", "normal" or "high"`)
		}
		r.Priority = p
	default:
		short := string(name[:min(len(name), 64)])
		return Errorf(Malformed, "the request has an unknown key %q%s", short, DidYouMean(short, requestKeys))
	}
	return nil
}

func isArray(b []byte) bool {
	return len(b) > 0 && (b[0] >= 0x90 && b[0] <= 0x9f || b[0] == 0xdc || b[0] == 0xdd)
}

// AppendRequest appends the plain request map that a plain worker receives.
// body is a compact call body: the args value and the kwargs value.
func AppendRequest(dst []byte, method string, body []byte, timeout time.Duration) ([]byte, *Error) {
	args, kwargs, err := SplitBody(body)
	if err != nil {
		return dst, err
	}
	if args[0] == 0xc0 {
		args = []byte{0x90}
	}
	if kwargs[0] == 0xc0 {
		kwargs = []byte{0x80}
	}
	fields := byte(3)
	if timeout > 0 {
		fields++
	}
	dst = append(dst, 0x80|fields)
	dst = appendString(dst, "method")
	dst = appendString(dst, method)
	dst = appendString(dst, "args")
	dst = append(dst, args...)
	dst = appendString(dst, "kwargs")
	dst = append(dst, kwargs...)
	if timeout > 0 {
		dst = appendString(dst, "timeout")
		dst = appendFloat(dst, timeout.Seconds())
	}
	return dst, nil
}

// AppendResult appends {"id"?, "result": value}; id and value are msgpack values.
func AppendResult(dst, id, value []byte) []byte { return appendReply(dst, id, "result", value) }

// AppendError appends {"id"?, "error": {...}}; body is the error's msgpack form.
func AppendError(dst, id, body []byte) []byte { return appendReply(dst, id, "error", body) }

func appendReply(dst, id []byte, key string, value []byte) []byte {
	if id == nil {
		dst = append(dst, 0x81)
	} else {
		dst = append(dst, 0x82)
		dst = appendString(dst, "id")
		dst = append(dst, id...)
	}
	dst = appendString(dst, key)
	return append(dst, value...)
}

// Reply is a plain worker's answer. Exactly one of Result and Err is set: an
// error that is not nil counts, whatever result stands beside it.
type Reply struct {
	ID     []byte
	Result []byte // one msgpack value, aliasing the parsed body
	Err    *Error
}

// ParseReply reads {"result": any} or {"error": {...}}. An error may also be a
// plain string, which becomes an Application error.
func ParseReply(body []byte) (Reply, *Error) {
	var r Reply
	n, at, ok := mapLen(body)
	if !ok || Validate(body) != nil {
		return r, malformedReply()
	}
	rest := body[at:]
	for range n {
		var key, value []byte
		key, rest, _ = SplitValue(rest)
		value, rest, _ = SplitValue(rest)
		name, _ := stringBytes(key)
		switch string(name) {
		case "id":
			r.ID = value
		case "result":
			r.Result = value
		case "error":
			if value[0] == 0xc0 {
				continue
			}
			if text, ok := stringBytes(value); ok {
				r.Err = &Error{Code: Application, Message: string(text)}
			} else {
				r.Err = ParseError(value)
			}
		}
	}
	switch {
	case r.Err != nil:
		r.Result = nil
	case r.Result == nil:
		return r, malformedReply()
	}
	return r, nil
}

func malformedReply() *Error {
	return Errorf(Malformed, `the worker's answer is not a msgpack map {"result": any} or {"error": {"code", "message"}}`).
		WithExecution(MaybeExecuted)
}

func appendString(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n < 256:
		dst = append(dst, 0xd9, byte(n))
	default:
		dst = append(dst, 0xda, byte(n>>8), byte(n))
	}
	return append(dst, s...)
}

func appendFloat(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(f))
}

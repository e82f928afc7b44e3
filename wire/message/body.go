package message

// A compact CALL's body is two msgpack values back to back: the args, an array
// or nil, and the kwargs, a map or nil. A RESULT's body is one msgpack value.

// AppendBody appends a call body made of raw msgpack values; nil stands for none.
func AppendBody(dst, args, kwargs []byte) []byte {
	if args == nil {
		dst = append(dst, 0xc0)
	}
	dst = append(dst, args...)
	if kwargs == nil {
		dst = append(dst, 0xc0)
	}
	return append(dst, kwargs...)
}

// SplitBody returns the args and kwargs of a call body, each one msgpack value
// (an array or nil, a map or nil), aliasing body.
func SplitBody(body []byte) (args, kwargs []byte, e *Error) {
	args, rest, err := SplitValue(body)
	if err == nil {
		kwargs, rest, err = SplitValue(rest)
	}
	if err == nil && len(rest) > 0 {
		err = errTrail
	}
	if err != nil {
		return nil, nil, Errorf(Malformed, "the body of the call is not two msgpack values, args and kwargs: %v", err)
	}
	if args[0] != 0xc0 && !isArray(args) {
		return nil, nil, Errorf(Malformed, "the args of the call are not an array")
	}
	if _, _, ok := mapLen(kwargs); kwargs[0] != 0xc0 && !ok {
		return nil, nil, Errorf(Malformed, "the kwargs of the call are not a map")
	}
	return args, kwargs, nil
}

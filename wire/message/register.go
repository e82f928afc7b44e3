package message

import (
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// ProtocolVersion is the version of the compact protocol, sent as the
// X-Servicetools property of the ZMTP metadata. A broker refuses a major
// version that it does not speak.
const ProtocolVersion = "1"

// PropertySDK is the metadata property by which an SDK announces itself; its
// value is ProtocolVersion. A peer without it speaks the plain protocol.
const PropertySDK = "X-Servicetools"

// Attach is the body of ATTACH. The envelope's ID counts the outcomes that the
// client received in this session so far.
type Attach struct {
	Session SessionID `msgpack:"session"`
	Name    string    `msgpack:"name,omitempty"`    // for people: host and program
	Version string    `msgpack:"version,omitempty"` // of the SDK
}

// Validate returns the reason for which a broker refuses a, if there is one.
func (a *Attach) Validate() *Error {
	if !isLabel(a.Name, MaxClientName) || !isLabel(a.Version, MaxWorkerID) {
		return Errorf(Malformed, "the client's name or version is too long, or not printable")
	}
	return nil
}

// Attached is the body of ATTACHED. The envelope's ID is the highest call
// number that the broker holds of the session; the client sends what lies above.
type Attached struct {
	Broker     SessionID `msgpack:"broker"`      // changes with each start of the broker
	Resumed    bool      `msgpack:"resumed"`     // the broker still holds the session
	BeatMillis int64     `msgpack:"beat_ms"`     // send something at least this often
	MaxMessage int64     `msgpack:"max_message"` // bytes
	MaxCalls   int64     `msgpack:"max_calls"`   // calls in flight for this key
	Version    string    `msgpack:"version,omitempty"`
}

// Method describes one method that a worker serves.
type Method struct {
	Name       string   `msgpack:"name" json:"name"`
	Aliases    []string `msgpack:"aliases,omitempty" json:"aliases,omitempty"`     // other spellings, such as ReturnNonSense
	Signature  string   `msgpack:"signature,omitempty" json:"signature,omitempty"` // as Go writes it
	Doc        string   `msgpack:"doc,omitempty" json:"doc,omitempty"`
	Idempotent bool     `msgpack:"idempotent,omitempty" json:"idempotent,omitempty"`
	Stream     bool     `msgpack:"stream,omitempty" json:"stream,omitempty"`
}

// Register is the body of REGISTER.
type Register struct {
	Worker      string   `msgpack:"worker"` // the worker's configured id
	Name        string   `msgpack:"name,omitempty"`
	Host        string   `msgpack:"host,omitempty"`
	PID         int      `msgpack:"pid,omitempty"`
	Version     string   `msgpack:"version,omitempty"`
	Concurrency int      `msgpack:"concurrency"` // calls at once
	Busy        int      `msgpack:"busy,omitempty"`
	Methods     []Method `msgpack:"methods"`
}

// Registered is the body of REGISTERED.
type Registered struct {
	Broker      SessionID `msgpack:"broker"`
	Worker      string    `msgpack:"worker"` // the id in force; differs from the asked one if that is taken
	BeatMillis  int64     `msgpack:"beat_ms"`
	GraceMillis int64     `msgpack:"grace_ms"` // how long claims of an earlier broker's calls are taken
	MaxMessage  int64     `msgpack:"max_message"`
	Version     string    `msgpack:"version,omitempty"`
}

// Limits of ATTACH and REGISTER; a broker refuses what exceeds them.
const (
	MaxMethods     = 4096
	MaxAliases     = 16 // of one method
	MaxDoc         = 4096
	MaxSignature   = 1024
	MaxWorkerID    = 128
	MaxClientName  = 512
	MaxConcurrency = 65536
)

// Beat returns a wire interval as a Duration, bounded to sane values.
func Beat(millis int64) time.Duration {
	return min(max(time.Duration(millis)*time.Millisecond, 10*time.Millisecond), 10*time.Minute)
}

// Marshal returns the msgpack form of a body that this package defines.
func Marshal(v any) []byte {
	b, err := msgpack.Marshal(v)
	if err != nil {
		panic("message: a body of ours cannot be encoded: " + err.Error())
	}
	return b
}

// Unmarshal decodes exactly one msgpack value into v after checking its
// lengths and nesting. A failure is a Malformed error.
func Unmarshal(b []byte, v any) error {
	if err := unmarshal(b, v); err != nil {
		return Errorf(Malformed, "the body cannot be decoded: %v", err)
	}
	return nil
}

// Validate returns the first reason for which a broker refuses r.
func (r *Register) Validate() *Error {
	switch {
	case !isLabel(r.Worker, MaxWorkerID) || !isLabel(r.Name, MaxWorkerID) || !isLabel(r.Host, MaxMethodName) || !isLabel(r.Version, MaxWorkerID):
		return Errorf(Malformed, "the worker's id, name, host or version is too long, or not printable")
	case r.Concurrency < 1 || r.Concurrency > MaxConcurrency:
		return Errorf(Malformed, "concurrency %d is not within 1 to %d", r.Concurrency, MaxConcurrency)
	case r.Busy < 0 || r.Busy > r.Concurrency:
		return Errorf(Malformed, "busy %d is not within 0 and the concurrency %d", r.Busy, r.Concurrency)
	case len(r.Methods) > MaxMethods:
		return Errorf(TooLarge, "%d methods exceed the limit of %d", len(r.Methods), MaxMethods)
	}
	names := 0
	for _, m := range r.Methods {
		if names += 1 + len(m.Aliases); names > 2*MaxMethods || len(m.Aliases) > MaxAliases {
			return Errorf(TooLarge, "the methods have more than %d names and aliases, or one of them more than %d", 2*MaxMethods, MaxAliases)
		}
		for _, name := range append([]string{m.Name}, m.Aliases...) {
			if err := CheckMethodName(name); err != nil {
				return err
			}
		}
		if len(m.Doc) > MaxDoc || len(m.Signature) > MaxSignature {
			return Errorf(TooLarge, "the doc or signature of method %q is too long", m.Name)
		}
	}
	return nil
}

// isLabel reports whether s can stand in a log line or a table: UTF-8 without
// control characters, of at most limit bytes.
func isLabel(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// ReservedPrefix starts the names that the broker answers itself.
const ReservedPrefix = "broker."

// CheckMethodName refuses names that a worker may not serve: empty, longer than
// 255 bytes, reserved, or with a byte outside printable ASCII without space
// (two spellings of a name that look alike must not be two methods).
func CheckMethodName(name string) *Error {
	if name == "" || len(name) > MaxMethodName {
		return Errorf(Malformed, "a method name must have 1 to %d bytes", MaxMethodName)
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return Errorf(Malformed, "method name %q has a byte outside printable ASCII", name)
		}
	}
	if len(name) >= len(ReservedPrefix) && name[:len(ReservedPrefix)] == ReservedPrefix {
		return Errorf(Unauthorized, "method name %q is reserved: %q belongs to the broker", name, ReservedPrefix)
	}
	return nil
}

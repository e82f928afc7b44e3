package clientsdk

import (
	"fmt"
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// Priority orders calls that wait in the broker's queue.
type Priority = message.Priority

// The priorities.
const (
	PriorityNormal = message.PriorityNormal
	PriorityHigh   = message.PriorityHigh
	PriorityLow    = message.PriorityLow
)

// settings are the options of one call.
type settings struct {
	timeout    time.Duration // 0 = none
	idempotent bool
	key        string
	priority   Priority
	progress   func(Progress)
}

// CallOption configures the calls of a Client made by With.
type CallOption func(*settings) error

func (s *settings) apply(opts []CallOption) error {
	for _, opt := range opts {
		if err := opt(s); err != nil {
			return err
		}
	}
	return nil
}

// Timeout bounds a call whose context has no nearer deadline; 0 means no bound.
func Timeout(d time.Duration) CallOption {
	return func(s *settings) error {
		if d < 0 {
			return fmt.Errorf("clientsdk: a timeout of %v is negative", d)
		}
		s.timeout = d
		return nil
	}
}

// Idempotent says that running the method twice does no harm: the broker then
// runs the call again if its worker is lost.
func Idempotent() CallOption {
	return func(s *settings) error {
		s.idempotent = true
		return nil
	}
}

// IdempotencyKey makes calls of the same method and key, within two minutes,
// one call: the later ones get the outcome of the first. Their arguments must
// be the same to the byte; give structs or Kwargs, not other maps, whose order
// Go shuffles. At most 255 bytes.
func IdempotencyKey(key string) CallOption {
	return func(s *settings) error {
		if key == "" || len(key) > message.MaxIdempotencyKey {
			return fmt.Errorf("clientsdk: an idempotency key has 1 to %d bytes, not %d", message.MaxIdempotencyKey, len(key))
		}
		s.key = key
		return nil
	}
}

// WithPriority sets the order in the broker's queue; the default is PriorityNormal.
func WithPriority(p Priority) CallOption {
	return func(s *settings) error {
		if p > PriorityLow {
			return fmt.Errorf("clientsdk: unknown priority %d", p)
		}
		s.priority = p
		return nil
	}
}

// Progress is what a method reported about how far it is.
type Progress struct {
	Done, Total float64 // Total is 0 if the method does not know
	Note        string
}

// OnProgress calls f for the progress of a call. Reports are lossy: of several
// that come at once the last is given. f runs in the goroutine that waits for
// the call, never two at a time for one call.
func OnProgress(f func(Progress)) CallOption {
	return func(s *settings) error {
		s.progress = f
		return nil
	}
}

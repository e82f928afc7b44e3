package broker

import (
	"context"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/wire/message"
)

// serviceMethods are methods of the broker's own that misbehave. broker.waits
// tells begun, and over why its context ended.
func serviceMethods(begun chan<- struct{}, over chan<- error) []ownMethod {
	return []ownMethod{
		own("broker.panics", "", "", func(*Broker, context.Context, params) (any, error) { panic("on purpose") }),
		own("broker.unencodable", "", "", func(*Broker, context.Context, params) (any, error) { return func() {}, nil }),
		own("broker.waits", "", "", func(_ *Broker, ctx context.Context, _ params) (any, error) {
			close(begun)
			<-ctx.Done()
			over <- ctx.Err()
			return nil, ctx.Err()
		}),
	}
}

// A panic of one of the broker's own methods ends the call and nothing else,
// and a call that is cancelled or late ends its context.
func TestService_containsItsMethods(t *testing.T) {
	begun, over := make(chan struct{}), make(chan error)
	own := ownMethods
	t.Cleanup(func() { ownMethods = own })
	ownMethods = append(append([]ownMethod(nil), own...), serviceMethods(begun, over)...)
	s := start(t, nil)
	if got := s.refused("admin", message.HandlerPanic, "broker.panics"); !strings.Contains(got, "broker's log") {
		t.Errorf("the error says %q", got)
	}
	s.refused("admin", message.Internal, "broker.unencodable")
	c := s.compact(s.broker.Frontend(), "admin")
	c.send(message.Envelope{Kind: message.KindAttach, Body: message.Marshal(&message.Attach{})}, call(t, 1, "broker.waits", 0))
	c.want(message.KindAttached)
	<-begun
	c.send(message.Envelope{Kind: message.KindCancel, ID: 1})
	if err := <-over; err == nil {
		t.Error("the method's context lives on")
	}
	c.wantError(message.KindError, message.Cancelled)
}

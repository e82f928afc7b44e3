package broker

import (
	"context"
	"time"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/version"
)

// The names of the broker's own methods that other files refer to.
const (
	methodPing     = "broker.ping"
	methodMethods  = "broker.methods"
	methodDescribe = "broker.describe"
)

// ownMethod is a method that the broker answers itself.
type ownMethod struct {
	message.Method
	run func(context.Context, *Broker, params) (any, error)
}

// ownMethods is filled by init, since its functions refer to it.
var ownMethods []ownMethod

func init() {
	ownMethods = []ownMethod{
		own(methodPing, "broker.ping() map", "Ping returns the broker's name, version and time.", (*Broker).ping),
	}
}

func own(name, signature, doc string, run func(*Broker, context.Context, params) (any, error)) ownMethod {
	return ownMethod{
		Method: message.Method{Name: name, Signature: signature, Doc: doc},
		run:    func(ctx context.Context, b *Broker, p params) (any, error) { return run(b, ctx, p) },
	}
}

func (b *Broker) ping(context.Context, params) (any, error) {
	return map[string]any{
		"name":    b.config.Main.Name,
		"id":      b.config.Main.ID,
		"version": version.String(),
		"time":    time.Now().UTC().Format(time.RFC3339Nano),
		"uptime":  seconds(time.Since(b.started)),
	}, nil
}

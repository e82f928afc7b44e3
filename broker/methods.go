package broker

import (
	"context"

	"github.com/servicetools/servicetools/wire/message"
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

// changes names the own methods that change something: each call of one is on record.
var changes = map[string]bool{
	"broker.cancel": true, "broker.add": true, "broker.remove": true,
	"broker.scale": true, "broker.drain": true, "broker.reload": true,
}

// ownMethods is filled by init, since its functions refer to it.
var ownMethods []ownMethod

func init() {
	ownMethods = []ownMethod{
		own(methodPing, "broker.ping() map", "Ping returns the broker's name, version and time.", (*Broker).ping),
		own(methodMethods, "broker.methods() []map", "Methods lists every method that is served, with its signature.", (*Broker).methods),
		own(methodDescribe, "broker.describe(method string) map", "Describe shows the signature and doc comment of one method.", (*Broker).describe),
		own("broker.status", "broker.status() map", "Status returns the counters of the broker.", (*Broker).status),
		own("broker.health", "broker.health() map", "Health fails when the broker cannot do its work.", (*Broker).health),
		own("broker.workers", "broker.workers() []map", "Workers lists the connected workers and the supervised processes.", (*Broker).workers),
		own("broker.calls", "broker.calls(limit int, method, worker, state string) []map", "Calls lists calls that have not ended, the oldest first.", (*Broker).calls),
		own("broker.sessions", "broker.sessions() []map", "Sessions lists the clients.", (*Broker).sessions),
		own("broker.cancel", "broker.cancel(call string) string", "Cancel ends a call of any client and returns its id, or nothing if it has ended before; the beginning of its session does.", (*Broker).cancelCall),
		own("broker.add", "broker.add(config string, count int) []string", "Add starts more workers on the broker's host and returns their ids.", (*Broker).add),
		own("broker.remove", "broker.remove(id string, now bool) string", "Remove drains a worker on the broker's host, ends it for good and returns its id, of which the beginning does; now does not wait.", (*Broker).remove),
		own("broker.scale", "broker.scale(n int) []map", "Scale starts or drains workers on the broker's host until there are n.", (*Broker).scale),
		own("broker.drain", "broker.drain(worker string) []string", `Drain asks a worker (the beginning of its id does), the workers of "host:NAME", or "all", to finish and leave, and returns their ids.`, (*Broker).drainWorkers),
		own("broker.reload", "broker.reload() map", "Reload reads the configuration file again and applies what can change live.", (*Broker).reloadConfig),
	}
}

func own(name, signature, doc string, run func(*Broker, context.Context, params) (any, error)) ownMethod {
	return ownMethod{
		Method: message.Method{Name: name, Signature: signature, Doc: doc},
		run:    func(ctx context.Context, b *Broker, p params) (any, error) { return run(b, ctx, p) },
	}
}

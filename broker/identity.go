package broker

import (
	"net"
	"strings"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/broker/keyring"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// identity is who is at the other end of a link. The key and the connection
// make it; nothing that the peer says about itself does.
type identity struct {
	entry   keyring.Entry // zero without security
	key     string        // the public key, or the peer's host without security: what limits count by
	address string        // host:port, for people
	admin   bool
	sdk     bool // speaks the compact protocol
}

// identify reads what admission left on the link.
func identify(link *zmtp.Link) identity {
	i := identity{address: link.RemoteAddr().String()}
	_, i.sdk = link.Metadata().Get(message.PropertySDK)
	if entry, ok := link.Subject().(keyring.Entry); ok {
		i.entry, i.key = entry, entry.Key.String()
		i.admin = entry.Role == curve.RoleAdmin
		return i
	}
	i.key, _, _ = net.SplitHostPort(i.address)
	i.admin = true // without security everybody on loopback is trusted
	return i
}

// open lists the broker's own methods that every client may call.
var open = map[string]bool{
	methodPing:     true,
	methodMethods:  true,
	methodDescribe: true,
}

// mayCall reports whether the peer, a client, may call the method.
func (i *identity) mayCall(method string) bool {
	if strings.HasPrefix(method, message.ReservedPrefix) {
		return i.admin || open[method]
	}
	return i.entry.Allows(method)
}

// mayServe reports whether the peer, a worker, may serve the method.
func (i *identity) mayServe(method string) bool {
	return !strings.HasPrefix(method, message.ReservedPrefix) && i.entry.Allows(method)
}

// client describes the peer to the dispatcher; program is what it calls itself.
func (i *identity) client(program string, sink dispatch.ClientSink) dispatch.ClientConfig {
	name := i.entry.Name
	if program != "" {
		name += " (" + program + ")"
	}
	return dispatch.ClientConfig{Key: i.key, Name: name, Address: i.address, Sink: sink, May: i.mayCall}
}

// worker describes the peer to the dispatcher; a REP worker registers nothing.
func (i *identity) worker(r *message.Register, sink dispatch.WorkerSink) dispatch.WorkerConfig {
	return dispatch.WorkerConfig{Register: r, Key: i.key, Address: i.address, Sink: sink, May: i.mayServe}
}

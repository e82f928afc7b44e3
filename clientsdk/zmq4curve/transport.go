// Package zmq4curve is a transport for github.com/go-zeromq/zmq4, which has no
// CURVE of its own: under a scheme registered here its REQ and DEALER sockets
// reach any CURVE server, a broker of ours or libzmq's REP and ROUTER.
//
//	zmq4curve.Register("curve", zmq4curve.Config{Key: key, ServerKey: serverKey})
//	socket := zmq4.NewDealer(ctx)
//	err := socket.Dial("curve://broker.example.org:8006")
//
// A failed handshake is Dial's error, and matches those of packages zmtp and curve.
// When a connection ends the socket's next Recv fails; dial again to go on.
// A libzmq server cuts a connection on which a frame takes longer than its
// ZMQ_HEARTBEAT_TIMEOUT to arrive, whoever sends it: large ones need a long one.
package zmq4curve

import (
	"context"
	"errors"
	"math"
	"net"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/go-zeromq/zmq4/transport"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Config holds the keys of a transport. Servers with different keys need a
// scheme each.
type Config struct {
	Key       curve.SecretKey // the client's
	ServerKey curve.PublicKey // of every server dialled with the scheme
	// MaxMessage bounds each message, in bytes, both ways. Default 16 MiB.
	MaxMessage int
}

// Register makes endpoints "scheme://host:port" reach CURVE servers. A scheme
// can be registered once in a process.
func Register(scheme string, cfg Config) error {
	t, err := New(cfg)
	if err != nil {
		return err
	}
	return zmq4.RegisterTransport(scheme, t)
}

// New returns the transport that Register registers.
func New(cfg Config) (transport.Transport, error) {
	if cfg.Key.IsZero() || cfg.ServerKey.IsZero() {
		return nil, errors.New("zmq4curve: Config needs the client's Key and the ServerKey")
	}
	return &curveTransport{Config: cfg, tcp: transport.New("tcp")}, nil
}

type curveTransport struct {
	Config
	tcp transport.Transport
}

// Dial connects to a server. The CURVE handshake follows when zmq4 has said
// which kind of socket it is.
func (t *curveTransport) Dial(ctx context.Context, dialer transport.Dialer, addr string) (net.Conn, error) {
	far, err := t.tcp.Dial(ctx, dialer, addr)
	if err != nil {
		return nil, err
	}
	return t.bridge(ctx, far), nil
}

// Listen fails: go-zeromq's listeners are not safe on a network anyway, since
// any peer can end their process before it is authenticated.
func (t *curveTransport) Listen(context.Context, string) (net.Listener, error) {
	return nil, errors.New("zmq4curve: only Dial is encrypted; Listen is not offered")
}

// Addr returns the "host:port" of an endpoint without its scheme.
func (t *curveTransport) Addr(endpoint string) (string, error) { return t.tcp.Addr(endpoint) }

// limits returns the bounds of both links of a bridge. A slow side is never
// cut: zmq4 blocks instead, as it does over plain TCP.
func (t *curveTransport) limits() zmtp.Limits {
	const never = 365 * 24 * time.Hour
	return zmtp.Limits{
		MaxMessage:   t.MaxMessage,
		MaxFrames:    math.MaxInt32,
		MaxPending:   math.MaxInt32,
		WriteWait:    never,
		AssemblyWait: never,
	}
}

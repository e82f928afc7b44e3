package zmq4curve_test

import (
	"context"
	"fmt"

	"github.com/go-zeromq/zmq4"
	"github.com/servicetools/servicetools/clientsdk/zmq4curve"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// A zmq4 program reaches an encrypted server by registering its keys once and
// dialling another scheme.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	key := curve.GenerateKey()
	addr, serverKey := startEcho(ctx)

	if err := zmq4curve.Register("curve", zmq4curve.Config{Key: key, ServerKey: serverKey}); err != nil {
		panic(err)
	}
	socket := zmq4.NewReq(ctx)
	defer socket.Close()
	if err := socket.Dial("curve://" + addr); err != nil {
		panic(err)
	}
	if err := socket.Send(zmq4.NewMsgString("hello")); err != nil {
		panic(err)
	}
	reply, err := socket.Recv()
	if err != nil {
		panic(err)
	}
	fmt.Println(string(reply.Bytes()))
	// Output: hello
}

// startEcho starts a server that admits everybody who knows its key.
func startEcho(ctx context.Context) (addr string, key curve.PublicKey) {
	server := &curve.Server{
		Key:   curve.GenerateKey(),
		Admit: func(curve.PublicKey, zmtp.Metadata) (any, error) { return nil, nil },
	}
	listener, err := zmtp.Listen("tcp://127.0.0.1:0", &zmtp.Config{SocketType: "ROUTER", Mechanism: server}, zmtp.ListenLimits{}, nil)
	if err != nil {
		panic(err)
	}
	go listener.Serve(ctx, func(link *zmtp.Link) {
		_ = link.Run(func(m *zmtp.Message) error { return link.Send(m.Frame(0), m.Frame(1)) })
	})
	return listener.Addr().String(), server.Key.Public()
}

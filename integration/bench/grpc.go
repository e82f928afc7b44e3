package bench

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpcPeer is what a gRPC process needs to know.
type grpcPeer struct {
	Addrs []string `json:"addrs,omitempty"`
	TLS   string   `json:"tls,omitempty"` // the folder of the certificate; empty: in clear
}

// grpcSystem is gRPC without a broker: the client calls the workers in turn. It
// shows what a broker costs, and does nothing of what one is for.
func grpcSystem(name string, secure bool) *System {
	return &System{
		Name: name,
		Fits: func(c Cell) bool { return c.Workers == workerProcesses },
		Start: func(ctx context.Context, s *Site, _ Layout) (*Running, error) {
			r, p := &Running{}, grpcPeer{}
			if secure {
				p.TLS = s.Dir
				if err := writeTLS(s.Dir); err != nil {
					return r, err
				}
			}
			argv := func(role string) []string {
				spec, _ := json.Marshal(p) // a struct of strings
				return []string{s.Self, RolePrefix + role, string(spec)}
			}
			var err error
			if p.Addrs, err = r.startWorkers(ctx, s, name, argv("grpc-worker")); err != nil {
				return r, err
			}
			return r, r.startClient(ctx, s, name, argv("grpc-client"))
		},
	}
}

// grpcMethod is the service, as generated code would describe it.
const grpcMethod = "/bench.Echo/Echo"

var grpcService = grpc.ServiceDesc{
	ServiceName: "bench.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := &wrapperspb.BytesValue{}
		return in, decode(in)
	}}},
}

func grpcWorker(spec string, in io.Reader) error {
	var p grpcPeer
	if err := json.Unmarshal([]byte(spec), &p); err != nil {
		return err
	}
	opts := []grpc.ServerOption{grpc.MaxRecvMsgSize(64 << 20)}
	if p.TLS != "" {
		creds, err := credentials.NewServerTLSFromFile(filepath.Join(p.TLS, certFile), filepath.Join(p.TLS, certKeyFile))
		if err != nil {
			return err
		}
		opts = append(opts, grpc.Creds(creds))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(opts...)
	s.RegisterService(&grpcService, nil)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	if err := say(Answer{Ready: listener.Addr().String()}); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, in) // a worker is told nothing but its end
	s.Stop()
	return <-served
}

type grpcDriver struct {
	peer  grpcPeer
	conns []*grpc.ClientConn
}

func grpcClient(spec string, in io.Reader) error {
	d := &grpcDriver{}
	if err := json.Unmarshal([]byte(spec), &d.peer); err != nil {
		return err
	}
	return runClient(d, in)
}

func (d *grpcDriver) open(n int) error {
	for _, c := range d.conns {
		c.Close()
	}
	d.conns = nil
	creds := insecure.NewCredentials()
	if d.peer.TLS != "" {
		var err error
		if creds, err = credentials.NewClientTLSFromFile(filepath.Join(d.peer.TLS, certFile), "127.0.0.1"); err != nil {
			return err
		}
	}
	workers := manual.NewBuilderWithScheme("bench")
	var addrs []resolver.Address
	for _, a := range d.peer.Addrs {
		addrs = append(addrs, resolver.Address{Addr: a})
	}
	workers.InitialState(resolver.State{Addresses: addrs})
	for range n {
		c, err := grpc.NewClient("bench:///workers", grpc.WithResolvers(workers), grpc.WithTransportCredentials(creds),
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.WaitForReady(true)))
		if err != nil {
			return err
		}
		d.conns = append(d.conns, c)
		if _, err := d.call(len(d.conns)-1, nil); err != nil { // it connects with its first call
			return err
		}
	}
	return nil
}

func (d *grpcDriver) drive(l *load) error {
	return callers(l, d.call)
}

func (d *grpcDriver) call(conn int, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	out := &wrapperspb.BytesValue{}
	err := d.conns[conn].Invoke(ctx, grpcMethod, &wrapperspb.BytesValue{Value: payload}, out)
	return out.Value, err
}

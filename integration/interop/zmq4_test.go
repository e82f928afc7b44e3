package interop

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Another ZMTP implementation in Go; it speaks NULL only, and its PINGs and
// reconnects are not to be relied on (hazards A1), so neither is tested.

func TestZmq4_clients(t *testing.T) {
	for name, socket := range map[string]func(context.Context, ...zmq4.Option) zmq4.Socket{"REQ": zmq4.NewReq, "DEALER": zmq4.NewDealer} {
		t.Run(name, func(t *testing.T) {
			record(t, "go-zeromq NULL", name+" at our server")
			endpoint, _ := echo(t, "tcp://127.0.0.1:0", "ROUTER", zmtp.Null{}, nil)
			s := socket(t.Context())
			defer s.Close()
			if err := s.Dial(endpoint); err != nil {
				t.Fatal(err)
			}
			for _, n := range sizes {
				want := strings.Repeat("x", n)
				if err := s.Send(zmq4.NewMsgFrom([]byte("head"), []byte(want))); err != nil {
					t.Fatal(err)
				}
				got, err := s.Recv()
				if err != nil || len(got.Frames) != 2 || string(got.Frames[1]) != want {
					t.Fatalf("%d bytes came back as %d frames, %v", n, len(got.Frames), err)
				}
			}
		})
	}
}

func TestZmq4_servers(t *testing.T) {
	record(t, "go-zeromq NULL", "our DEALER at their ROUTER")
	s := zmq4.NewRouter(t.Context())
	defer s.Close()
	if err := s.Listen("tcp://127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			m, err := s.Recv()
			if err != nil || s.Send(m) != nil {
				return
			}
		}
	}()
	exchange(t, dial(t, "tcp://"+s.Addr().String(), "DEALER", zmtp.Null{}), everySize()...)
}

func TestZmq4_throughTheBroker(t *testing.T) {
	record(t, "go-zeromq NULL", "REQ and DEALER to REP workers")
	s := env.Start(t, env.Insecure)
	worker := zmq4.NewRep(t.Context())
	defer worker.Close()
	if err := worker.Dial(s.Backend()); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			m, err := worker.Recv()
			if err != nil {
				return
			}
			var request struct {
				Args []int `msgpack:"args"`
			}
			if msgpack.Unmarshal(m.Frames[len(m.Frames)-1], &request) != nil {
				return
			}
			b, _ := msgpack.Marshal(map[string]int{"result": 2 * request.Args[0]})
			if worker.Send(zmq4.NewMsg(b)) != nil {
				return
			}
		}
	}()
	client := zmq4.NewReq(t.Context())
	defer client.Close()
	if err := client.Dial(s.Frontend()); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		b, _ := msgpack.Marshal(map[string]any{"method": "twice", "args": []int{i}, "timeout": 10})
		if err := client.Send(zmq4.NewMsg(b)); err != nil {
			t.Fatal(err)
		}
		m, err := client.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var reply map[string]any
		if err := msgpack.Unmarshal(m.Frames[len(m.Frames)-1], &reply); err != nil || fmt.Sprint(reply["result"]) != fmt.Sprint(2*i) {
			t.Fatalf("twice %d is %v, %v", i, reply, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if result, err := plainCall(ctx, s.Dial(s.Frontend(), "", "DEALER"), "twice", 21); err != nil || fmt.Sprint(result) != "42" {
		t.Errorf("twice 21 is %v, %v", result, err)
	}
}

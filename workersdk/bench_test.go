package workersdk

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// BenchmarkWorker is the worker's whole share of a call over loopback TCP:
// parse, decode, run, encode, send, acknowledged like a broker does.
func BenchmarkWorker(b *testing.B) {
	for _, c := range []struct {
		method  string
		timeout time.Duration
		args    []byte
	}{
		{"echo", 0, append([]byte{0x91, 0xc4, 100}, make([]byte, 100)...)},
		{"add", 0, []byte{0x92, 1, 2}},
		{"add", time.Minute, []byte{0x92, 1, 2}},
	} {
		b.Run(fmt.Sprintf("%s timeout=%v", c.method, c.timeout), func(b *testing.B) {
			const inFlight = 256
			var mu sync.Mutex
			sent, answered := 0, 0
			done := make(chan struct{})
			var outcomes uint64
			var e, call message.Envelope
			call = message.Envelope{Kind: message.KindCall, Flags: message.FlagOrigin, Attempt: 1, Timeout: c.timeout, Method: []byte(c.method)}
			call.Body = message.AppendBody(nil, c.args, nil)
			send := func(l *zmtp.Link) {
				sent++
				call.ID = uint64(sent)
				_, _ = l.Append(call.Append)
			}
			ln, err := zmtp.Listen("tcp://127.0.0.1:0", &zmtp.Config{SocketType: "DEALER",
				Mechanism: zmtp.Null{Admit: func(zmtp.Metadata) (any, error) { return nil, nil }}}, zmtp.ListenLimits{}, nil)
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			begin := make(chan *zmtp.Link, 1)
			serve := func(l *zmtp.Link) {
				_ = l.Run(func(m *zmtp.Message) error {
					mu.Lock()
					defer mu.Unlock()
					for rest := m.Bytes(); len(rest) > 0; {
						var err error
						if rest, err = e.Next(rest); err != nil {
							return err
						}
						switch e.Kind {
						case message.KindRegister:
							r := message.Envelope{Kind: message.KindRegistered, Body: message.Marshal(&message.Registered{BeatMillis: 5000})}
							_, _ = l.Append(r.Append)
							begin <- l
						case message.KindError:
							b.Error(message.ParseError(e.Body))
							fallthrough
						case message.KindResult:
							answered++
							if outcomes++; outcomes%64 == 0 {
								ack := message.Envelope{Kind: message.KindAck, ID: outcomes}
								_, _ = l.Append(ack.Append)
							}
							if sent < b.N {
								send(l)
							}
							if answered == b.N {
								close(done)
							}
						}
					}
					return nil
				})
			}
			var serving sync.WaitGroup
			serving.Go(func() { _ = ln.Serve(ctx, serve) })
			w, err := New(newLab(), Config{Addr: "tcp://" + ln.Addr().String(), Insecure: true, Concurrency: inFlight})
			if err != nil {
				b.Fatal(err)
			}
			running, stop := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- w.Run(running) }()
			link := <-begin
			b.ReportAllocs()
			b.ResetTimer()
			mu.Lock()
			for sent < min(inFlight, b.N) {
				send(link)
			}
			mu.Unlock()
			<-done
			b.StopTimer()
			stop()
			<-ended
			cancel()
			serving.Wait()
		})
	}
}

//go:build linux

package main

import (
	"context"
	"flag"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// proxy passes connections on, slowly, and cuts them. What is lost on a real
// link, TCP sends again: to those who use it, loss is delay, and in the end a
// connection that breaks.
type proxy struct {
	to      string
	delay   time.Duration
	perByte time.Duration
	life    time.Duration // of a connection, until it is cut in the middle of whatever it carries

	passed, cuts atomic.Int64
}

// runProxy serves until ctx ends.
func runProxy(ctx context.Context, args []string) (any, error) {
	var p proxy
	f := flag.NewFlagSet("proxy", flag.ContinueOnError)
	listen := f.String("listen", ":9006", "address")
	f.StringVar(&p.to, "to", "broker:9006", "address")
	f.DurationVar(&p.delay, "delay", 40*time.Millisecond, "before each piece is passed on")
	rate := f.Int("rate", 256<<10, "bytes a second, each way")
	f.DurationVar(&p.life, "life", 2*time.Second, "after which a connection is cut")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	p.perByte = time.Second / time.Duration(*rate)
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	ready()
	var serving sync.WaitGroup
	for {
		conn, err := l.Accept()
		if err != nil {
			break // closed: ctx has ended
		}
		serving.Go(func() { p.serve(ctx, conn) })
	}
	serving.Wait()
	return map[string]int64{"bytes": p.passed.Load(), "cuts": p.cuts.Load()}, nil
}

// serve passes one connection on until it is cut.
func (p *proxy) serve(ctx context.Context, near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer far.Close()
	ctx, cancel := context.WithTimeout(ctx, p.life)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		p.cuts.Add(1)
		near.(*net.TCPConn).SetLinger(0) // as a link that breaks: no good-bye
		near.Close()
		far.(*net.TCPConn).SetLinger(0)
		far.Close()
	})()
	var ways sync.WaitGroup
	ways.Go(func() { p.pass(far, near) })
	ways.Go(func() { p.pass(near, far) })
	ways.Wait()
}

// pass copies one way, and ends the other with its end.
func (p *proxy) pass(to, from net.Conn) {
	defer to.Close()
	piece := make([]byte, 8<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			time.Sleep(p.delay + time.Duration(n)*p.perByte)
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
			p.passed.Add(int64(n))
		}
		if err != nil {
			return
		}
	}
}

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/servicetools/servicetools/clientsdk"
)

// crowd is a process that opens many client connections and holds them.
type crowd interface {
	// join opens one more connection. It is called from several goroutines.
	join() error
	// call has every connection make a call, at once, and waits for the answers.
	call() error
}

// How a crowd opens its connections.
const (
	dialling = 16 // at the same time
	attempts = 5  // for each: on a busy machine a handshake may exceed its time
)

// runCrowd obeys the commands on in until it ends.
func runCrowd(c crowd, in io.Reader) error {
	if err := say(Answer{Ready: "crowd"}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		began := time.Now()
		var n int64
		var err error
		if lines.Text() == "call" {
			err = c.call()
		} else if _, err = fmt.Fscanf(strings.NewReader(lines.Text()), "open %d", &n); err == nil {
			err = openAll(c, int(n))
		}
		if err != nil {
			return err
		}
		if err := say(Answer{Done: &Report{Calls: n, Seconds: time.Since(began).Seconds()}}); err != nil {
			return err
		}
	}
	return nil
}

func openAll(c crowd, n int) error {
	places := make(chan struct{}, dialling)
	errs := make([]error, n)
	var opening sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		opening.Go(func() {
			for try := 0; try == 0 || errs[i] != nil && try < attempts; try++ {
				errs[i] = c.join()
			}
			<-places
		})
	}
	opening.Wait()
	return first(errs)
}

// first returns the first error that there is: those of a crowd are alike, and
// their sum would not fit a line.
func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ourCrowd is a crowd of clients made with the SDK, as its users have them.
type ourCrowd struct {
	peer ourPeer // static

	// Guarded by mu.
	mu      sync.Mutex
	guests  int // who have tried to come
	clients []*clientsdk.Client
}

func runOurCrowd(spec string, in io.Reader) error {
	c := &ourCrowd{}
	if err := json.Unmarshal([]byte(spec), &c.peer); err != nil {
		return err
	}
	return runCrowd(c, in)
}

func (c *ourCrowd) join() error {
	peer := c.peer
	c.mu.Lock()
	peer.Name = guest(c.guests)
	c.guests++
	c.mu.Unlock()
	client, err := peer.dial(context.Background())
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients = append(c.clients, client)
	return nil
}

// call begins a call on each connection at once; those whose broker is away
// make it when they are back. A broker that has just come back knows no method
// until a worker is back, too: such a call is made again.
func (c *ourCrowd) call() error {
	var calling sync.WaitGroup
	errs := make([]error, len(c.clients))
	for i, client := range c.clients {
		calling.Go(func() {
			for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				_, err := clientsdk.Call[[]byte](context.Background(), client, "echo", []byte("back"))
				if err == nil || !clientsdk.NotExecuted(err) || time.Now().After(deadline) {
					errs[i] = err
					return
				}
			}
		})
	}
	calling.Wait()
	return first(errs)
}

// natsCrowd is a crowd of clients of nats-server.
type natsCrowd struct {
	peer natsPeer // static

	mu    sync.Mutex
	conns []*nats.Conn // guarded by mu
}

func runNATSCrowd(spec string, in io.Reader) error {
	c := &natsCrowd{}
	if err := json.Unmarshal([]byte(spec), &c.peer); err != nil {
		return err
	}
	return runCrowd(c, in)
}

func (c *natsCrowd) join() error {
	conn, err := c.peer.connect()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	return nil
}

func (c *natsCrowd) call() error { return errors.New("no crowd of NATS clients is asked to") }

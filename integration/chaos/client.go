package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
)

// Load is what a client does: callers that call without a pause, one
// call after the other each.
type Load struct {
	Addr      string // tcp://host:port
	Cert      string // the client's *.key_secret; to a Run, the name of the key
	ServerKey string
	Name      string // of the client; begins the ids of its calls
	Journal   string // file
	Methods   string // of ledger, separated by commas, in turn
	Callers   int
	HoldLeast int // milliseconds that a worker takes for a call
	HoldMost  int
	Payload   int // bytes at most
	Timeout   time.Duration
	Calls     int // in all; 0 = until SIGTERM
	Hurry     int // of 100 calls, how many have too little time or are cancelled
}

func (l *Load) flags() *flag.FlagSet {
	f := flag.NewFlagSet("client", flag.ContinueOnError)
	f.StringVar(&l.Addr, "addr", "", "")
	f.StringVar(&l.Cert, "cert", "", "")
	f.StringVar(&l.ServerKey, "server-key", "", "")
	f.StringVar(&l.Name, "name", "", "")
	f.StringVar(&l.Journal, "journal", "", "")
	f.StringVar(&l.Methods, "methods", "once,again", "")
	f.IntVar(&l.Callers, "callers", 1, "")
	f.IntVar(&l.HoldLeast, "hold-least", 0, "")
	f.IntVar(&l.HoldMost, "hold-most", 0, "")
	f.IntVar(&l.Payload, "payload", 0, "")
	f.DurationVar(&l.Timeout, "timeout", time.Minute, "")
	f.IntVar(&l.Calls, "calls", 0, "")
	f.IntVar(&l.Hurry, "hurry", 0, "")
	return f
}

// withDefaults fills in what a load leaves open.
func (l Load) withDefaults() Load {
	if l.Cert == "" {
		l.Cert = "client"
	}
	if l.Methods == "" {
		l.Methods = "once,again,once,again,once,again,trail,retrail"
	}
	if l.Timeout == 0 {
		l.Timeout = 20 * time.Second
	}
	return l
}

// At returns the load with the files and the address of a cluster: its keys and
// its journals are in the folders.
func (l Load) At(addr string, keys curve.Keyset, journals string) Load {
	l.Addr = addr
	l.Cert, l.ServerKey = keys.SecretPath(l.Cert), keys.PublicPath("server")
	l.Journal = filepath.Join(journals, l.Name+clientJournal)
	return l
}

// Args is the command line that flags reads back.
func (l *Load) Args() []string {
	return []string{
		"-addr", l.Addr, "-cert", l.Cert, "-server-key", l.ServerKey, "-name", l.Name, "-journal", l.Journal,
		"-methods", l.Methods, "-callers", strconv.Itoa(l.Callers), "-hold-least", strconv.Itoa(l.HoldLeast),
		"-hold-most", strconv.Itoa(l.HoldMost), "-payload", strconv.Itoa(l.Payload), "-timeout", l.Timeout.String(),
		"-calls", strconv.Itoa(l.Calls), "-hurry", strconv.Itoa(l.Hurry),
	}
}

// hangs is how long after its deadline a call must have ended, whatever fails.
const hangs = 10 * time.Second

// runClient is the client program.
func runClient(args []string) error {
	var l Load
	if err := l.flags().Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return l.run(ctx, os.Stderr)
}

// run makes calls until ctx ends, waits for what is in flight, and leaves in order.
func (l *Load) run(ctx context.Context, log io.Writer) error {
	journal, err := OpenJournal(l.Journal)
	if err != nil {
		return err
	}
	c, err := clientsdk.Dial(context.Background(), l.Addr, clientsdk.WithCertificate(l.Cert), clientsdk.WithServerKey(l.ServerKey),
		clientsdk.WithLogger(slog.New(slog.NewTextHandler(log, nil))), clientsdk.WithName(l.Name), clientsdk.WithLazyDial())
	if err != nil {
		return err
	}
	k := &caller{load: l, client: c, journal: journal, log: log, methods: strings.Split(l.Methods, ",")}
	var callers sync.WaitGroup
	for range l.Callers {
		callers.Go(func() {
			for ctx.Err() == nil && k.next() {
			}
		})
	}
	callers.Wait()
	leave, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.Close(leave); err != nil {
		return fmt.Errorf("leaving: %w", err)
	}
	journal.Write(Record{Event: Left})
	return nil
}

// caller makes the calls of one client.
type caller struct {
	load    *Load
	client  *clientsdk.Client
	journal *Journal
	log     io.Writer
	methods []string
	number  atomic.Int64
}

// next makes one call and reports whether there may be another one.
func (k *caller) next() bool {
	n := k.number.Add(1)
	if k.load.Calls > 0 && n > int64(k.load.Calls) {
		return false
	}
	id := k.load.Name + "-" + strconv.FormatInt(n, 10)
	method := k.methods[n%int64(len(k.methods))]
	payload := make([]byte, rand.N(k.load.Payload+1))
	args := []any{id, payload, k.load.HoldLeast + rand.N(k.load.HoldMost-k.load.HoldLeast+1)}
	if method == "poison" {
		args = args[:1]
	}
	sent := Record{Event: Sent, ID: id, Method: method}
	if rand.IntN(100) < k.load.Hurry {
		sent.Code = hurried
	}
	k.journal.Write(sent)
	ctx, cancel := context.WithTimeout(context.Background(), k.load.Timeout)
	defer cancel()
	if sent.Code == hurried {
		haste := rand.N(2*time.Duration(k.load.HoldMost)*time.Millisecond + time.Millisecond)
		if n%3 == 0 {
			time.AfterFunc(haste, cancel)
		} else {
			ctx, cancel = context.WithTimeout(ctx, haste)
			defer cancel()
		}
	}
	type outcome struct {
		proof Proof
		err   error
	}
	ended := make(chan outcome, 1)
	go func() {
		var o outcome
		if strings.Contains(method, "trail") {
			o.proof, o.err = k.trail(ctx, id, method, payload, args)
		} else {
			o.proof, o.err = clientsdk.Call[Proof](ctx, k.client, method, args...)
		}
		ended <- o
	}()
	patience := time.NewTimer(k.load.Timeout + hangs)
	defer patience.Stop()
	select {
	case <-patience.C:
		k.journal.Write(Record{Event: Timeout, ID: id})
	case o := <-ended:
		if o.err == nil && (o.proof.ID != id || o.proof.Hash != hashOf(id, payload)) {
			o.err = message.Errorf(wrongAnswer, "call %s got the answer of %s", id, o.proof.ID)
		}
		if o.err != nil {
			k.failed(id, o.err)
			return true
		}
		k.journal.Write(Record{Event: Answered, ID: id, Code: ok, Hash: o.proof.Hash, Attempt: o.proof.Attempt})
	}
	return true
}

// trail takes a stream and proves that each item came once, in order.
func (k *caller) trail(ctx context.Context, id, method string, payload []byte, args []any) (Proof, error) {
	n := 0
	for p, err := range clientsdk.Stream[Proof](ctx, k.client, method, args...) {
		if err != nil {
			return Proof{}, err
		}
		if p.ID != id || p.Hash != itemHash(id, n, payload) {
			return Proof{}, message.Errorf(wrongAnswer, "item %d of stream %s is one of %s", n, id, p.ID)
		}
		n++
	}
	if n != trailItems {
		return Proof{}, message.Errorf(wrongAnswer, "stream %s ended well after %d items of %d", id, n, trailItems)
	}
	return Proof{ID: id, Hash: hashOf(id, payload)}, nil
}

// failed notes an error and waits as long as the broker asks for.
func (k *caller) failed(id string, err error) {
	r := Record{Event: Answered, ID: id, Code: noCode, Ran: "maybe"}
	var coded *clientsdk.Error
	if errors.As(err, &coded) {
		r.Code, r.Ran = string(coded.Code), coded.Execution().String()
	}
	k.journal.Write(r)
	fmt.Fprintf(k.log, "%s %s: %v\n", time.Now().Format(time.StampMilli), id, err)
	pause, asked := clientsdk.RetryAfter(err)
	if !asked {
		pause = 20 * time.Millisecond
	}
	time.Sleep(min(pause, time.Second))
}

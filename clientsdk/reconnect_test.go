package clientsdk

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

func TestReconnect_resumesWhatWasInFlight(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	release := make(chan struct{})
	b.Handle("slow", func(c *brokertest.Call) {
		<-release
		c.Result(c.Args()[0])
	})
	c := dialBroker(t, b)
	var futures []*Future
	for i := range 10 {
		futures = append(futures, c.Go(t.Context(), "slow", i))
	}
	b.WaitFor(message.KindCall, 10)
	mustCall(t, c, 3, "add", 1, 2) // one outcome is counted before the cut
	b.Cut()
	close(release) // outcomes fall while the client is away, or not: both must arrive
	for i, f := range futures {
		var got int
		if err := f.Result(&got); err != nil || got != i {
			t.Errorf("slow(%d) = %d, %v", i, got, err)
		}
	}
	mustCall(t, c, 7, "add", 3, 4)
	if n := len(b.Seen(message.KindCall)); n != 12 {
		t.Errorf("the broker saw %d calls, want 12: a held call must not be sent again", n)
	}
	if attach := b.Seen(message.KindAttach); len(attach) != 2 || attach[1].ID != 1 {
		t.Errorf("the second ATTACH counts %d outcomes, want 1", attach[1].ID)
	}
	b.WaitAcked()
}

func TestReconnect_sendsAgainWhatTheBrokerDidNotGet(t *testing.T) {
	b := &brokertest.Broker{}
	var lost atomic.Int32
	b.Intercept = func(l *zmtp.Link, e *message.Envelope) bool {
		if e.Kind == message.KindCall && string(e.Method) == "echo" && lost.Add(1) <= 3 { // dies with the link
			l.Close(nil)
			return true
		}
		return false
	}
	startBroker(t, b)
	c := dialBroker(t, b)
	mustCall(t, c, 3, "add", 1, 2)
	mustCall(t, c, "x", "echo", "x")
	for _, e := range b.Seen(message.KindCall) {
		if e.Flags&message.FlagResubmit != 0 {
			t.Errorf("call %d came as resubmitted, but the same broker knows that it did not have it", e.ID)
		}
	}
}

func TestRestart_resubmitsInOrderUnderTheSameNumbers(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	release := make(chan struct{})
	b.Handle("slow", func(c *brokertest.Call) {
		<-release
		c.Result(c.Args()[0])
	})
	c := dialBroker(t, b)
	mustCall(t, c, 3, "add", 1, 2)
	var futures []*Future
	for i := range 5 {
		futures = append(futures, c.Go(t.Context(), "slow", i))
	}
	b.WaitFor(message.KindCall, 6)
	b.Restart()
	b.WaitFor(message.KindCall, 11)
	close(release)
	for i, f := range futures {
		var got int
		if err := f.Result(&got); err != nil || got != i {
			t.Errorf("slow(%d) = %d, %v", i, got, err)
		}
	}
	for i, e := range b.Seen(message.KindCall)[6:] {
		if e.ID != uint64(i)+2 || e.Flags&message.FlagResubmit == 0 {
			t.Errorf("resubmission %d is call %d with flags %b, want call %d with RESUBMIT", i, e.ID, e.Flags, i+2)
		}
	}
	mustCall(t, c, 7, "add", 3, 4)
	b.WaitAcked() // counts began anew
}

// The next broker is told how often a call was tried.
func TestRestart_tellsTheAttempt(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	c := dialBroker(t, b)
	for range 2 {
		c.Go(t.Context(), "hang")
	}
	b.WaitFor(message.KindCall, 2)
	b.Send(&message.Envelope{Kind: message.KindAttempt, ID: 2, Sequence: 2})
	b.Send(&message.Envelope{Kind: message.KindAttempt, ID: 99, Sequence: 2}) // it has ended meanwhile
	mustCall(t, c, 3, "add", 1, 2)                                            // the client has read what came before
	b.Restart()
	b.WaitFor(message.KindCall, 5)
	for i, want := range []uint8{0, 2} {
		if e := b.Seen(message.KindCall)[3+i]; e.Attempt != want || e.Flags&message.FlagResubmit == 0 {
			t.Errorf("call %d came again as attempt %d with flags %b, want %d and RESUBMIT", e.ID, e.Attempt, e.Flags, want)
		}
	}
}

// A call that no link has handed to the kernel has surely not been seen.
func TestRestart_doesNotMarkWhatWasNeverHandedOver(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	c := dialBroker(t, b)
	s := c.session
	s.mu.Lock() // the link ends, and is still in service for the session
	s.link.Close(nil)
	s.mu.Unlock()
	f := c.Go(t.Context(), "add", 1, 2)
	b.Restart()
	if err := f.Result(nil); err != nil {
		t.Fatal(err)
	}
	if e := b.Seen(message.KindCall)[0]; e.Flags&message.FlagResubmit != 0 {
		t.Error("a call that was never handed over came with RESUBMIT")
	}
}

// A broker that stops in order has answered all that it took: what it read no
// more was not executed, and the next broker may run it at once.
func TestRestart_doesNotMarkWhatAStoppingBrokerDidNotTake(t *testing.T) {
	for _, code := range []message.Code{message.ShuttingDown, message.ConnectionLost} {
		b := startBroker(t, &brokertest.Broker{})
		release := make(chan struct{})
		b.Handle("slow", func(c *brokertest.Call) {
			<-release
			c.Result(1)
		})
		c := dialBroker(t, b)
		f := c.Go(t.Context(), "slow")
		b.WaitFor(message.KindCall, 1)
		b.Leave(message.Errorf(code, "bye"))
		b.WaitFor(message.KindCall, 2)
		close(release)
		if err := f.Result(nil); err != nil {
			t.Fatal(err)
		}
		calls := b.Seen(message.KindCall)
		if marked := calls[len(calls)-1].Flags&message.FlagResubmit != 0; marked != (code != message.ShuttingDown) {
			t.Errorf("after %s: the call is marked as maybe executed: %v", code, marked)
		}
	}
}

func TestReconnect_repeatsCancelsThatMayBeLost(t *testing.T) {
	b := &brokertest.Broker{}
	var swallowed atomic.Bool
	b.Intercept = func(l *zmtp.Link, e *message.Envelope) bool {
		if e.Kind == message.KindCancel && swallowed.CompareAndSwap(false, true) {
			l.Close(nil)
			return true
		}
		return false
	}
	startBroker(t, b)
	c := dialBroker(t, b)
	f := c.Go(t.Context(), "hang")
	b.WaitFor(message.KindCall, 1)
	c.session.cancel(&f.call, "test")
	b.WaitFor(message.KindCancel, 1)
	b.WaitAcked()
}

func TestFailover_triesTheAddressesInTurn(t *testing.T) {
	a, b := startBroker(t, &brokertest.Broker{}), startBroker(t, &brokertest.Broker{})
	c, err := Dial(t.Context(), closedAddr(t)+", "+a.Addr()+","+b.Addr(), WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(c) })
	if got := c.Broker().Addr; got != a.Addr() {
		t.Errorf("connected to %s, want %s", got, a.Addr())
	}
	f := c.Go(t.Context(), "hang")
	a.WaitFor(message.KindCall, 1)
	b.Handle("hang", func(c *brokertest.Call) { c.Result("b") })
	a.Close()
	var v string
	if err := f.Result(&v); err != nil || v != "b" {
		t.Errorf("got %q, %v", v, err)
	}
}

// closedAddr returns an endpoint on which nobody listens.
func closedAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return "tcp://" + ln.Addr().String()
}

func TestDial_namesTheStepThatFails(t *testing.T) {
	key, other, stranger, crowded := curve.GenerateKey(), curve.GenerateKey(), curve.GenerateKey(), curve.GenerateKey()
	secured := startBroker(t, &brokertest.Broker{Mechanism: &curve.Server{Key: key,
		Admit: func(k curve.PublicKey, _ zmtp.Metadata) (any, error) {
			if k == stranger.Public() {
				return nil, &zmtp.Refusal{Status: "400", Reason: "this key is unknown", SDK: true}
			}
			if k == crowded.Public() {
				return nil, &zmtp.Refusal{Status: "300", Reason: "it has too many connections", SDK: true}
			}
			return nil, nil
		}}})
	open := startBroker(t, &brokertest.Broker{})
	client := curve.GenerateKey()
	ok, err := Dial(t.Context(), secured.Addr(), WithKeys(client, key.Public()))
	if err != nil {
		t.Fatal(err)
	}
	mustCall(t, ok, 3, "add", 1, 2)
	closeNow(ok)

	for _, test := range []struct {
		name, addr string
		opts       []Option
		step       zmtp.Step
		says       string
	}{
		{"nobody listens", closedAddr(t), []Option{WithInsecure()}, zmtp.StepConnect, "check that the broker runs there"},
		{"no such host", "tcp://no-such-host.invalid:8006", []Option{WithInsecure()}, zmtp.StepResolve, "check the host name"},
		{"the key of another server", secured.Addr(), []Option{WithKeys(client, other.Public())}, zmtp.StepServerKey, "server.key"},
		{"an unknown key", secured.Addr(), []Option{WithKeys(stranger, key.Public())}, zmtp.StepAuthorise, "this key is unknown"},
		{"too many connections", secured.Addr(), []Option{WithKeys(crowded, key.Public())}, zmtp.StepAuthorise, "in a while"},
		{"no keys for a broker with keys", secured.Addr(), []Option{WithInsecure()}, zmtp.StepMechanism, "the broker wants keys"},
		{"keys for a broker without", open.Addr(), []Option{WithKeys(client, key.Public())}, zmtp.StepMechanism, "without encryption"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Dial(t.Context(), test.addr, test.opts...)
			var step *StepError
			if !errors.As(err, &step) || step.Step != test.step || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v; want step %q and %q", err, test.step, test.says)
			}
		})
	}
}

func TestDial_refusesOptionsThatCannotWork(t *testing.T) {
	key := curve.GenerateKey()
	for _, test := range []struct {
		name, addr string
		opts       []Option
		says       string
	}{
		{"no scheme", "localhost:8006", []Option{WithInsecure()}, "tcp://host:port"},
		{"an empty list", "", []Option{WithInsecure()}, "tcp://host:port"},
		{"neither keys nor insecure", "tcp://h:1", nil, "WithCertificate"},
		{"no server key", "tcp://h:1", []Option{WithKeys(key, curve.PublicKey{})}, "WithServerKey"},
		{"both", "tcp://h:1", []Option{WithKeys(key, key.Public()), WithInsecure()}, "choose one"},
		{"a missing certificate", "tcp://h:1", []Option{WithCertificate("missing.key_secret")}, "missing.key_secret"},
		{"a negative timeout", "tcp://h:1", []Option{WithTimeout(-1)}, "negative"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Dial(t.Context(), test.addr, test.opts...); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want it to say %q", err, test.says)
			}
		})
	}
}

// A key that is revoked while the client runs: calls that wait for a connection
// say so instead of running into their deadlines.
func TestReconnect_refusalEndsWaitingCallsAndHeals(t *testing.T) {
	b := &brokertest.Broker{}
	allowed := make(chan bool, 1)
	allowed <- true
	b.Mechanism = zmtp.Null{Admit: func(zmtp.Metadata) (any, error) {
		ok := <-allowed
		allowed <- ok
		if !ok {
			return nil, &zmtp.Refusal{Status: "400", Reason: "the key was revoked", SDK: true}
		}
		return nil, nil
	}}
	startBroker(t, b)
	c := dialBroker(t, b)
	held := c.Go(t.Context(), "hang")
	b.WaitFor(message.KindCall, 1)
	<-allowed
	allowed <- false
	b.Cut()
	var err error
	for !errors.Is(err, ErrUnauthorized) { // until the client has noticed
		_, err = Call[int](t.Context(), c.With(Timeout(100*time.Millisecond)), "add", 1, 2)
	}
	if !NotExecuted(err) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("got %v", err)
	}
	<-allowed
	allowed <- true
	for err != nil {
		if _, err = Call[int](t.Context(), c, "add", 1, 2); err != nil && !errors.Is(err, ErrUnauthorized) {
			t.Fatal(err)
		}
	}
	select {
	case <-held.Done():
		t.Error("a call that the broker holds was given up")
	default:
	}
}

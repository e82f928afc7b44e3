package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/broker/keyring"
	"github.com/servicetools/servicetools/broker/supervise"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Config is a broker's configuration; see package config for its file form.
type Config = config.Config

// Load reads a broker's INI file, completes what it leaves open (free ports,
// copies of worker files) and writes that back.
func Load(path string) (*Config, error) { return config.Load(path) }

// Broker is one broker. New opens its endpoints and Run serves them, once, until
// its context ends; Close lets go of them if Run is not called.
type Broker struct {
	// Static after New.
	config     *Config
	log        *slog.Logger
	audit      audit
	instance   message.SessionID // tells this start of the broker from any other
	beat       time.Duration
	started    time.Time
	keys       *keyring.Keyring // nil without security
	dispatcher *dispatch.Dispatcher
	supervisor *supervise.Supervisor
	frontend   *zmtp.Listener
	backend    *zmtp.Listener
	setLevel   func(mode string) error // nil: the logger's level is the caller's

	links links
	turns zmtp.Turns  // of both endpoints: what one link's peer sends goes to another's
	begun atomic.Bool // by Run or Close, whichever is first: the endpoints are its to close

	reloading sync.Mutex
	applied   atomic.Pointer[Config] // in force as far as it can change live; set while reloading
}

// Option adds to what New makes of a Config.
type Option func(*Broker)

// WithLogger sets where the broker logs. Default: slog.Default().
func WithLogger(log *slog.Logger) Option {
	return func(b *Broker) { b.log = log }
}

// WithLevel lets Reload change the level of the logger by logging_mode.
func WithLevel(set func(mode string) error) Option {
	return func(b *Broker) { b.setLevel = set }
}

// New checks cfg, loads the keys and opens both endpoints. The broker serves
// nobody before Run, and whoever does not call that calls Close. Its errors name
// what is missing and the remedy.
func New(cfg *Config, opts ...Option) (*Broker, error) {
	if err := cfg.Verify(); err != nil {
		return nil, err
	}
	b := &Broker{config: cfg, log: slog.Default(), beat: cfg.Dispatch.Beat, started: time.Now()}
	b.applied.Store(cfg)
	for _, o := range opts {
		o(b)
	}
	b.audit.log = b.log.With("log", "audit")
	_, _ = rand.Read(b.instance[:]) // never fails
	b.dispatcher = dispatch.New(dispatch.Config{Limits: cfg.DispatchLimits()})
	if err := b.open(); err != nil {
		b.close()
		return nil, err
	}
	if err := b.superviseWorkers(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// open loads the keys and opens the endpoints.
func (b *Broker) open() error {
	var key curve.SecretKey
	if !b.config.Security.Insecure {
		set := curve.Keyset{PublicDir: b.config.Main.PublicKeysDir, SecretDir: b.config.Main.SecretKeysDir}
		var err error
		if key, err = loadServerKey(set.SecretPath("server")); err != nil {
			return err
		}
		if b.keys, err = keyring.Open(context.Background(), b.config.Main.PublicKeysDir, b.log); err != nil {
			return err
		}
		b.keys.OnRemove(b.revoke)
	}
	limits := b.config.ListenLimits()
	var err error
	b.frontend, err = b.listen("tcp://"+b.config.FrontendAddr(), key, limits, admission{
		endpoint: "frontend", socketType: "ROUTER", roles: []curve.Role{curve.RoleClient, curve.RoleAdmin},
	})
	if err != nil {
		return fmt.Errorf("frontend: %w", err)
	}
	b.backend, err = b.listen("tcp://"+b.config.BackendAddr(), key, limits, admission{
		endpoint: "backend", socketType: "DEALER", roles: []curve.Role{curve.RoleWorker},
	})
	if err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	return nil
}

// loadServerKey reads the broker's own secret key. A certificate without
// metadata, as other tools write it, is taken for what its name says.
func loadServerKey(path string) (curve.SecretKey, error) {
	c, err := curve.LoadCertificate(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return curve.SecretKey{}, fmt.Errorf("there is no server certificate %s: %w; make it with certtool generate --path DIR --users server, where DIR holds public_keys and private_keys", path, fs.ErrNotExist)
	case err != nil:
		return curve.SecretKey{}, err
	case c.Secret.IsZero():
		return curve.SecretKey{}, fmt.Errorf("the server certificate %s holds no secret key: it is a public one", path)
	case c.Role != curve.RoleServer && c.Name != "":
		return curve.SecretKey{}, fmt.Errorf("the server certificate %s has the role %s: make one with certtool generate --path DIR --users server", path, c.Role)
	}
	return c.Secret, nil
}

// listen opens one endpoint.
func (b *Broker) listen(addr string, key curve.SecretKey, limits zmtp.ListenLimits, a admission) (*zmtp.Listener, error) {
	security := &b.config.Security
	a.keys, a.unknownHold, a.crowded = b.keys, max(0, security.UnknownKeyHold), b.crowded
	var mechanism zmtp.Mechanism = zmtp.Null{Admit: a.byMetadata}
	if !security.Insecure {
		mechanism = &curve.Server{Key: key, Admit: a.byKey}
	}
	endpoint := &zmtp.Config{
		SocketType: a.socketType,
		Mechanism:  mechanism,
		Metadata:   zmtp.Metadata{{Name: message.PropertySDK, Value: message.ProtocolVersion}},
		Limits:     b.config.LinkLimits(),
		Turns:      &b.turns,
	}
	listener, err := zmtp.Listen(addr, endpoint, limits,
		func(addr net.Addr, cause error) { b.audit.refuse(a.endpoint, addr, cause) })
	if err != nil {
		where := "[main]"
		if b.config.Path != "" {
			where += " of " + b.config.Path
		}
		return nil, fmt.Errorf("%w (choose another port in %s, or stop what uses it; broker status tells whether it is this broker)", err, where)
	}
	return listener, nil
}

// Close lets go of what New has opened, for a broker that is not run after all:
// Run fails from then on. It does nothing to a broker that runs or has run; the
// end of its context ends that.
func (b *Broker) Close() {
	if b.begun.CompareAndSwap(false, true) {
		b.close()
	}
}

// errBegun is what Run returns the second time, and after Close.
var errBegun = errors.New("the broker was run or closed before: make another by broker.New")

// close ends what New has opened and Run does not serve.
func (b *Broker) close() {
	for _, l := range []*zmtp.Listener{b.frontend, b.backend} {
		if l != nil {
			l.Close()
		}
	}
	if b.keys != nil {
		b.keys.Close()
	}
}

// Frontend returns the address that clients use.
func (b *Broker) Frontend() net.Addr { return b.frontend.Addr() }

// Backend returns the address that workers use.
func (b *Broker) Backend() net.Addr { return b.backend.Addr() }

func (b *Broker) backendPort() int { return b.backend.Addr().(*net.TCPAddr).Port }

// tick is how often the dispatcher's time passes: a deadline is at most that late.
const tick = 10 * time.Millisecond

// Run serves until ctx ends, then drains: it takes no new call, lets what runs
// finish for the drain timeout, stops its workers and closes all links. It
// returns when every goroutine and child process of the broker has ended. A
// second Run fails, as one after Close does.
func (b *Broker) Run(ctx context.Context) error {
	if !b.begun.CompareAndSwap(false, true) {
		return errBegun
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer func() {
		stop()
		running.Wait()
	}()
	failed := make(chan error, 2)

	own := b.startService(serving)
	running.Go(func() { b.tick(serving) })
	running.Go(func() { b.links.watch(serving, b.beat) })
	accepting, stopAccepting := context.WithCancel(serving)
	defer stopAccepting()
	var endpoints sync.WaitGroup
	serve := func(name string, listener *zmtp.Listener, serve func(*zmtp.Link)) {
		endpoints.Go(func() {
			if err := listener.Serve(accepting, serve); err != nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	serve("backend", b.backend, b.serveBackend)
	serve("frontend", b.frontend, b.serveFrontend)
	supervising, stopWorkers := context.WithCancel(serving)
	defer stopWorkers()
	var workers sync.WaitGroup
	workers.Go(func() { b.supervisor.Run(supervising) })
	b.log.Info("serving", "frontend", b.Frontend().String(), "backend", b.Backend().String(),
		"secure", !b.config.Security.Insecure, "name", b.config.Main.Name)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}

	// The order matters: calls first, then those who run them, then the links
	// over which the last outcomes leave.
	b.drain(serving)
	stopWorkers()
	workers.Wait()
	b.dispatcher.EndDrain()
	own.stop()
	stopAccepting()
	b.links.finish()
	endpoints.Wait()
	if b.keys != nil {
		b.keys.Close()
	}
	b.log.Info("stopped")
	return err
}

// tick makes the dispatcher's time pass until ctx ends.
func (b *Broker) tick(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	count := time.NewTicker(time.Second)
	defer count.Stop()
	counted := make(map[string]uint64)
	for {
		select {
		case <-ticker.C:
			b.dispatcher.Tick()
		case <-count.C:
			b.countCalls(counted)
			if s := b.dispatcher.Stats(); s.Law() != nil {
				b.log.Error("a defect of the broker: its books do not balance", "err", s.Law())
			}
		case <-ctx.Done():
			return
		}
	}
}

// drain refuses new calls and waits for the accepted ones.
func (b *Broker) drain(ctx context.Context) {
	b.dispatcher.BeginDrain()
	timeout := b.drainTimeout()
	b.log.Info("draining", "timeout", timeout)
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	poll := time.NewTicker(tick)
	defer poll.Stop()
	for !b.dispatcher.Idle() {
		select {
		case <-poll.C:
		case <-deadline.C:
			b.log.Warn("drain timeout is over; what still runs ends in connection_lost")
			return
		case <-ctx.Done():
			return
		}
	}
	// Clients that are there take their last outcomes in a moment.
	settle := time.NewTimer(settleWait)
	defer settle.Stop()
	for !b.dispatcher.Settled() {
		select {
		case <-poll.C:
		case <-settle.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// drainTimeout returns how long the broker and its workers may finish their calls.
func (b *Broker) drainTimeout() time.Duration { return max(0, b.applied.Load().Dispatch.DrainTimeout) }

// settleWait bounds the wait for acknowledgements once every call has ended:
// clients that are away do not send them.
const settleWait = time.Second

// revoke ends all that a key has once it is not admitted any more. A key whose
// role or allow list has changed loses only its links: its owner comes back and
// is admitted as what it is now.
func (b *Broker) revoke(key curve.PublicKey) {
	if _, status := b.keys.Lookup(key); status != keyring.Admitted {
		b.dispatcher.Revoke(key.String(), message.Errorf(message.Unauthorized, "the key %s was revoked", key))
	}
	b.links.end(key, errNotAdmitted)
}

// serveFrontend owns a client's link from its admission to its end.
func (b *Broker) serveFrontend(link *zmtp.Link) {
	who := identify(link)
	if who.sdk {
		b.serveLink("frontend", link, who, (&client{broker: b, link: link, who: who}).serve)
	} else {
		b.serveLink("frontend", link, who, (&plainClient{broker: b, link: link, who: who}).serve)
	}
}

// serveBackend owns a worker's link from its admission to its end.
func (b *Broker) serveBackend(link *zmtp.Link) {
	who := identify(link)
	if who.sdk {
		b.serveLink("backend", link, who, (&worker{broker: b, link: link, who: who}).serve)
	} else {
		b.serveLink("backend", link, who, (&plainWorker{broker: b, link: link, who: who}).serve)
	}
}

// errNotAdmitted ends the links of a key whose certificate has gone or changed.
var errNotAdmitted = errors.New("the key is not admitted any more as what it was")

// crowded returns why a key may not have another connection now, or nil.
func (b *Broker) crowded(key string) *message.Error {
	if limit := b.connectionsPerKey(); b.links.count(key) >= limit {
		return errCrowded(key, limit)
	}
	return nil
}

func errCrowded(key string, limit int) *message.Error {
	return message.Errorf(message.QueueFull, "%s has %d connections already: close some, or raise connections_per_key in the broker's [limits]", key, limit)
}

func (b *Broker) connectionsPerKey() int { return b.applied.Load().Limits.ConnectionsPerKey }

// serveLink keeps a link on the books while it is served.
func (b *Broker) serveLink(endpoint string, link *zmtp.Link, who identity, serve func() error) {
	if limit := b.connectionsPerKey(); !b.links.add(link, who, limit) {
		// Without security nobody has counted at the door, and else two may have
		// come through it at once.
		reason := errCrowded(who.key, limit)
		b.audit.refuse(endpoint, link.RemoteAddr(), reason)
		farewell(link, who, reason)
		_ = link.Run(nil) // to its end, which is about to come
		return
	}
	if b.keys != nil && !b.keys.Holds(who.entry) {
		// The certificate has gone or changed between the admission and now, when
		// revoke did not see the link yet.
		link.Close(errNotAdmitted)
		serve = func() error { return link.Run(nil) }
	}
	b.audit.admitted(endpoint, &who)
	err := serve()
	b.links.remove(link)
	b.audit.left(endpoint, &who, err)
	var defect *zmtp.PanicError
	if errors.As(err, &defect) {
		b.log.Error("a defect of the broker ended a link", "peer", who.address, "panic", defect.Value, "stack", string(defect.Stack))
	}
}

package zcall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/version"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// maxSkew is how far two clocks may be apart before doctor says so. Nothing of
// the protocol depends on it, people who compare logs do.
const maxSkew = 2 * time.Second

func doctorCommand(streams Streams) *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Description: "zcall doctor --server tcp://broker:8006 --cert alice.key_secret --server-key server.key",
		Usage:       "check the way to the broker step by step, and name what fails",
		Action: func(c *cli.Context) error {
			if c.Duration("timeout") <= 0 {
				return &usageMistake{message: "doctor needs a --timeout above 0"}
			}
			d := &doctor{c: c, out: streams.Out}
			for addr := range strings.SplitSeq(c.String("server"), ",") {
				if err := d.examine(strings.TrimSpace(addr)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// doctor examines one address after the other and stops at what is broken.
type doctor struct {
	c   *cli.Context
	out io.Writer
}

func (d *doctor) ok(step, format string, args ...any) {
	fmt.Fprintf(d.out, "ok    %-14s %s\n", step, fmt.Sprintf(format, args...))
}

func (d *doctor) warn(step, format string, args ...any) {
	fmt.Fprintf(d.out, "warn  %-14s %s\n", step, fmt.Sprintf(format, args...))
}

// fail reports the broken step and its remedy on one line, and returns how to exit.
func (d *doctor) fail(step string, err error, remedy string) error {
	line := err.Error()
	if remedy != "" {
		line += ": " + remedy
	}
	fmt.Fprintf(d.out, "FAIL  %-14s %s\n", step, oneLine(line))
	return &silent{status(err)}
}

func (d *doctor) examine(addr string) error {
	fmt.Fprintf(d.out, "%s\n", addr)
	if err := d.keys(); err != nil {
		return err
	}
	if err := d.network(addr); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(d.c.Context, d.c.Duration("timeout"))
	defer cancel()
	client, err := clientsdk.Dial(ctx, addr, options(d.c)...)
	if err != nil {
		return d.handshakeFailed(err)
	}
	defer leave(client)
	for _, step := range []zmtp.Step{zmtp.StepGreeting, zmtp.StepMechanism, zmtp.StepServerKey, zmtp.StepAuthorise} {
		if step != zmtp.StepServerKey || !d.c.Bool("insecure") {
			d.ok(string(step), "%s", d.passed(step))
		}
	}
	return d.service(ctx, client)
}

// keys checks the files that the flags name.
func (d *doctor) keys() error {
	if d.c.Bool("insecure") {
		d.warn("keys", "--insecure: nothing is encrypted and nobody is proven")
		return nil
	}
	cert, err := curve.LoadCertificate(d.c.String("cert"))
	if d.c.String("cert") == "" {
		err = errors.New("no client key is given")
	}
	if err != nil {
		return d.fail("client file", &configMistake{message: err.Error(), err: err}, "give --cert FILE.key_secret; certtool generate makes one")
	}
	if cert.Secret.IsZero() {
		return d.fail("client file", &configMistake{message: d.c.String("cert") + " holds no secret key"}, "give the *.key_secret file, not the *.key file")
	}
	d.ok("client file", "%s, role %v, fingerprint %s", d.c.String("cert"), cert.Role, cert.Public.Fingerprint())
	server, err := curve.LoadCertificate(d.c.String("server-key"))
	if d.c.String("server-key") == "" {
		err = errors.New("no server key is given")
	}
	if err != nil {
		return d.fail("server file", &configMistake{message: err.Error(), err: err}, "give --server-key server.key from the broker's public_keys folder")
	}
	d.ok("server file", "%s, fingerprint %s", d.c.String("server-key"), server.Public.Fingerprint())
	return nil
}

// network checks DNS and TCP.
func (d *doctor) network(addr string) error {
	hostPort, err := zmtp.SplitAddr(addr)
	if err != nil {
		return d.fail("address", &configMistake{message: err.Error(), err: err}, "give --server tcp://host:port")
	}
	ctx, cancel := context.WithTimeout(d.c.Context, d.c.Duration("timeout"))
	defer cancel()
	host, _, _ := net.SplitHostPort(hostPort) // SplitAddr made it
	hosts, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		err = &clientsdk.StepError{Addr: addr, Step: zmtp.StepResolve, Err: err}
		return d.fail("dns", err, clientsdk.Advice(err))
	}
	d.ok("dns", "%s is %s", host, strings.Join(hosts, ", "))
	began := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", hostPort)
	if err != nil {
		err = &clientsdk.StepError{Addr: addr, Step: zmtp.StepConnect, Err: err}
		return d.fail("tcp", err, clientsdk.Advice(err))
	}
	d.ok("tcp", "connected to %v in %v", conn.RemoteAddr(), time.Since(began).Round(time.Microsecond))
	conn.Close()
	return nil
}

// handshakeFailed reports a failed Dial, after the steps before it.
func (d *doctor) handshakeFailed(err error) error {
	var step *clientsdk.StepError
	if !errors.As(err, &step) {
		return d.fail("session", err, "")
	}
	for _, s := range []zmtp.Step{zmtp.StepGreeting, zmtp.StepMechanism, zmtp.StepServerKey, zmtp.StepAuthorise} {
		if s == step.Step {
			break
		}
		if s != zmtp.StepServerKey || !d.c.Bool("insecure") {
			d.ok(string(s), "%s", d.passed(s))
		}
	}
	return d.fail(string(step.Step), step, clientsdk.Advice(err))
}

// passed says what a step of the handshake has shown.
func (d *doctor) passed(step zmtp.Step) string {
	switch step {
	case zmtp.StepGreeting:
		return "the peer speaks ZMTP 3"
	case zmtp.StepMechanism:
		if d.c.Bool("insecure") {
			return "NULL on both sides"
		}
		return "CURVE on both sides"
	case zmtp.StepServerKey:
		return "the broker holds the secret of the given server key"
	}
	return "the broker admits this client"
}

// service checks the broker behind the connection.
func (d *doctor) service(ctx context.Context, client *clientsdk.Client) error {
	took, err := client.Ping(ctx)
	if err != nil {
		return d.fail("broker", err, "see the broker's log")
	}
	d.ok("broker", "answers in %v", took.Round(time.Microsecond))
	d.role(ctx, client)
	d.clock(ctx, client)
	if ours, theirs := version.String(), client.Broker().Version; ours == theirs {
		d.ok("versions", "%s on both sides", ours)
	} else {
		d.warn("versions", "this is %s, the broker is %s: both speak the protocol, newer features may be missing", ours, theirs)
	}
	methods, err := client.Methods(ctx)
	if err != nil {
		return d.fail("workers", err, "see the broker's log")
	}
	served := 0
	for _, m := range methods {
		if m.Workers > 0 {
			served++
		}
	}
	if served == 0 {
		return d.fail("workers", clientsdk.ErrNoWorker, "start a worker, or look at broker workers with an admin key")
	}
	d.ok("workers", "%d methods are served", served)
	return nil
}

// role finds out what the broker lets this key do.
func (d *doctor) role(ctx context.Context, client *clientsdk.Client) {
	switch _, err := clientsdk.Call[clientsdk.Raw](ctx, client, "broker.status"); {
	case err == nil:
		d.ok("role", "admin")
	case errors.Is(err, clientsdk.ErrUnauthorized):
		d.ok("role", "client")
	default:
		d.warn("role", "unknown: %s", oneLine(err.Error()))
	}
}

// clock compares the broker's clock with this one, if its ping tells the time.
func (d *doctor) clock(ctx context.Context, client *clientsdk.Client) {
	before := time.Now()
	answer, err := clientsdk.Call[struct {
		Time string `msgpack:"time"` // RFC 3339
	}](ctx, client, "broker.ping")
	told, bad := time.Parse(time.RFC3339Nano, answer.Time)
	if err != nil || bad != nil {
		d.warn("clock", "the broker does not tell its time")
		return
	}
	skew := told.Sub(before.Add(time.Since(before) / 2)).Round(time.Millisecond)
	if skew.Abs() > maxSkew {
		d.warn("clock", "the broker's clock is %v from this one; calls do not mind, logs will not match: set up NTP", skew)
		return
	}
	d.ok("clock", "within %v", max(skew.Abs(), time.Millisecond))
}

package bench

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/servicetools/servicetools/wire/curve"
)

//go:embed libzmq/peer.c
var libzmqPeer []byte

// libzmq is zmq_proxy between a ROUTER and a DEALER, with a client and workers
// written in C.
func libzmq(name string, secure bool) *System {
	return &System{
		Name:    name,
		Missing: func(*Site) error { return libzmqMissing() },
		Start: func(ctx context.Context, s *Site, l Layout) (*Running, error) {
			r := &Running{}
			return r, startLibzmq(ctx, s, r, name, secure, l)
		},
	}
}

func libzmqMissing() error {
	for _, args := range [][]string{{"gcc", "--version"}, {"pkg-config", "--exists", "libzmq"}} {
		if err := exec.Command(args[0], args[1:]...).Run(); err != nil {
			return fmt.Errorf("%s: %w: apt-get install gcc pkg-config libczmq-dev", strings.Join(args, " "), err)
		}
	}
	return nil
}

// compileLibzmq makes the C program once in a site and returns its path.
func compileLibzmq(s *Site) (string, error) {
	binary, source := filepath.Join(s.Dir, "libzmq-peer"), filepath.Join(s.Dir, "libzmq-peer.c")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.WriteFile(source, libzmqPeer, 0o600); err != nil {
		return "", err
	}
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "libzmq").Output()
	if err != nil {
		return "", fmt.Errorf("pkg-config libzmq: %w", err)
	}
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", binary, source}, strings.Fields(string(flags))...)
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling the C peer: %w\n%s", err, out)
	}
	return binary, nil
}

func startLibzmq(ctx context.Context, s *Site, r *Running, name string, secure bool, l Layout) error {
	peer, err := compileLibzmq(s)
	if err != nil {
		return err
	}
	server, own, flag := curve.GenerateKey(), curve.GenerateKey(), "0"
	if secure {
		flag = "1"
	}
	if r.Broker, err = r.add(s.start(name+"-broker", peer, "proxy", flag, server.RevealZ85())); err != nil {
		return err
	}
	addrs, err := r.Broker.ready(ctx)
	if err != nil {
		return err
	}
	frontend, backend, _ := strings.Cut(addrs, " ")
	keys := []string{flag, server.Public().String(), own.Public().String(), own.RevealZ85()}
	argv := func(role string, more ...string) []string {
		return append(append([]string{peer, role}, keys...), more...)
	}
	if _, err := r.startWorkers(ctx, s, name, argv("worker", backend, strconv.Itoa(l.perProcess()))); err != nil {
		return err
	}
	r.crowd = argv("crowd", frontend)
	return r.startClient(ctx, s, name, argv("client", frontend))
}

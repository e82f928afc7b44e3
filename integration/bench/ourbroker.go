package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/wire/curve"
)

// ourBroker is a configuration of the command broker with its keys. The ports
// are fixed before its start: after a restart it must have the same.
type ourBroker struct {
	file              string
	keys              string // the folder; empty without security
	frontend, backend string // host:port
}

// limits are what the work exceeds by intent: 1,000 calls of 60 kB or 100,000
// of 100 B from one key, 10,000 idle clients, 1,000 workers that come at once.
const limits = `
[limits]
max_connections = 20000
connections_per_key = 20000
calls_per_key = 400000
bytes_per_key = 2 GiB
memory_budget = 4 GiB
max_message = 64 MiB
`

func newOurBroker(dir string, secure bool) (*ourBroker, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	b := &ourBroker{file: filepath.Join(dir, "server.ini")}
	b.frontend, b.backend = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	set := curve.KeysetIn(dir)
	if secure {
		b.keys = dir
		if err := makeKeys(set); err != nil {
			return nil, err
		}
	}
	if _, err := config.CreateNew(config.ServerConfig{
		ConfigPath: b.file, IP: "127.0.0.1", Port: ports[0], BackendPort: ports[1], PublicKeysDir: set.PublicDir, SecretKeysDir: set.SecretDir,
		LoggingMode: "WARN", Insecure: !secure, Overwrite: true,
	}); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(b.file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(limits)
	return b, errors.Join(err, f.Close())
}

// guestKeys is among how many keys the clients of a crowd are spread: the broker
// bounds the connections of one key.
const guestKeys = 8

func guest(i int) string { return fmt.Sprintf("guest%d", i%guestKeys) }

// makeKeys makes the keys that a folder has not yet.
func makeKeys(set curve.Keyset) error {
	owners := map[string]curve.Role{}
	for _, role := range []curve.Role{curve.RoleServer, curve.RoleClient, curve.RoleWorker, curve.RoleAdmin} {
		owners[role.String()] = role
	}
	for i := range guestKeys {
		owners[guest(i)] = curve.RoleClient
	}
	for name, role := range owners {
		if _, err := os.Stat(set.SecretPath(name)); err == nil {
			continue
		}
		if _, err := set.Generate(curve.Request{Name: name, Role: role}); err != nil {
			return err
		}
	}
	return nil
}

// freePorts returns ports of 127.0.0.1 that nobody listens on.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // together, that no port is given twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// listens waits until the process takes connections at an address.
func (p *Process) listens(ctx context.Context, addr string) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.exited:
			return p.failed(errors.New("it ended"))
		default:
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return nil
		}
	}
	return p.failed(fmt.Errorf("it does not listen at %s", addr))
}

package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/servicetools/servicetools/broker/keyring"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// admission decides who may enter one endpoint.
type admission struct {
	endpoint    string // "frontend" or "backend"
	socketType  string
	roles       []curve.Role
	keys        *keyring.Keyring
	unknownHold time.Duration // how long a libzmq peer with an unknown key is kept waiting

	// crowded returns why a key may not have another connection now, or nil.
	crowded func(key string) *message.Error
}

// byKey decides about a peer that has proven its key. Libzmq gives up for good
// after an ERROR, which is wrong for a key that an operator may add in a
// minute, and retries ten times a second after a close: so it is held instead.
func (a *admission) byKey(key curve.PublicKey, metadata zmtp.Metadata) (any, error) {
	_, sdk := metadata.Get(message.PropertySDK)
	refuse := func(format string, args ...any) error {
		return &zmtp.Refusal{Status: "400", Reason: fmt.Sprintf(format, args...), SDK: sdk}
	}
	entry, status := a.keys.Expect(key)
	switch {
	case status == keyring.Revoked:
		return nil, refuse("key %s was revoked", key)
	case status == keyring.Unknown && sdk:
		return nil, refuse("key %s is unknown: put its public file into the broker's public_keys_dir", key)
	case status == keyring.Unknown:
		return nil, &zmtp.Refusal{Status: "400", Reason: "unknown key " + key.String(), Silent: true, Hold: a.unknownHold}
	case !slices.Contains(a.roles, entry.Role):
		return nil, refuse("a key of role %s may not enter the %s: connect to the other port, or make a key of role %s with certtool", entry.Role, a.endpoint, a.roles[0])
	}
	if err := a.speaks(metadata, refuse); err != nil {
		return nil, err
	}
	if err := a.crowded(key.String()); err != nil {
		// It may come back: libzmq does so only if it is told nothing.
		return nil, &zmtp.Refusal{Status: "300", Reason: err.Message, SDK: sdk, Silent: !sdk, Hold: a.unknownHold}
	}
	if entry.Role == curve.RoleWorker && !sdk && len(entry.Methods()) > 0 {
		return nil, refuse("key %s has a list of methods, but a worker without an SDK serves every method: give it a key without a list", key)
	}
	return entry, nil
}

// byMetadata decides about a peer on an endpoint without security.
func (a *admission) byMetadata(metadata zmtp.Metadata) (any, error) {
	_, sdk := metadata.Get(message.PropertySDK)
	return nil, a.speaks(metadata, func(format string, args ...any) error {
		return &zmtp.Refusal{Status: "400", Reason: fmt.Sprintf(format, args...), SDK: sdk}
	})
}

// speaks refuses peers whose socket type or protocol version does not fit.
func (a *admission) speaks(metadata zmtp.Metadata, refuse func(string, ...any) error) error {
	if zmtp.CheckSocketType(a.socketType, metadata) != nil {
		theirs, _ := metadata.Get(zmtp.PropertySocketType)
		return refuse("a %.16q socket cannot talk to the %s", theirs, a.endpoint)
	}
	if v, sdk := metadata.Get(message.PropertySDK); sdk && v != message.ProtocolVersion {
		return refuse("protocol version %.16q is not spoken here, version %s is", v, message.ProtocolVersion)
	}
	return nil
}

// audit logs who was admitted and who was not, at most one refusal a second
// for each host, so that an attacker cannot fill the disk.
type audit struct {
	log *slog.Logger

	mu      sync.Mutex
	second  int64               // guarded by mu
	said    map[string]struct{} // hosts of this second; guarded by mu
	unsaid  int                 // guarded by mu
	refused uint64              // guarded by mu
}

func (a *audit) admitted(endpoint string, i *identity) {
	a.log.Info("admitted", "endpoint", endpoint, "role", i.entry.Role, "name", i.entry.Name,
		"key", i.key, "peer", i.address, "sdk", i.sdk)
}

func (a *audit) left(endpoint string, i *identity, cause error) {
	a.log.Info("left", "endpoint", endpoint, "name", i.entry.Name, "key", i.key, "peer", i.address, "cause", cause)
}

// command records what an admin asks the broker to do.
func (a *audit) command(i *identity, method, body []byte) {
	if a.concerns(i, method) {
		a.log.Info("command", "method", string(method), "args", paramsText(body), "name", i.entry.Name, "key", i.key, "peer", i.address)
	}
}

// concerns reports whether a call leaves a line in the log.
func (a *audit) concerns(i *identity, method []byte) bool {
	return i.admin && bytes.HasPrefix(method, []byte(message.ReservedPrefix)) && changes[string(method)]
}

// maxSaid bounds the hosts that are named within one second.
const maxSaid = 64

func (a *audit) refuse(endpoint string, addr net.Addr, cause error) {
	host, _, _ := net.SplitHostPort(addr.String())
	a.mu.Lock()
	a.refused++
	if now := time.Now().Unix(); now != a.second || a.said == nil {
		a.second, a.said = now, make(map[string]struct{})
	}
	_, said := a.said[host]
	if said || len(a.said) >= maxSaid {
		a.unsaid++
		a.mu.Unlock()
		return
	}
	a.said[host] = struct{}{}
	unsaid := a.unsaid
	a.unsaid = 0
	a.mu.Unlock()

	level := slog.LevelInfo
	var refusal *zmtp.Refusal
	if errors.As(cause, &refusal) {
		level = slog.LevelWarn
	}
	a.log.Log(context.Background(), level, "refused", "endpoint", endpoint, "peer", addr.String(), "cause", cause, "not_logged", unsaid)
}

// refusals returns how many handshakes have failed.
func (a *audit) refusals() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

package bench

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// RolePrefix marks the first argument of a process that is a part of a system.
const RolePrefix = "role-"

// role is a program that this binary can be: it gets its spec and the commands
// of the harness, and ends when they do.
type role func(spec string, in io.Reader) error

var roles = map[string]role{
	"client":      runOurClient,
	"worker":      ourWorker,
	"crowd":       runOurCrowd,
	"nats-server": natsServer,
	"nats-client": natsClient,
	"nats-worker": natsWorker,
	"nats-crowd":  runNATSCrowd,
	"grpc-client": grpcClient,
	"grpc-worker": grpcWorker,
}

// Role plays the part that the arguments name, if they name one, and ends the
// process.
func Role(args []string) {
	if len(args) != 3 {
		return
	}
	name, ok := strings.CutPrefix(args[1], RolePrefix)
	if !ok {
		return
	}
	play, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "there is no role %q\n", name)
		os.Exit(2)
	}
	if err := play(args[2], os.Stdin); err != nil {
		_ = say(Answer{Error: err.Error()}) // to a harness that may be gone
		os.Exit(1)
	}
	os.Exit(0)
}

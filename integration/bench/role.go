package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// RolePrefix marks the first argument of a process that is a part of a system.
const RolePrefix = "role-"

// role is a program that this binary can be: it gets its spec and the commands
// of the harness, and ends when they do.
type role func(spec string, in io.Reader) error

var roles = map[string]role{
	"worker": ourWorker,
	"client": func(spec string, in io.Reader) error {
		d := &ourClient{name: "client"}
		if err := json.Unmarshal([]byte(spec), &d.peer); err != nil {
			return err
		}
		return runClient(d, in)
	},
	"nats-server": natsServer,
	"nats-worker": natsWorker,
	"nats-client": natsClient,
}

// Role plays the part that the arguments name, if they name one, and ends the
// process.
func Role(args []string) {
	if len(args) != 3 || len(args[1]) < len(RolePrefix) || args[1][:len(RolePrefix)] != RolePrefix {
		return
	}
	play, ok := roles[args[1][len(RolePrefix):]]
	if !ok {
		fmt.Fprintf(os.Stderr, "there is no role %q\n", args[1])
		os.Exit(2)
	}
	if err := play(args[2], os.Stdin); err != nil {
		_ = say(Answer{Error: err.Error()}) // to a harness that may be gone
		os.Exit(1)
	}
	os.Exit(0)
}

//go:build linux

// Command probe is what the cluster's tests run in containers beside the
// programs of the product. It plays the roles of chaos; or it asks the broker what
// the test asks, until stdin ends; or it listens on the wire or spoils a connection,
// until SIGTERM, and then says on stdout, in JSON, what it saw.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/servicetools/servicetools/integration/chaos"
)

var commands = map[string]func(ctx context.Context, args []string) (any, error){
	"capture":  runCapture,
	"shout":    runShout,
	"proxy":    runProxy,
	"operator": runOperator,
}

func main() {
	chaos.Main()
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: probe capture|shout|proxy|operator; or a role in", chaos.RoleVariable)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	seen, err := commands[os.Args[1]](ctx, os.Args[2:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(seen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

// ready tells the test that the work has begun.
func ready() { fmt.Println("ready") }

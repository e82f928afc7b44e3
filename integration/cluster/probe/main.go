//go:build linux

// Command probe is what the cluster's tests run in containers beside the
// programs of the product: a load of calls with an account, an ear on the wire,
// and a proxy that spoils a connection. It works until SIGTERM and then says
// on stdout, in JSON, what it saw; before, it prints "ready".
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

var commands = map[string]func(ctx context.Context, args []string) (any, error){
	"load":    runLoad,
	"capture": runCapture,
	"shout":   runShout,
	"proxy":   runProxy,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: probe load|capture|shout|proxy")
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

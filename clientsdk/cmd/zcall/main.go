// Command zcall calls methods of workers from a shell, and measures and
// diagnoses the way there. See zcall help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/servicetools/servicetools/clientsdk/internal/zcall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := zcall.Run(ctx, os.Args, zcall.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// Command demo does real work on a broker and four workers, all encrypted: it
// counts the words of every .go file of the Go installation, one call a file,
// and checks the result against a count made in its own process. With -server
// it starts nothing and uses a broker and workers that run already.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
)

func main() {
	bin := flag.String("bin", "bin", "folder of the binaries")
	dir := flag.String("dir", ".demo", "folder for certificates, configuration and logs; used again by the next run")
	var there remote
	flag.StringVar(&there.server, "server", os.Getenv("SERVICETOOLS_SERVER"), "start nothing and use this broker, tcp://HOST:PORT")
	flag.StringVar(&there.cert, "cert", os.Getenv("SERVICETOOLS_CERT"), "with -server: this client's *.key_secret")
	flag.StringVar(&there.serverKey, "server-key", os.Getenv("SERVICETOOLS_SERVER_KEY"), "with -server: the broker's server.key")
	var w work
	flag.StringVar(&w.source, "source", "", "folder whose .go files are counted; default: the Go installation's")
	flag.IntVar(&w.inFlight, "in-flight", 64, "files that are counted at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if w.files, err = goFiles(ctx, w.source); err != nil {
		err = fmt.Errorf("listing the files to count: %w", err)
	} else if there.server != "" {
		err = runThere(ctx, &there, &w)
	} else {
		err = runHere(ctx, *bin, *dir, &w)
	}
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "demo: interrupted; everything it started has been stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// runHere sets up a cluster, does the work and stops what it started.
func runHere(ctx context.Context, bin, dir string, w *work) (err error) {
	// A short relative path keeps the files of the demo readable; the broker
	// takes relative paths from the working directory, which is ours.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fmt.Printf("starting a broker and %d workers below %s\n", workers, dir)
	c, err := startCluster(ctx, bin, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	address, err := c.address(ctx)
	if err != nil {
		return err
	}
	client, err := c.dial(ctx, address, "demo")
	if err != nil {
		return err
	}
	defer client.Close(context.WithoutCancel(ctx))
	admin, err := c.dial(ctx, address, "admin")
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	before, err := awaitWorkers(ctx, admin)
	if err != nil {
		return err
	}
	return w.do(ctx, client, func() ([]share, error) { return sharesSince(ctx, admin, before) })
}

// connectTimeout bounds the wait for a broker and its workers to be there.
const connectTimeout = 30 * time.Second

// dial connects with the named key and waits for a broker that still starts.
func (c *cluster) dial(ctx context.Context, address, name string) (*clientsdk.Client, error) {
	client, err := (&remote{address, c.secretKey(name), c.serverKey()}).dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, c.output())
	}
	return client, nil
}

// awaitWorkers returns what the workers have done before, once all are there.
func awaitWorkers(ctx context.Context, admin *clientsdk.Client) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for {
		shares, err := clientsdk.Call[[]share](ctx, admin, "broker.workers")
		if err != nil {
			return nil, fmt.Errorf("waiting for %d workers: %w", workers, err)
		}
		done := make(map[string]uint64)
		for _, s := range shares {
			if s.State == "connected" {
				done[s.ID] = s.Succeeded
			}
		}
		if len(done) == workers {
			return done, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d workers have connected; their logs are in the demo's folder", len(done), workers)
		}
	}
}

// sharesSince returns what each worker has done since before.
func sharesSince(ctx context.Context, admin *clientsdk.Client, before map[string]uint64) ([]share, error) {
	shares, err := clientsdk.Call[[]share](ctx, admin, "broker.workers")
	for i := range shares {
		shares[i].Succeeded -= before[shares[i].ID]
	}
	return shares, err
}

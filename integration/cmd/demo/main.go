// Command demo does real work on a broker and four workers, all encrypted: it
// counts the words of every .go file of the Go installation, one call a file,
// and checks the result against a count made in its own process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/workersdk/demo"
)

func main() {
	bin := flag.String("bin", "bin", "folder of the binaries")
	dir := flag.String("dir", ".demo", "folder for certificates, configuration and logs; used again by the next run")
	inFlight := flag.Int("in-flight", 64, "files that are counted at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *bin, *dir, *inFlight)
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

// run sets up the cluster, does the job and stops what it started.
func run(ctx context.Context, bin, dir string, inFlight int) (err error) {
	// A short relative path keeps the files of the demo readable; the broker
	// takes relative paths from the working directory, which is ours.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, err := goFiles(ctx)
	if err != nil {
		return fmt.Errorf("listing the Go installation's files: %w", err)
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

	fmt.Printf("counting the words of %d files through the broker\n", len(files))
	remote, err := countRemotely(ctx, client, files, inFlight)
	if err != nil {
		return err
	}
	fmt.Println("counting them again in this process")
	local, err := countLocally(ctx, files)
	if err != nil {
		return err
	}
	shares, err := sharesSince(ctx, admin, before)
	if err != nil {
		return err
	}
	printReport(os.Stdout, remote, local, shares)
	if !remote.agrees(local) {
		return errors.New("the two counts differ")
	}
	return nil
}

// connectTimeout bounds the wait for a broker and its workers to be there.
const connectTimeout = 30 * time.Second

// dial connects with the named key and waits for a broker that still starts.
func (c *cluster) dial(ctx context.Context, address, name string) (*clientsdk.Client, error) {
	client, err := clientsdk.Dial(ctx, address, clientsdk.WithLazyDial(), clientsdk.WithName("demo"),
		clientsdk.WithCertificate(c.secretKey(name)), clientsdk.WithServerKey(c.serverKey()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if _, err := client.Ping(ctx); err != nil {
		client.Close(context.WithoutCancel(ctx))
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

// countRemotely has a worker count each file.
func countRemotely(ctx context.Context, client *clientsdk.Client, files []string, inFlight int) (*tally, error) {
	started := time.Now()
	t := &tally{words: make(map[string]int)}
	p := newProgress(os.Stderr, term.IsTerminal(int(os.Stderr.Fd())), len(files))
	sizes := make(chan int, len(files)) // in the order of files, as the results are
	var readError error
	texts := func(yield func(string) bool) {
		for text, err := range read(files) {
			if err != nil {
				readError = err
				return
			}
			sizes <- len(text)
			if !yield(text) {
				return
			}
		}
	}
	for counts, err := range clientsdk.MapEach[map[string]int](ctx, client, "word_count", texts, inFlight) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files[t.files], err)
		}
		t.add(<-sizes, counts)
		p.show(t.files)
	}
	t.took = time.Since(started)
	return t, readError
}

// countLocally counts each file without a broker.
func countLocally(ctx context.Context, files []string) (*tally, error) {
	started := time.Now()
	t := &tally{words: make(map[string]int)}
	for text, err := range read(files) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		t.add(len(text), demo.CountWords(text))
	}
	t.took = time.Since(started)
	return t, nil
}

// read yields the text of each file; it ends with the first error.
func read(files []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, path := range files {
			b, err := os.ReadFile(filepath.Clean(path))
			if !yield(string(b), err) || err != nil {
				return
			}
		}
	}
}

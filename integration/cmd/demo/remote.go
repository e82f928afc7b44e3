package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
)

// remote is a broker that runs already, and this client's way to it.
type remote struct {
	server    string // tcp://HOST:PORT
	cert      string // *.key_secret
	serverKey string // server.key
}

// runThere does the work on somebody's cluster. A client's key cannot ask who
// did how much.
func runThere(ctx context.Context, r *remote, w *work) error {
	client, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close(context.WithoutCancel(ctx))
	if err := awaitMethod(ctx, client); err != nil {
		return err
	}
	return w.do(ctx, client, nil)
}

// dial connects and waits for a broker that still starts.
func (r *remote) dial(ctx context.Context) (*clientsdk.Client, error) {
	client, err := clientsdk.Dial(ctx, r.server, clientsdk.WithLazyDial(), clientsdk.WithName("demo"),
		clientsdk.WithCertificate(r.cert), clientsdk.WithServerKey(r.serverKey))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if _, err := client.Ping(ctx); err != nil {
		client.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return client, nil
}

// awaitMethod waits for a worker that counts words.
func awaitMethod(ctx context.Context, client *clientsdk.Client) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for {
		_, err := clientsdk.Call[map[string]int](ctx, client, "word_count", "")
		if !errors.Is(err, clientsdk.ErrNoSuchMethod) && !errors.Is(err, clientsdk.ErrNoWorker) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("no worker has come within %v: %w", connectTimeout, err)
		}
	}
}

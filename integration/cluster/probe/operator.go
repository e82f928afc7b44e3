//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
)

// patience is how long a call of the operator may take: on a busy host, and at a
// broker that may be gone.
const patience = 5 * time.Second

// answer is what became of one call: its result, or else why there is none.
type answer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// runOperator calls methods of the broker whose network namespace it shares,
// over one connection, until stdin ends: a line of stdin is a call, the list of a
// method and its arguments, and a line of stdout its answer, both in JSON.
func runOperator(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("operator", flag.ContinueOnError)
	cert := f.String("cert", "", "file with the key of an admin")
	serverKey := f.String("server-key", "", "file with the broker's public key")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	c, err := clientsdk.Dial(ctx, "tcp://127.0.0.1:8006",
		clientsdk.WithCertificate(*cert), clientsdk.WithServerKey(*serverKey), clientsdk.WithLazyDial())
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	calls, answers, count := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout), 0
	for ; ; count++ {
		var call []any
		if err := calls.Decode(&call); errors.Is(err, io.EOF) {
			return count, nil
		} else if err != nil {
			return nil, err
		}
		if err := answers.Encode(answerTo(ctx, c, call)); err != nil {
			return nil, err
		}
	}
}

func answerTo(ctx context.Context, c *clientsdk.Client, call []any) (a answer) {
	if len(call) == 0 {
		return answer{Error: "a call without a method"}
	}
	method, ok := call[0].(string)
	if !ok {
		return answer{Error: "a call whose method is no text"}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var result any
	err := c.Go(ctx, method, call[1:]...).Result(&result)
	if err == nil {
		a.Result, err = json.Marshal(result)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return a
}

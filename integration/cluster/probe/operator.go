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

// patience is how long a call may take on a busy host. The broker may be gone.
const patience = 5 * time.Second

// question is one call: a method and its arguments.
type question struct {
	Method string `json:"method"`
	Args   []any  `json:"args"`
}

// answer is what became of one call: its result, or else why there is none.
type answer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// runOperator calls methods of the broker whose network namespace it shares,
// over one connection, until stdin ends: a line of stdin is a question, and a line of
// stdout its answer, both in JSON.
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
	questions, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		if err := answers.Encode(answerTo(ctx, c, &q)); err != nil {
			return nil, err
		}
	}
}

// answerTo makes the call and waits for it.
func answerTo(ctx context.Context, c *clientsdk.Client, q *question) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var result any
	err := c.Go(ctx, q.Method, q.Args...).Result(&result)
	if err == nil {
		a.Result, err = json.Marshal(result)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return a
}

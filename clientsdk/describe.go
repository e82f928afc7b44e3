package clientsdk

import (
	"context"
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// Method describes a method that workers serve.
type Method struct {
	message.Method
	Workers int `msgpack:"workers" json:"workers"` // that serve it now
}

// Ping calls the broker itself and returns how long its answer took.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	_, err := Call[struct{}](ctx, c, "broker.ping")
	return time.Since(began), err
}

// Methods lists what can be called, by name.
func (c *Client) Methods(ctx context.Context) ([]Method, error) {
	return Call[[]Method](ctx, c, "broker.methods")
}

// Describe returns the signature and doc comment of one method, under any of
// its spellings; ErrNoSuchMethod if there is none.
func (c *Client) Describe(ctx context.Context, method string) (Method, error) {
	return Call[Method](ctx, c, "broker.describe", method)
}

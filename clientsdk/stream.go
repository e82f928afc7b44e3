package clientsdk

import (
	"context"
	"iter"

	"github.com/servicetools/servicetools/wire/message"
)

// Stream calls a method that streams, and yields its items as they come. The
// worker is at most 16 items, or 4 MiB and one item, ahead of the loop, so that a
// slow reader slows it. An error, decoding an item included, is yielded last.
// Breaking the loop or ending ctx cancels the call. The deadline covers the whole
// stream: give Timeout(0) to one that has no end. A method that does not stream
// yields its one result.
//
// After a restart of the broker the items go on where they stopped if the worker
// is still there, or if the call is Idempotent; else in ErrConnectionLost.
func Stream[T any](ctx context.Context, c *Client, method string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		broken := false
		take := func(part []byte) error {
			var v T
			if err := decode(part, &v); err != nil {
				return err
			}
			if !yield(v, nil) {
				broken = true
			}
			return nil
		}
		last := func(ctx context.Context, i *Invocation) (Raw, error) {
			return nil, c.stream(ctx, i, take, &broken)
		}
		_, err := c.chain(ctx, &Invocation{Method: method, Args: args, Stream: true}, last)
		if err != nil && !broken {
			var zero T
			yield(zero, err)
		}
	}
}

// stream makes one streaming call and gives its parts to take until that sets
// broken or fails.
func (c *Client) stream(ctx context.Context, i *Invocation, take func([]byte) error, broken *bool) error {
	s := c.session
	k := s.newCall()
	k.inbox = newInbox(true, c.set.progress != nil)
	if err := c.begin(ctx, k, i.Method, i.Args); err != nil {
		s.release(k)
		return err
	}
	s.reclaim()
	taken, ended, cancelled := 0, false, false
	defer func() {
		if !ended { // the loop was broken, or take panicked
			s.cancel(k, "the caller left the stream")
			<-k.done
		}
		s.release(k)
	}()
	for over := ctx.Done(); ; {
		if !cancelled && ctx.Err() != nil {
			s.contextOver(ctx, k)
			cancelled, over = true, nil
		}
		c.reportProgress(k)
		if !cancelled { // else nothing more is yielded
			if part, ok := s.part(k); ok {
				if err := take(part); err != nil || *broken {
					return err
				}
				taken++
				continue
			}
		}
		if ended {
			return c.streamEnd(ctx, k, taken, take)
		}
		select {
		case <-k.done:
			ended = true
		case <-k.inbox.news:
		case <-over:
		}
	}
}

// cancelledLate is the outcome of a stream that had ended when it was cancelled.
func cancelledLate() *Error {
	return message.Errorf(message.Cancelled, "the stream was cancelled before all of it was read").WithExecution(message.Executed)
}

// streamEnd is the end after the last part.
func (c *Client) streamEnd(ctx context.Context, k *call, taken int, take func([]byte) error) error {
	if k.err != nil {
		return withCause(ctx, k.err)
	}
	if ctx.Err() != nil { // the result came, but not all parts could be yielded any more
		return withCause(ctx, cancelledLate())
	}
	if taken == 0 && len(k.reply.Bytes) > 0 && k.reply.Bytes[0] != 0xc0 { // the result of a method that does not stream
		return take(k.reply.Bytes)
	}
	return nil
}

package workersdk

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestCallContext shows that the context, which is made bit by bit, is what a
// whole one would be: to those who wait, who ask, and to its children.
func TestCallContext(t *testing.T) {
	stop := func(c *call) {
		c.worker.mu.Lock()
		defer c.worker.mu.Unlock()
		c.stopLocked(errCancel)
	}
	for _, test := range []struct {
		name  string
		end   func(c *call)
		err   error
		cause error
	}{
		{"its caller cancels", stop, context.Canceled, errCancel},
		{"its deadline passes", func(*call) { time.Sleep(time.Minute) }, context.DeadlineExceeded, errDeadline},
		{"its method returns", func(c *call) { c.context.close() }, context.Canceled, context.Canceled},
		{"cancelled, then the deadline passes", func(c *call) { stop(c); time.Sleep(time.Hour) }, context.Canceled, errCancel},
	} {
		for look, before := range map[string]func(ctx context.Context){
			"asked only after": func(context.Context) {},
			"asked before":     func(ctx context.Context) { _ = ctx.Err() },
			"waited for":       func(ctx context.Context) { _ = ctx.Done() },
		} {
			t.Run(test.name+", "+look, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := &call{worker: &Worker{}, deadline: time.Now().Add(time.Minute)}
					ctx := c.open()
					defer c.context.close()
					before(ctx)
					if err := ctx.Err(); err != nil {
						t.Fatalf("it has ended before it has begun: %v", err)
					}
					child, cancel := context.WithCancel(context.WithValue(ctx, t, 1))
					defer cancel()
					test.end(c)
					synctest.Wait()
					for name, ctx := range map[string]context.Context{"it": ctx, "its child": child} {
						select {
						case <-ctx.Done():
						default:
							t.Errorf("%s is not done", name)
						}
						if ctx.Err() != test.err || context.Cause(ctx) != test.cause {
							t.Errorf("%s ended with %v because of %v", name, ctx.Err(), context.Cause(ctx))
						}
					}
					if found, ok := child.Value(callKey{}).(*call); !ok || found != c {
						t.Error("the child does not know the call")
					}
				})
			})
		}
	}
}

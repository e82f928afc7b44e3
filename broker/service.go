package broker

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

// service answers the broker's own methods. To the dispatcher it is one more
// worker, so that these calls have deadlines, limits, cancel and resume like
// all others.
type service struct {
	broker *Broker
	worker *dispatch.Worker
	ctx    context.Context // ends with the service
	cancel context.CancelFunc

	running sync.WaitGroup // one for each call

	mu    sync.Mutex
	calls map[uint64]context.CancelFunc // by token; guarded by mu
}

// serviceConcurrency is how many of the broker's own methods run at once.
const serviceConcurrency = 64

// ownKey stands in the place of a worker's key.
const ownKey = "broker"

// startService registers the broker's own methods with the dispatcher.
func (b *Broker) startService(ctx context.Context) *service {
	s := &service{broker: b, calls: make(map[uint64]context.CancelFunc)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	register := &message.Register{Worker: "broker", Name: b.config.Main.Name, Concurrency: serviceConcurrency}
	for _, m := range ownMethods {
		register.Methods = append(register.Methods, m.Method)
	}
	s.worker, _ = b.dispatcher.Register(dispatch.WorkerConfig{Register: register, Key: ownKey, Sink: s})
	return s
}

// stop ends the service; its calls have ended when it returns.
func (s *service) stop() {
	s.cancel()
	s.running.Wait()
	s.worker.Lost(0, dispatch.Evidence{Reason: "the broker stops"})
}

// Assign implements dispatch.WorkerSink.
func (s *service) Assign(a *dispatch.Assignment) uint64 {
	timeout := a.Timeout
	if timeout == 0 { // none
		timeout = message.MaxTimeout
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	token, method := a.Token, string(a.Method)
	body := append([]byte(nil), a.Body...)
	s.mu.Lock()
	s.calls[token] = cancel
	s.mu.Unlock()
	s.running.Go(func() {
		defer s.forget(token)
		kind, answer := s.answer(ctx, method, body)
		s.worker.Outcome(dispatch.Ref{Token: token}, kind, answer)
	})
	return 0
}

func (s *service) forget(token uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[token]()
	delete(s.calls, token)
}

// answer runs one method and encodes what it returns. A panic ends the call, not the broker.
func (s *service) answer(ctx context.Context, name string, body []byte) (kind message.Kind, encoded []byte) {
	defer func() {
		if v := recover(); v != nil {
			s.broker.log.Error("a defect of the broker ended a call", "method", name, "panic", v, "stack", string(debug.Stack()))
			kind, encoded = message.KindError, message.Errorf(message.HandlerPanic, "%s panicked; the stack is in the broker's log", name).Append(nil)
		}
	}()
	result, err := s.run(ctx, name, body)
	if err != nil {
		return message.KindError, message.From(err).Append(nil)
	}
	encoded, err = encodeJSONNames(result)
	if err != nil {
		return message.KindError, message.Errorf(message.Internal, "encoding the answer of %s: %v", name, err).Append(nil)
	}
	return message.KindResult, encoded
}

func (s *service) run(ctx context.Context, name string, body []byte) (any, error) {
	for _, m := range ownMethods {
		if m.Name == name {
			p, err := parseParams(body)
			if err != nil {
				return nil, err
			}
			return m.run(ctx, s.broker, p)
		}
	}
	return nil, message.Errorf(message.NoSuchMethod, "the broker has no method %q", name)
}

// Cancel implements dispatch.WorkerSink.
func (s *service) Cancel(ref dispatch.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.calls[ref.Token]; cancel != nil {
		cancel()
	}
}

// The rest of dispatch.WorkerSink does not concern a worker without a link.

// Registered implements dispatch.WorkerSink.
func (s *service) Registered(string) {}

// Grant implements dispatch.WorkerSink.
func (s *service) Grant(dispatch.Ref, uint64) {}

// Ack implements dispatch.WorkerSink.
func (s *service) Ack(uint64) {}

// Drain implements dispatch.WorkerSink.
func (s *service) Drain() {}

// Drained implements dispatch.WorkerSink.
func (s *service) Drained() {}

// Close implements dispatch.WorkerSink.
func (s *service) Close(*message.Error) {}

// seconds rounds a duration for people.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

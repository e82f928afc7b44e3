package dispatch

import "time"

// Limits bound what the dispatcher holds and how long it waits. A zero field
// stands for its default.
type Limits struct {
	CallsPerKey int   // calls held for one key, over all its sessions, unacknowledged outcomes included; default 10,000
	BytesPerKey int64 // their bodies; default 64 MiB
	Calls       int   // calls held for all keys; default 1,000,000
	Bytes       int64 // their bodies; default 1 GiB
	MaxMessage  int   // bytes of one body, of a request or a result; default 16 MiB
	MaxAttempts int   // workers that one idempotent call may take with it; default 3, at most 255

	NoWorkerGrace time.Duration // how long a call without a deadline waits for a worker of its method; default 5 s
	ClientGrace   time.Duration // how long a session outlives its connection; default 30 s
	ClaimGrace    time.Duration // how long after the start calls of an earlier broker may be claimed; default 5 s
	KeepOutcome   time.Duration // how long outcomes for idempotency keys and unclaimed outcomes are kept; default 2 min
	KeepBytes     int64         // their bodies, for each of the two; default 64 MiB
}

// withDefaults returns l with its zero fields filled in.
func (l Limits) withDefaults() Limits {
	fill(&l.CallsPerKey, 10_000)
	fill(&l.BytesPerKey, 64<<20)
	fill(&l.Calls, 1_000_000)
	fill(&l.Bytes, 1<<30)
	fill(&l.MaxMessage, 16<<20)
	fill(&l.MaxAttempts, 3)
	fill(&l.NoWorkerGrace, 5*time.Second)
	fill(&l.ClientGrace, 30*time.Second)
	fill(&l.ClaimGrace, 5*time.Second)
	fill(&l.KeepOutcome, 2*time.Minute)
	fill(&l.KeepBytes, 64<<20)
	l.MaxAttempts = min(l.MaxAttempts, 255)
	return l
}

func fill[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

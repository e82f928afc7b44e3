// Package dispatch decides which worker runs which call, and holds every call
// from the moment the broker accepts it until its one outcome has been taken.
// It is pure logic: no I/O, no goroutine, an injected clock, one lock.
//
// Callers of clients' links use a [Session], callers of workers' links a
// [Worker]; what has to be sent leaves through a [ClientSink] or a
// [WorkerSink]. [Dispatcher.Tick] makes time pass.
//
// A call is in exactly one of these places:
//
//	              Submit
//	    ┌───────────┼───────────┐
//	    v           v           v
//	reclaiming   joined      queued <────┐  not handed over, handed back, or
//	    │  │        │           │        │  idempotent and its worker was lost
//	    │  └────────┼───> ──────┤        │
//	    │           │           v        │
//	    └───────────┼─────>  running ────┘
//	                v           v
//	              ended (its outcome waits to be acknowledged) ──> forgotten
//
// The law that holds after every step, see [Stats.Law] and [Dispatcher.Check]:
//
//	accepted = succeeded + failed + queued + running
package dispatch

package zmtp

import (
	"sync"
	"sync/atomic"
	"time"
)

// lending lets a goroutine that waits for what comes by a link read the link itself: to be
// woken by another one costs futex calls and switches of threads. Who holds the link reads it:
//
//	own    -> waiter  turns have shown that one goroutine at a time waits, and that one has asked
//	own    -> none    the same, and nobody waits at that moment
//	none   -> waiter  ReadUntil
//	none   -> own     Reclaim, for somebody waits otherwise, or the link ends; or the timer
//	waiter -> none    its wait is over, and nobody else waits
//	waiter -> own     the same, but others wait, the link ends, or it is busy; or the timer
//	own, waiter -> over  Run returns
//
// Whoever begins to hold it has read nothing yet: source.unread is set until it has.
//
// ADR 16 has the reasons. Lock order: Link.mu, then mu.
type lending struct {
	// Static from Run on.
	waiting func() Waits  // RunLent's; nil = the link is never lent
	turn    chan struct{} // its token makes the one who was promised the link its holder; capacity 1

	holder  atomic.Uint32 // heldBy...; changed with mu held
	offered atomic.Bool   // who asks now is promised the link; set by the link's own goroutine
	ending  atomic.Bool   // Close or Finish was called, or the peer has hung up: somebody must read the end; never cleared

	// Owned by the link's own goroutine while it reads; reset before it starts.
	quiet int // turns that ended a wait, less those that found nobody waiting; 0 after a crowd

	// Owned by the waiter who holds the link; guarded by mu while nobody does.
	busy int // loans that had no need to wait, less those that had to

	recalled atomic.Bool // the holder has waited for long: the own goroutine is to read; changed with mu held

	mu      sync.Mutex
	next    bool        // somebody was promised the link, and waits for turn
	changes uint64      // how often the link was lent, or left to nobody
	seen    uint64      // changes when timer was set
	timer   *time.Timer // nil until the link is first left
	set     bool        // timer is set
}

// Who reads a link: lending.holder.
const (
	heldByOwn    uint32 = iota // the link's own goroutine
	heldByWaiter               // a caller of ReadUntil
	heldByNone                 // nobody
	heldOver                   // nobody ever will: the link has ended
)

const (
	// quietTurns is how many turns show that one goroutine at a time waits.
	quietTurns = 64
	// busyLoans is how many loans show that the one who waits does other things as well: the
	// link's own goroutine reads beside it then.
	busyLoans = 64
	// lookAfter is how long nobody, or one waiter, reads before the link's own goroutine does: at
	// least this, at most twice this, for one timer serves many loans. To set one wakes a processor.
	lookAfter = 5 * time.Millisecond
)

// Waits is what the user of a lent link knows of those who wait for what comes by it. One that
// reads may count or not: when it leaves, its wait is over.
type Waits struct {
	// Now is how many wait. Who begins adds itself, calls ReadUntil or Reclaim, and looks then
	// whether its wait is over.
	Now   int
	Crowd bool // Now has been more than 1, or very much came at once, since the last answer
	Ended bool // a wait has ended since the last answer; handle takes it from Now before it returns
}

// RunLent is Run for a link that goroutines which wait for what comes by it may read: see
// ReadUntil. handle is called by one goroutine at a time, not always the same. waiting is
// called with locks held: it must not block, nor call the link.
//
// RunLent is only Run where links are never lent: without Config.Turns, with
// Config.AfterTurn, on a connection that is no *net.TCPConn, on 386 and s390x, and on systems
// other than Linux.
func (l *Link) RunLent(handle func(*Message) error, waiting func() Waits) error {
	if l.turns != nil && l.after.run == nil && l.source.tells() {
		l.lending.waiting, l.lending.turn = waiting, make(chan struct{}, 1)
	}
	return l.Run(handle)
}

// ReadUntil reads the link in the goroutine of a caller that is about to wait for something
// that comes by it, until over reports that the wait has ended, the link ends, or 5 to 10 ms
// have passed. If several wait, or the link is not lent, it returns at once: whenever it
// returns false, the caller still has to wait by itself.
//
// While the link's own goroutine reads, the caller may be promised the link. Then ended is
// called, once: it counts the caller among Waits, if that is not done yet, and returns a
// channel from which one can receive when the wait is over. ReadUntil waits for that, for
// givenUp, which may be nil, or for the link, beyond whose end it waits on, and reports
// whether it has received from ended's channel.
//
// over is called in the caller's goroutine, after each turn and each Interrupt. A goroutine that
// ends a wait, unless it is in handle, has over report it first, and calls Interrupt then.
func (l *Link) ReadUntil(givenUp <-chan struct{}, over func() bool, ended func() <-chan struct{}) (received bool) {
	d := &l.lending
	switch l.request() {
	case refused:
		return false
	case promised:
		select {
		case <-ended():
			l.renounce()
			return true
		case <-givenUp:
			l.renounce()
			return false
		case <-d.turn:
		}
	}
	left := false
	leave := func() bool { left = over() || d.recalled.Load(); return left }
	if !leave() {
		before := l.source.dry
		l.readInPlace(leave, func() bool { return left })
		if !left {
			return false // the link has ended
		}
		d.account(l.source.dry > before)
	}
	l.endLoan()
	return false
}

// answer is what becomes of a request.
type answer uint8

const (
	refused  answer = iota // somebody else reads
	promised               // the caller gets it from turn, or renounces
	granted                // the caller holds it
)

// request asks for the link.
func (l *Link) request() answer {
	d := &l.lending
	// Without mu: in a crowd all would contend for it.
	if holder := d.holder.Load(); holder != heldByNone && (holder != heldByOwn || !d.offered.Load()) {
		return refused
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch holder := d.holder.Load(); {
	case holder == heldByNone:
		l.lendLocked()
		return granted
	case holder != heldByOwn || !d.offered.Load() || d.next:
		return refused
	}
	d.next = true
	return promised
}

// lendLocked has a waiter hold the link. Needs lending.mu.
func (l *Link) lendLocked() {
	d := &l.lending
	l.source.unread.Store(true)
	d.holder.Store(heldByWaiter)
	d.changes++
	l.setTimerLocked()
}

// renounce takes the promise back, or ends the loan that it has become.
func (l *Link) renounce() {
	d := &l.lending
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next {
		d.next = false
		return
	}
	<-d.turn
	l.endLoanLocked()
}

// account notes whether a loan had to wait.
func (d *lending) account(waited bool) {
	if waited {
		d.busy = max(d.busy-1, 0)
	} else {
		d.busy++
	}
}

// endLoan ends the holding of a waiter.
func (l *Link) endLoan() {
	l.lending.mu.Lock()
	defer l.lending.mu.Unlock()
	l.endLoanLocked()
}

// endLoanLocked needs lending.mu. It passes the link to no other waiter: for two to take
// turns costs more than a goroutine of the link's own.
func (l *Link) endLoanLocked() {
	if d := &l.lending; d.recalled.Load() || d.busy >= busyLoans || !l.leaveLocked() {
		l.startOwnLocked()
	}
}

// leaveLocked leaves the link to nobody, unless somebody waits or the link is ending, and
// reports whether it did. Needs lending.mu.
func (l *Link) leaveLocked() bool {
	d := &l.lending
	l.source.unread.Store(true)
	before := d.holder.Swap(heldByNone)
	// After the swap: who counts itself or ends the link from here on finds nobody reading, and
	// calls Reclaim. That a wait has ended is lost, which only delays the next leaving.
	if w := d.waiting(); w.Now > 0 || w.Crowd || d.ending.Load() {
		if w.Crowd {
			d.quiet = 0
		}
		d.holder.Store(before)
		return false
	}
	d.changes++
	l.setTimerLocked()
	return true
}

// startOwnLocked has a goroutine of the link's own hold it. Needs lending.mu.
func (l *Link) startOwnLocked() {
	d := &l.lending
	l.source.unread.Store(true)
	d.quiet, d.busy = 0, 0
	d.offered.Store(false)
	d.recalled.Store(false)
	d.holder.Store(heldByOwn)
	go l.readOwn()
}

// readOwn is the link's own goroutine that reads.
func (l *Link) readOwn() {
	left := false
	l.readInPlace(
		func() bool { left = l.leaveIfQuiet(); return left },
		func() bool { return left },
	)
}

// leaveIfQuiet leaves the link, after a turn of the link's own goroutine, if one at a time
// waits, and reports whether it did.
func (l *Link) leaveIfQuiet() bool {
	d := &l.lending
	switch w := d.waiting(); {
	case w.Crowd:
		d.quiet = 0
	case w.Ended:
		d.quiet++
	case w.Now == 0: // who will want this has something else to do
		d.quiet = max(d.quiet-1, 0)
	}
	quiet := d.quiet >= quietTurns
	if d.offered.Load() != quiet {
		d.offered.Store(quiet)
	}
	if !quiet {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next {
		d.next = false
		l.lendLocked()
		d.turn <- struct{}{}
		return true
	}
	return l.leaveLocked()
}

// Reclaim has a goroutine of the link's own read if nobody does: for one that waits without
// reading, once it is counted. It is called from any goroutine.
func (l *Link) Reclaim() {
	if l.lending.holder.Load() != heldByNone {
		return
	}
	l.lending.mu.Lock()
	defer l.lending.mu.Unlock()
	if l.lending.holder.Load() == heldByNone {
		l.startOwnLocked()
	}
}

// setTimerLocked has look run in lookAfter, unless it will sooner. Needs lending.mu.
func (l *Link) setTimerLocked() {
	d := &l.lending
	if d.set {
		return
	}
	d.set, d.seen = true, d.changes
	if d.timer == nil {
		d.timer = time.AfterFunc(lookAfter, l.look)
	} else {
		d.timer.Reset(lookAfter)
	}
}

// look is what the timer runs: if all is as when it was set, the link's own goroutine reads again.
func (l *Link) look() {
	if l.recall() {
		l.Interrupt()
	}
}

// recall is look, and reports whether a waiter is to be told.
func (l *Link) recall() bool {
	d := &l.lending
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set = false
	switch holder := d.holder.Load(); {
	case holder == heldByOwn || holder == heldOver:
	case d.seen != d.changes:
		l.setTimerLocked()
	case holder == heldByNone:
		l.startOwnLocked()
	default:
		d.recalled.Store(true)
		return true
	}
	return false
}

// end ends the lending with the link.
func (d *lending) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holder.Store(heldOver)
	if d.timer != nil {
		d.timer.Stop()
	}
}

// lent reports whether a waiter holds the link.
func (d *lending) lent() bool { return d.holder.Load() == heldByWaiter }

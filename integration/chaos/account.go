package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Evidence is all that is known of a run: three kinds of witnesses who do not
// know of one another.
type Evidence struct {
	Clients map[string][]Record // by process
	Workers map[string][]Record // by process
	Scrapes []Scrape            // of the broker, in the order in which they were made
}

// Scrape is the broker's counters at one moment.
type Scrape struct {
	At           time.Time
	Instance     string // changes with each start of the broker
	Accepted     uint64
	Succeeded    uint64
	Failed       uint64
	Queued       int
	Running      int
	Returned     uint64
	Redispatched uint64
	Reclaimed    uint64
	Late         uint64
	Served       uint64 // results of the journalled methods
}

// Rules say what a run may contain.
type Rules struct {
	MaxAttempts int             // of the broker's configuration
	Restarts    int             // of the broker: its counters begin anew
	Held        bool            // a worker's link held back what was sent: what arrives late was not handed out late
	Idempotent  map[string]bool // by method
	Killed      map[string]bool // clients that did not live through the run
	MaxUnknown  int             // outcomes that leave open whether the call ran: no more than were in flight at the faults
	Faults      []Window        // the rate is not judged in them
	Baseline    Window          // the rate before all faults; zero = the rate is not judged
	Until       time.Time       // the load was told to stop
	RateOf      string          // the client whose rate is judged; "" = all
	Judged      Window          // after the faults, where the rate is judged; zero = wherever no fault is
	FloorShare  float64         // of the baseline's rate, that the rate outside all windows must reach
	MayFail     []string        // codes that outcomes may have; nil = any
	MayHurry    []string        // the same, beyond those, of calls in a hurry
}

// Window is a span of the run.
type Window struct {
	Name     string
	From, To time.Time
}

func (w Window) holds(t time.Time) bool { return !t.Before(w.From) && t.Before(w.To) }

// Account is what became of the calls of a run.
type Account struct {
	Submitted    int
	Succeeded    int
	Failed       map[string]int // by code
	Redispatched uint64         // by the broker's own count, over all its starts
	Reclaimed    uint64
	Twice        int // idempotent calls that ran more than once
	TwiceUnsafe  int // calls that are not idempotent and ran more than once: must be 0
	Lost         int // calls of a living client without exactly one outcome: must be 0
	Unknown      int // failures that leave open whether the call ran
	Abandoned    int // calls without an outcome whose client was killed
	BaseRate     float64
	FreeRate     float64 // outside all fault windows

	Violations []string // what contradicts I1 to I6 and the other rules, at most maxViolations of a kind
}

const maxViolations = 10

// callStory is what the journals say of one call.
type callStory struct {
	client   string
	sent     []Record
	answers  []Record
	timeouts int
	received []Record
	done     []Record
}

// Settle joins the evidence into an account.
func Settle(e *Evidence, rules *Rules) *Account {
	s := &settlement{
		rules: rules, account: &Account{Failed: make(map[string]int)},
		calls: make(map[string]*callStory), left: make(map[string]bool), kinds: make(map[string]int),
	}
	s.collect(e)
	for _, id := range slices.Sorted(maps.Keys(s.calls)) {
		s.judge(id, s.calls[id])
	}
	for _, name := range slices.Sorted(maps.Keys(e.Clients)) {
		if !s.left[name] && !rules.Killed[name] {
			s.violation("I2", "client %s neither ended in order nor was killed by the schedule", name)
		}
	}
	s.scrapes(e.Scrapes)
	s.rates(e.Clients)
	if a := s.account; a.Unknown > rules.MaxUnknown {
		s.violation("unknown", "%d outcomes leave open whether the call ran, only %d calls can have been in flight at the faults",
			a.Unknown, rules.MaxUnknown)
	}
	return s.account
}

// settlement is one run of Settle.
type settlement struct {
	rules   *Rules
	account *Account
	calls   map[string]*callStory
	left    map[string]bool // clients that ended in order
	kinds   map[string]int  // violations by kind
}

func (s *settlement) violation(kind, format string, args ...any) {
	s.kinds[kind]++
	if s.kinds[kind] <= maxViolations {
		s.account.Violations = append(s.account.Violations, kind+": "+fmt.Sprintf(format, args...))
	}
}

func (s *settlement) story(id string) *callStory {
	c := s.calls[id]
	if c == nil {
		c = &callStory{}
		s.calls[id] = c
	}
	return c
}

// collect sorts the records by call.
func (s *settlement) collect(e *Evidence) {
	for name, records := range e.Clients {
		for _, r := range records {
			if r.Event == Left {
				s.left[name] = true
				continue
			}
			c := s.story(r.ID)
			c.client = name
			switch r.Event {
			case Sent:
				c.sent = append(c.sent, r)
			case Answered:
				c.answers = append(c.answers, r)
			case Timeout:
				c.timeouts++
			}
		}
	}
	for _, records := range e.Workers {
		for _, r := range records {
			c := s.story(r.ID)
			if r.Event == Received {
				c.received = append(c.received, r)
			} else {
				c.done = append(c.done, r)
			}
		}
	}
}

// judge holds one call against I1, I2, I4, I5 and I6.
func (s *settlement) judge(id string, c *callStory) {
	a := s.account
	if len(c.sent) != 1 {
		s.violation("I2", "call %s was sent %d times", id, len(c.sent))
		return
	}
	a.Submitted++
	s.executions(id, c)
	switch {
	case len(c.answers) > 1:
		a.Lost++ // its caller cannot know which one is true
		s.violation("I1", "call %s has %d answers", id, len(c.answers))
	case len(c.answers) == 1:
		s.answer(id, c, c.answers[0])
	case s.rules.Killed[c.client] && c.timeouts == 0:
		a.Abandoned++
	default:
		a.Lost++
		s.violation("I2", "call %s has no outcome, and its client lived", id)
	}
}

// answer judges a call that has exactly one.
func (s *settlement) answer(id string, c *callStory, r Record) {
	a := s.account
	if r.Code == ok {
		a.Succeeded++
		for _, d := range c.done {
			if d.Hash == r.Hash && (d.Attempt == r.Attempt || r.Attempt == 0) {
				return
			}
		}
		s.violation("I5", "call %s was answered %s by attempt %d, but no worker has done that", id, r.Hash, r.Attempt)
		return
	}
	a.Failed[r.Code]++
	if r.Code == wrongAnswer || r.Code == noCode {
		s.violation("I5", "call %s ended in %s", id, r.Code)
	}
	inHurry := c.sent[0].Code == hurried && slices.Contains(s.rules.MayHurry, r.Code)
	if s.rules.MayFail != nil && !slices.Contains(s.rules.MayFail, r.Code) && !inHurry {
		s.violation("code", "call %s ended in %s, which this fault does not explain", id, r.Code)
	}
	switch r.Ran {
	case "no":
		if len(c.received) > 0 {
			s.violation("I4", "call %s ended in %s, not executed, but a worker has received it", id, r.Code)
		}
	case "maybe":
		if r.Code != "deadline_in_handler" && r.Code != "cancelled" { // those are the caller's own wish
			a.Unknown++
		}
	}
}

// executions judges how often a call ran.
func (s *settlement) executions(id string, c *callStory) {
	n := len(c.received)
	if n < 2 {
		return
	}
	if !s.rules.Idempotent[c.sent[0].Method] {
		s.account.TwiceUnsafe++
		s.violation("I6", "call %s of %s, which is not idempotent, ran %d times", id, c.sent[0].Method, n)
		return
	}
	s.account.Twice++
	if n > s.rules.MaxAttempts {
		s.violation("I6", "call %s ran %d times, at most %d are allowed", id, n, s.rules.MaxAttempts)
	}
	if s.rules.Held {
		slices.SortFunc(c.received, func(x, y Record) int { return cmp.Compare(x.Attempt, y.Attempt) })
	} else {
		slices.SortFunc(c.received, func(x, y Record) int { return x.At.Compare(y.At) })
	}
	for i := 1; i < n; i++ {
		if before, now := c.received[i-1].Attempt, c.received[i].Attempt; now <= before {
			s.violation("I6", "call %s: attempt %d was made after attempt %d", id, now, before)
		}
	}
}

// scrapes judges I3: the law at every moment, and nothing left at the end.
func (s *settlement) scrapes(all []Scrape) {
	var before Scrape
	for _, now := range all {
		if sum := now.Succeeded + now.Failed + uint64(now.Queued) + uint64(now.Running); sum != now.Accepted {
			s.violation("I3", "the broker accepted %d calls but accounts for %d", now.Accepted, sum)
		}
		if before.Instance != now.Instance {
			s.account.Redispatched += before.Redispatched
			s.account.Reclaimed += before.Reclaimed
		} else if now.Accepted < before.Accepted || now.Succeeded < before.Succeeded || now.Failed < before.Failed {
			s.violation("I3", "a counter of the broker went back")
		}
		before = now
	}
	s.account.Redispatched += before.Redispatched
	s.account.Reclaimed += before.Reclaimed
	if len(all) == 0 {
		s.violation("I3", "the broker was never asked")
		return
	}
	if before.Queued != 0 || before.Running != 0 {
		s.violation("I3", "at the end the broker still holds %d queued and %d running calls", before.Queued, before.Running)
	}
	if s.rules.Restarts == 0 && before.Served < uint64(s.account.Succeeded) {
		s.violation("I3", "clients have %d results, the broker counts %d", s.account.Succeeded, before.Served)
	}
}

// rates judges that the system was alive outside the fault windows.
func (s *settlement) rates(clients map[string][]Record) {
	r, a := s.rules, s.account
	if r.Baseline.From.IsZero() {
		return
	}
	judged := r.Judged
	if judged.From.IsZero() {
		judged = Window{From: r.Baseline.To, To: r.Until}
	}
	var based, free int
	for name, records := range clients {
		if r.RateOf != "" && r.RateOf != name {
			continue
		}
		for _, rec := range records {
			switch {
			case rec.Event != Answered || rec.Code != ok:
			case r.Baseline.holds(rec.At):
				based++
			case judged.holds(rec.At) && !s.inFault(rec.At):
				free++
			}
		}
	}
	a.BaseRate = float64(based) / r.Baseline.To.Sub(r.Baseline.From).Seconds()
	span := judged.To.Sub(judged.From) - s.covered(judged.From, judged.To)
	if span > 0 { // else nothing was outside, and that is no proof of life either
		a.FreeRate = float64(free) / span.Seconds()
	}
	if based == 0 || a.FreeRate < r.FloorShare*a.BaseRate {
		s.violation("rate", "outside the faults %.0f calls a second succeeded, %.0f before them; at least %.0f %% is alive",
			a.FreeRate, a.BaseRate, 100*r.FloorShare)
	}
}

func (s *settlement) inFault(t time.Time) bool {
	return slices.ContainsFunc(s.rules.Faults, func(w Window) bool { return w.holds(t) })
}

// covered returns how much of a span lies in fault windows, which may overlap.
func (s *settlement) covered(from, to time.Time) (sum time.Duration) {
	windows := slices.Clone(s.rules.Faults)
	slices.SortFunc(windows, func(x, y Window) int { return x.From.Compare(y.From) })
	at := from
	for _, w := range windows {
		start, end := w.From, w.To
		if start.Before(at) {
			start = at
		}
		if end.After(to) {
			end = to
		}
		if end.After(start) {
			sum += end.Sub(start)
			at = end
		}
	}
	return sum
}

// String is the account as a table.
func (a *Account) String() string {
	var b strings.Builder
	row := func(name string, value any) { fmt.Fprintf(&b, "  %-28s %v\n", name, value) }
	row("submitted", a.Submitted)
	row("succeeded", a.Succeeded)
	for _, code := range slices.Sorted(maps.Keys(a.Failed)) {
		row("failed: "+code, a.Failed[code])
	}
	row("of these, fate unknown", a.Unknown)
	row("abandoned by killed clients", a.Abandoned)
	row("re-dispatched", a.Redispatched)
	row("reclaimed after a restart", a.Reclaimed)
	row("executed twice, idempotent", a.Twice)
	row("executed twice, others", a.TwiceUnsafe)
	row("lost", a.Lost)
	if a.BaseRate > 0 {
		row("rate before / outside faults", fmt.Sprintf("%.0f/s / %.0f/s (%.0f %%)", a.BaseRate, a.FreeRate, 100*a.FreeRate/a.BaseRate))
	}
	return b.String()
}

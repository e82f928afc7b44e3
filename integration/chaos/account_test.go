package chaos

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Unix(1_700_000_000, 0)

// run is the evidence of a flawless run of 100 calls in 10 s, by one client on
// two workers: even calls are idempotent, call 10 was tried twice, call 20
// ended in worker_lost, call 30 in queue_full. Seconds 4 to 6 are a fault.
func flawless() (*Evidence, *Rules) {
	e := &Evidence{Clients: map[string][]Record{}, Workers: map[string][]Record{}}
	for i := range 100 {
		id, method, at := fmt.Sprintf("c-%d", i), "once", start.Add(time.Duration(i)*100*time.Millisecond)
		if i%2 == 0 {
			method = "again"
		}
		worker, attempt, hash := fmt.Sprintf("w%d", i%2), 1, hashOf(id, nil)
		write := func(name string, r Record) { r.ID = id; e.Workers[name] = append(e.Workers[name], r) }
		answer := Record{Event: Answered, At: at.Add(20 * time.Millisecond), ID: id, Code: ok, Hash: hash}
		e.Clients["c"] = append(e.Clients["c"], Record{Event: Sent, At: at, ID: id, Method: method})
		switch i {
		case 10:
			write("w1", Record{Event: Received, At: at.Add(5 * time.Millisecond), Attempt: 1})
			attempt = 2
		case 20:
			write("w1", Record{Event: Received, At: at.Add(5 * time.Millisecond), Attempt: 1})
			answer = Record{Event: Answered, At: answer.At, ID: id, Code: "worker_lost", Ran: "maybe"}
		case 30:
			answer = Record{Event: Answered, At: answer.At, ID: id, Code: "queue_full", Ran: "no"}
		}
		if answer.Code == ok {
			write(worker, Record{Event: Received, At: at.Add(10 * time.Millisecond), Attempt: attempt})
			write(worker, Record{Event: Done, At: at.Add(19 * time.Millisecond), Attempt: attempt, Hash: hash})
			answer.Attempt = attempt
		}
		e.Clients["c"] = append(e.Clients["c"], answer)
	}
	e.Clients["c"] = append(e.Clients["c"], Record{Event: Left, At: start.Add(10 * time.Second)})
	e.Scrapes = []Scrape{
		{Instance: "b", Accepted: 50, Succeeded: 40, Failed: 1, Queued: 4, Running: 5},
		{Instance: "b", Accepted: 109, Succeeded: 108, Failed: 1, Redispatched: 1, Served: 98},
	}
	return e, &Rules{
		MaxAttempts: 3, Idempotent: map[string]bool{"again": true}, Killed: map[string]bool{}, MaxUnknown: 1,
		Baseline: Window{From: start, To: start.Add(4 * time.Second)}, Until: start.Add(10 * time.Second), FloorShare: 0.7,
		Faults: []Window{{"fault", start.Add(4 * time.Second), start.Add(6 * time.Second)}},
	}
}

func TestSettle_flawlessRun(t *testing.T) {
	a := Settle(flawless())
	if len(a.Violations) > 0 {
		t.Error(strings.Join(a.Violations, "\n"))
	}
	if a.Submitted != 100 || a.Succeeded != 98 || a.Failed["worker_lost"] != 1 || a.Failed["queue_full"] != 1 ||
		a.Redispatched != 1 || a.Twice != 1 || a.TwiceUnsafe != 0 || a.Lost != 0 || a.Unknown != 1 {
		t.Errorf("the account is wrong:\n%v", a)
	}
	if !strings.Contains(a.String(), "lost                         0") {
		t.Errorf("the table does not say what is lost:\n%v", a)
	}
}

// at returns the index of the first record of that event and id.
func at(records []Record, event Event, id string) int {
	return slices.IndexFunc(records, func(r Record) bool { return r.Event == event && r.ID == id })
}

// Each planted bug must be found, by the rule that is about it.
func TestSettle_findsPlantedBugs(t *testing.T) {
	for _, bug := range []struct {
		name, want string
		plant      func(*Evidence, *Rules)
	}{
		{"a dropped answer", "I2: call c-41", func(e *Evidence, _ *Rules) {
			c := e.Clients["c"]
			i := at(c, Answered, "c-41")
			e.Clients["c"] = slices.Delete(c, i, i+1)
		}},
		{"a timeout of the SDK itself", "I2: call c-41", func(e *Evidence, _ *Rules) {
			c := e.Clients["c"]
			i := at(c, Answered, "c-41")
			c[i] = Record{Event: Timeout, At: c[i].At, ID: "c-41"}
		}},
		{"a duplicated answer", "I1: call c-41", func(e *Evidence, _ *Rules) {
			c := e.Clients["c"]
			e.Clients["c"] = append(c, c[at(c, Answered, "c-41")])
		}},
		{"two swapped answers", "I5: call c-41", func(e *Evidence, _ *Rules) {
			c := e.Clients["c"]
			i, j := at(c, Answered, "c-41"), at(c, Answered, "c-43")
			c[i].Hash, c[j].Hash = c[j].Hash, c[i].Hash
		}},
		{"an answer of an attempt that did not do it", "I5: call c-10", func(e *Evidence, _ *Rules) {
			c := e.Clients["c"]
			c[at(c, Answered, "c-10")].Attempt = 1
		}},
		{"an answer that nobody gave", "I5: call c-41", func(e *Evidence, _ *Rules) {
			w := e.Workers["w1"]
			i := at(w, Done, "c-41")
			e.Workers["w1"] = slices.Delete(w, i, i+1)
		}},
		{"a call that is not idempotent runs twice", "I6: call c-41", func(e *Evidence, _ *Rules) {
			e.Workers["w0"] = append(e.Workers["w0"], Record{Event: Received, ID: "c-41", Attempt: 2})
		}},
		{"one attempt runs twice", "I6: call c-10", func(e *Evidence, _ *Rules) {
			w := e.Workers["w1"]
			w[at(w, Received, "c-10")].Attempt = 2
		}},
		{"attempts that do not rise", "I6: call c-10: attempt 1 was made after attempt 2", fallingAttempts},
		{"a call that is tried without end", "I6: call c-42 ran 4 times", func(e *Evidence, _ *Rules) {
			for attempt := 2; attempt < 5; attempt++ {
				e.Workers["w1"] = append(e.Workers["w1"], Record{Event: Received, At: start.Add(time.Hour), ID: "c-42", Attempt: attempt})
			}
		}},
		{"not executed is not true", "I4: call c-30", func(e *Evidence, _ *Rules) {
			e.Workers["w1"] = append(e.Workers["w1"], Record{Event: Received, ID: "c-30", Attempt: 1})
		}},
		{"the law is broken", "I3: the broker accepted 50", func(e *Evidence, _ *Rules) { e.Scrapes[0].Queued++ }},
		{"a call stays behind", "I3: at the end", func(e *Evidence, _ *Rules) {
			e.Scrapes[1].Queued, e.Scrapes[1].Succeeded = 1, 107
		}},
		{"the broker counts too few", "I3: clients have", func(e *Evidence, _ *Rules) { e.Scrapes[1].Served = 90 }},
		{"the broker was never asked", "I3: the broker was never", func(e *Evidence, _ *Rules) { e.Scrapes = nil }},
		{"a client dies by itself", "I2: client c", func(e *Evidence, _ *Rules) {
			e.Clients["c"] = e.Clients["c"][:len(e.Clients["c"])-1]
		}},
		{"more unknown than were in flight", "unknown: 1", func(_ *Evidence, r *Rules) { r.MaxUnknown = 0 }},
		{"an error that nothing explains", "code: call c-30", func(_ *Evidence, r *Rules) { r.MayFail = []string{"worker_lost"} }},
		{"what only a hurry explains", "code: call c-30", func(_ *Evidence, r *Rules) {
			r.MayFail, r.MayHurry = []string{"worker_lost"}, []string{"queue_full"}
		}},
		{"a system that is dead after the fault", "rate: ", func(e *Evidence, r *Rules) {
			c := e.Clients["c"]
			for i := range c {
				if c[i].Event == Answered && c[i].At.After(r.Faults[0].From) {
					c[i].Code, c[i].Ran = "no_worker", "no"
				}
			}
			e.Workers = map[string][]Record{"w0": e.Workers["w0"], "w1": e.Workers["w1"]}
		}},
		{"a system that hangs after the fault", "rate: ", func(e *Evidence, r *Rules) {
			e.Clients["c"] = slices.DeleteFunc(e.Clients["c"], func(rec Record) bool {
				return rec.Event != Left && rec.At.After(r.Faults[0].From)
			})
		}},
	} {
		t.Run(bug.name, func(t *testing.T) {
			e, rules := flawless()
			bug.plant(e, rules)
			a := Settle(e, rules)
			if !slices.ContainsFunc(a.Violations, func(v string) bool { return strings.HasPrefix(v, bug.want) }) {
				t.Errorf("not found; the checker says %q", a.Violations)
			}
		})
	}
}

// fallingAttempts makes the second attempt of call c-10 the first one.
func fallingAttempts(e *Evidence, _ *Rules) {
	w := e.Workers["w1"]
	w[at(w, Received, "c-10")].Attempt = 2
	w = e.Workers["w0"]
	w[at(w, Received, "c-10")].Attempt = 1
	w[at(w, Done, "c-10")].Attempt = 1
	c := e.Clients["c"]
	c[at(c, Answered, "c-10")].Attempt = 1
}

// Where a link was frozen the order of arrival says nothing; an attempt that is
// made twice is still found.
func TestSettle_heldLink(t *testing.T) {
	e, rules := flawless()
	rules.Held = true
	fallingAttempts(e, rules)
	if a := Settle(e, rules); len(a.Violations) > 0 {
		t.Errorf("%q", a.Violations)
	}
	w := e.Workers["w0"]
	w[at(w, Received, "c-10")].Attempt = 2
	if a := Settle(e, rules); !slices.ContainsFunc(a.Violations, func(v string) bool { return strings.HasPrefix(v, "I6: call c-10") }) {
		t.Errorf("not found; the checker says %q", a.Violations)
	}
}

// A call in a hurry may end in what the others may not.
func TestSettle_hurriedCall(t *testing.T) {
	e, rules := flawless()
	rules.MayFail, rules.MayHurry = []string{"worker_lost"}, []string{"queue_full"}
	c := e.Clients["c"]
	c[at(c, Sent, "c-30")].Code = hurried
	if a := Settle(e, rules); len(a.Violations) > 0 {
		t.Errorf("%q", a.Violations)
	}
}

// What a killed client did not see is no loss.
func TestSettle_killedClient(t *testing.T) {
	e, rules := flawless()
	c := e.Clients["c"]
	e.Clients["c"] = c[:at(c, Answered, "c-99")]
	rules.Killed["c"] = true
	a := Settle(e, rules)
	if len(a.Violations) > 0 || a.Abandoned != 1 || a.Lost != 0 {
		t.Errorf("%v\n%v", a, a.Violations)
	}
}

func TestJournal_survivesAndReadsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.journal")
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	written := []Record{
		{Event: Sent, ID: "c-1", Method: "once"},
		{Event: Answered, ID: "c-1", Code: ok, Hash: "ab", Attempt: 2},
		{Event: Answered, ID: "c-2", Code: "worker_lost", Ran: "maybe"},
		{Event: Left},
	}
	for _, r := range written {
		j.Write(r)
	}
	journals, err := ReadJournals(filepath.Join(filepath.Dir(path), "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range journals["w"] {
		if r.At.IsZero() {
			t.Errorf("record %d has no time", i)
		}
		r.At = time.Time{}
		if r != written[i] {
			t.Errorf("record %d is %+v, was %+v", i, r, written[i])
		}
	}
	if len(journals["w"]) != len(written) {
		t.Errorf("%d records of %d", len(journals["w"]), len(written))
	}
	if _, err := parseRecord("S 1 c-1 once"); err == nil {
		t.Error("a torn line is taken")
	}
}

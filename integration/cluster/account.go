package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Marker is in the arguments and the results of a load's calls, so that whoever
// sees it on a wire sees a payload in clear.
const Marker = "the-payload-of-a-call-in-clear"

// Account is what became of the calls of one or more loads.
type Account struct {
	Submitted int            `json:"submitted"`
	Succeeded int            `json:"succeeded"`
	Once      map[string]int `json:"once"`   // failures by code, of calls that may run only once
	Again     map[string]int `json:"again"`  // failures by code, of idempotent calls
	Lost      int            `json:"lost"`   // without any outcome
	Wrong     int            `json:"wrong"`  // with the result of something else
	Errors    []string       `json:"errors"` // some of the failures, in full
}

// Add adds the calls of another load.
func (a *Account) Add(o Account) {
	a.Submitted += o.Submitted
	a.Succeeded += o.Succeeded
	a.Lost += o.Lost
	a.Wrong += o.Wrong
	a.Errors = append(a.Errors, o.Errors...)
	for _, sum := range []struct {
		to   *map[string]int
		from map[string]int
	}{{&a.Once, o.Once}, {&a.Again, o.Again}} {
		if *sum.to == nil {
			*sum.to = make(map[string]int)
		}
		for code, n := range sum.from {
			(*sum.to)[code] += n
		}
	}
}

// Check returns what contradicts the promise that every call ends in exactly
// one outcome, and what failed in a way that the case does not allow. once
// lists the codes that calls which may run only once may fail with, at most
// limit of them; idempotent calls may not fail at all.
func (a *Account) Check(limit int, once ...string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	failed := total(a.Once) + total(a.Again)
	switch {
	case a.Lost > 0:
		fault("%d calls have no outcome", a.Lost)
	case a.Wrong > 0:
		fault("%d calls have the outcome of something else", a.Wrong)
	case a.Submitted != a.Succeeded+failed:
		fault("%d calls have %d outcomes", a.Submitted, a.Succeeded+failed)
	case a.Succeeded == 0:
		fault("no call succeeded: the case shows nothing")
	}
	if n := total(a.Again); n > 0 {
		fault("%d idempotent calls failed: %s", n, byCode(a.Again))
	}
	if n := total(a.Once); n > limit {
		fault("%d calls failed, at most %d were on their way: %s", n, limit, byCode(a.Once))
	}
	for code := range a.Once {
		if !slices.Contains(once, code) {
			fault("calls failed with %s", code)
		}
	}
	return faults
}

// Failures lists the failed calls by code.
func (a *Account) Failures() string {
	all := maps.Clone(a.Once)
	for code, n := range a.Again {
		all[code] += n
	}
	return byCode(all)
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

func byCode(counts map[string]int) string {
	var b strings.Builder
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "%s %d ", code, counts[code])
	}
	return strings.TrimSpace(b.String())
}

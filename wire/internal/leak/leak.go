// Package leak finds goroutines that a test has started and not ended.
package leak

import (
	"regexp"
	"runtime"
	"strings"
	"time"
)

// TB is what Check uses of a testing.TB.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
}

// Check makes t fail if, at its end, code of this repository runs in a
// goroutine that did not exist when Check was called. Cleanups that were
// registered later are done by then.
func Check(t TB) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		t.Helper()
		var left []string
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			left = left[:0]
			for id, stack := range goroutines() {
				if _, old := before[id]; !old {
					left = append(left, stack)
				}
			}
			if len(left) == 0 {
				return
			}
		}
		t.Errorf("%d goroutines are left:\n\n%s", len(left), strings.Join(left, "\n\n"))
	})
}

var header = regexp.MustCompile(`^goroutine (\d+) `)

// goroutines returns the stacks of all goroutines but the caller's that run
// code of this repository, by their number.
func goroutines() map[string]string {
	all := make([]byte, 1<<20)
	for {
		n := runtime.Stack(all, true)
		if n < len(all) {
			all = all[:n]
			break
		}
		all = make([]byte, 2*len(all))
	}
	found := make(map[string]string)
	for i, stack := range strings.Split(string(all), "\n\n") {
		id := header.FindStringSubmatch(stack)
		if i == 0 || id == nil || !strings.Contains(stack, "/servicetools/") || strings.Contains(stack, "testing.tRunner") {
			continue
		}
		found[id[1]] = stack
	}
	return found
}

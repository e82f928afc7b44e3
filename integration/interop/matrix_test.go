package interop

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// matrix collects what the tests found, by peer and case, for the end of the run.
var matrix struct {
	sync.Mutex
	peers, cases []string
	results      map[[2]string]string
}

// record notes the result of t as that of a peer in a case.
func record(t *testing.T, peer, name string) {
	t.Helper()
	t.Cleanup(func() {
		result := "ok"
		switch {
		case t.Failed():
			result = "FAILED"
		case t.Skipped():
			result = "not run"
		}
		matrix.Lock()
		defer matrix.Unlock()
		if matrix.results == nil {
			matrix.results = make(map[[2]string]string)
		}
		matrix.peers, matrix.cases = once(matrix.peers, peer), once(matrix.cases, name)
		matrix.results[[2]string{peer, name}] = result
	})
}

func once(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

func TestMain(m *testing.M) {
	code := m.Run()
	printMatrix()
	os.Exit(code)
}

func printMatrix() {
	if len(matrix.cases) == 0 {
		return
	}
	width := 0
	for _, c := range matrix.cases {
		width = max(width, utf8.RuneCountInString(c))
	}
	cell := func(s string, n int) string { return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s))) }
	line := cell("case", width)
	for _, p := range matrix.peers {
		line += " | " + cell(p, 7)
	}
	fmt.Println(line)
	for _, c := range matrix.cases {
		line = cell(c, width)
		for _, p := range matrix.peers {
			result := matrix.results[[2]string{p, c}]
			if result == "" {
				result = "-"
			}
			line += " | " + cell(result, max(7, utf8.RuneCountInString(p)))
		}
		fmt.Println(strings.TrimRight(line, " "))
	}
}

package supervise

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestLines_passesWholeLines(t *testing.T) {
	var got []string
	l := &lines{emit: func(b []byte) { got = append(got, string(b)) }}
	for _, part := range []string{"a", "b\nc\n", "\n", "d"} {
		fmt.Fprint(l, part)
	}
	l.flush()
	l.flush()
	if want := []string{"ab\n", "c\n", "\n", "d\n"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLines_breaksEndlessOnes(t *testing.T) {
	longest := 0
	l := &lines{emit: func(b []byte) { longest = max(longest, len(b)) }}
	for range 100 {
		fmt.Fprint(l, strings.Repeat("x", 10_000))
	}
	if longest == 0 || longest > maxLine+10_001 {
		t.Errorf("the longest line has %d bytes", longest)
	}
}

func TestEvidence_keepsTheLastLines(t *testing.T) {
	var e evidence
	for i := range 3 * evidenceLines {
		e.add(fmt.Appendf(nil, "%d %s\r\n", i, strings.Repeat("ü", 400)))
	}
	got := e.tail()
	if len(got) != evidenceLines || !strings.HasPrefix(got[evidenceLines-1], fmt.Sprint(3*evidenceLines-1, " ")) ||
		len(got[0]) > evidenceWidth || strings.ContainsAny(got[0], "\r\n") {
		t.Errorf("kept %d lines, the last %q", len(got), got[len(got)-1])
	}
}

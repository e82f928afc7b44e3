package message

import (
	"slices"
	"strings"
)

// Bounds of the search for a nearer name: whoever asks for it made a mistake,
// perhaps on purpose, and many times a second.
const (
	maxTyped      = 64
	maxCandidates = 1000
)

// Nearest returns up to n of the candidates that a person who typed name may
// have meant, best first. It compares without regard to case and underscores.
// It looks at 1,000 candidates at most, and at none for a name beyond 64 bytes.
func Nearest(name string, candidates []string, n int) []string {
	if len(name) > maxTyped {
		return nil
	}
	candidates = candidates[:min(len(candidates), maxCandidates)]
	type scored struct {
		name string
		cost int
	}
	want := fold(name)
	limit := max(2, len(want)/3)
	var near []scored
	for _, c := range candidates {
		have := fold(c)
		cost := editDistance(want, have, limit)
		if cost > limit && len(want) >= 3 && (strings.Contains(have, want) || strings.Contains(want, have)) {
			cost = limit
		}
		if cost <= limit {
			near = append(near, scored{c, cost})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int {
		if a.cost != b.cost {
			return a.cost - b.cost
		}
		return strings.Compare(a.name, b.name)
	})
	names := make([]string, 0, n)
	for _, s := range near[:min(n, len(near))] {
		names = append(names, s.name)
	}
	return names
}

// DidYouMean returns ` (did you mean "a" or "b"?)`, or "" when nothing is near.
func DidYouMean(name string, candidates []string) string {
	near := Nearest(name, candidates, 3)
	if len(near) == 0 {
		return ""
	}
	return ` (did you mean "` + strings.Join(near, `" or "`) + `"?)`
}

// SameSpelling reports whether two method names differ only in case and
// underscores, as return_non_sense and ReturnNonSense do.
func SameSpelling(a, b string) bool { return fold(a) == fold(b) }

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "") }

// editDistance is the Levenshtein distance in bytes, or limit+1 when it is
// surely larger. Names are bounded at 255 bytes, so the table is small.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

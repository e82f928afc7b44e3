package demo

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Words returns the words of text: the longest runs of letters, digits and
// underscores, in lower case. Bytes that are not UTF-8 separate words.
func Words(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		start := -1
		for i, r := range text {
			inWord := r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
			switch {
			case inWord && start < 0:
				start = i
			case !inWord && start >= 0:
				if !yield(strings.ToLower(text[start:i])) {
					return
				}
				start = -1
			}
		}
		if start >= 0 {
			yield(strings.ToLower(text[start:]))
		}
	}
}

// CountWords returns how often each word of text occurs.
func CountWords(text string) map[string]int {
	counts := make(map[string]int)
	for word := range Words(text) {
		counts[word]++
	}
	return counts
}

// Top returns the n most frequent words of counts with their counts, and all
// of them if n is 0. Of equally frequent ones the first in the alphabet wins.
func Top(counts map[string]int, n int) map[string]int {
	if n <= 0 || n >= len(counts) {
		return counts
	}
	words := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	top := make(map[string]int, n)
	for _, w := range words[:n] {
		top[w] = counts[w]
	}
	return top
}

package method

import "strings"

// Snake returns the wire name of a Go method name: WordCount is word_count,
// HTTPGet is http_get, ParseURLs is parse_urls, Sha256Sum is sha256_sum.
func Snake(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if isUpper(c) && i > 0 && name[i-1] != '_' && startsWord(name, i) {
			b.WriteByte('_')
		}
		b.WriteByte(lower(c))
	}
	return b.String()
}

// startsWord reports whether the capital at name[i], i > 0, starts a word.
func startsWord(name string, i int) bool {
	if !isUpper(name[i-1]) {
		return true
	}
	// Within a run of capitals the last one starts a word if a small letter
	// follows, unless that is a plural s: IDs is one word.
	if i+1 == len(name) || !isLower(name[i+1]) {
		return false
	}
	plural := name[i+1] == 's' && (i+2 == len(name) || !isLower(name[i+2]))
	return !plural
}

// appendFold appends name without case and underscores, the form in which
// the keys of a message are compared with the fields of a struct.
func appendFold[S string | []byte](dst []byte, name S) []byte {
	for i := range len(name) {
		if c := name[i]; c != '_' {
			dst = append(dst, lower(c))
		}
	}
	return dst
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

func lower(c byte) byte {
	if isUpper(c) {
		return c + 'a' - 'A'
	}
	return c
}

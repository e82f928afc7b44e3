package ini

import "strings"

// Error is a fault of one key.
type Error struct {
	Origin       string // "file:line", "environment NAME", or empty for a value set by a program
	Section, Key string // Key is empty for a fault of the section itself
	Reason       string // says what is wrong and what would be right
}

// Error names the place, the section, the key and the reason.
func (e *Error) Error() string {
	place := strings.TrimSpace("[" + e.Section + "] " + e.Key)
	if e.Origin != "" {
		place = e.Origin + ": " + place
	}
	return place + ": " + e.Reason
}

// Locate gives the errors of Fill, and of checks like it, the origin of their
// key, or the file alone for a key that was not given.
func (o Origins) Locate(errs []error, file string) {
	for _, err := range errs {
		if e, ok := err.(*Error); ok && e.Origin == "" {
			if e.Origin = o[[2]string{e.Section, e.Key}]; e.Origin == "" {
				e.Origin = file
			}
		}
	}
}

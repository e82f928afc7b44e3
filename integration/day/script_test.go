//go:build linux

package day

import (
	"regexp"
	"strings"
	"testing"
)

// step is a piece of the document: text as it stands, then a command with what it
// prints, or one that is run until it succeeds.
type step struct {
	before  string // with the line of the command
	command string // "" at the end of the document
	output  string
	until   bool
}

// parse reads blocks of "console" with lines "$ COMMAND", each followed by what it
// prints, and comments "until: COMMAND", which no reader sees.
func parse(t *testing.T, text string) (steps []step) {
	t.Helper()
	now := &step{}
	inBlock := false
	for line := range strings.Lines(text) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		wait, isWait := strings.CutPrefix(line, "<!-- until: ")
		switch {
		case strings.HasPrefix(line, "```"):
			inBlock = line == "```console\n"
			fallthrough
		default:
			if inBlock && !strings.HasPrefix(line, "```") && now.command == "" && len(steps) > 0 && now.before == "" {
				steps[len(steps)-1].output += line
				continue
			}
			now.before += line
		case inBlock && isCommand, !inBlock && isWait:
			now.before += line
			now.command, now.until = strings.TrimSpace(command), isWait
			if isWait {
				now.command = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(wait), "-->"))
			}
			steps = append(steps, *now)
			now = &step{}
		}
	}
	if inBlock {
		t.Fatal("a block of the document does not end")
	}
	return append(steps, *now)
}

// What differs from one day to the next, and what stands for it.
var varying = []struct {
	pattern *regexp.Regexp
	stands  string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`[0-9a-f]{4}(:[0-9a-f]{4}){7}`), "FINGERPRINT"},
	{regexp.MustCompile(`\b[0-9a-f]{32}/\d+`), "CALL"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "TIME"},
	{regexp.MustCompile(`( )\S{40}(\s)`), "${1}KEY$2"},
	{regexp.MustCompile(`\b127(\.\d+){3}\b`), "localhost"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ns|µs|ms|s|m\d+s)\b`), "DURATION"},
	{regexp.MustCompile(`\b\d+\.\d/s`), "RATE"},
	{regexp.MustCompile(`[ \t]+`), " "},
}

// normal is output without what varies.
func normal(output string) string {
	for _, v := range varying {
		output = v.pattern.ReplaceAllString(output, v.stands)
	}
	var lines []string
	table := ""
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "ID NAME ") {
			table = line
		}
		if counters.MatchString(line) {
			line = number.ReplaceAllString(line, "N")
		}
		lines = append(lines, row(table, line))
	}
	return strings.Join(lines, "")
}

// counters are rows of broker status that depend on how often the day was looked at.
var (
	counters = regexp.MustCompile(`^(CALLS|RATE|HELD|PEERS|HANDSHAKES) `)
	number   = regexp.MustCompile(`\d+`)
)

// columns are those of the table of workers that vary.
var columns = map[string]bool{"HOST": true, "PID": true, "SUCCEEDED": true}

// row is a line of the table of workers without the cells that vary; another line
// stays as it is.
func row(header, line string) string {
	names, cells := strings.Fields(header), strings.Fields(line)
	if header == line || !strings.HasPrefix(line, "UUID ") || len(cells) < len(names)-1 {
		return line
	}
	for i, name := range names {
		if columns[name] && cells[i] != "-" {
			cells[i] = name
		}
	}
	return strings.Join(cells, " ") + "\n"
}

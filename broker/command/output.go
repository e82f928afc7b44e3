package command

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
)

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORM` of the output: table or json"}
}

// inJSON returns whether the output is to be JSON.
func inJSON(c *cli.Context) (bool, error) {
	switch form := c.String("output"); form {
	case "table":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, usagef("--output %q is not table or json", form)
	}
}

// jsonEncoder writes values a line each.
func jsonEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// writeJSON writes a value on as many lines as people like.
func writeJSON(w io.Writer, value any) error {
	e := jsonEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// table is rows of cells below a header; its columns are part of what scripts
// and people rely on, so they only grow at the right.
type table struct {
	rows [][]string
}

func newTable(header ...string) *table { return &table{rows: [][]string{header}} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write aligns the columns. Cells keep no control characters: a worker or a
// client chose some of the text, and must not move the reader's cursor.
func (t *table) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range t.rows {
		for i, cell := range row {
			if i > 0 {
				io.WriteString(tw, "\t")
			}
			io.WriteString(tw, orDash(plain(cell)))
		}
		io.WriteString(tw, "\n")
	}
	return tw.Flush()
}

// plain replaces control characters.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// orDash keeps empty cells visible.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func number[T int | int64 | uint64](n T) string { return fmt.Sprint(n) }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// span prints seconds as people say them: 350ms, 4.2s, 3m10s, 5h2m, 3d4h.
func span(seconds float64) string {
	d := time.Duration(math.Round(seconds * float64(time.Second)))
	switch {
	case d == 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	h := int(d.Round(time.Hour) / time.Hour)
	return fmt.Sprintf("%dd%dh", h/24, h%24)
}

// size prints bytes as people say them.
func size(bytes int64) string {
	if bytes < 1<<10 {
		return strconv.FormatInt(bytes, 10) + " B"
	}
	value, unit := float64(bytes), -1
	for value >= 1<<10 && unit < 4 {
		value, unit = value/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[unit])
}

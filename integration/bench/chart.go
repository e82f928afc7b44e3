package bench

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// The chart's measures, in pixels.
const (
	chartWidth  = 860
	labelWidth  = 150
	valueWidth  = 90
	barHeight   = 15
	barStep     = 19
	panelTitle  = 30
	panelMargin = 14
)

// chartCells are the cells that the chart shows, one panel each.
var chartCells = []string{cellOne, cellHundred, cellThousand, cellMiddling, cellLarge}

// colours of bars: ours, and the others; the encrypted ones are the darker.
var colours = map[bool]map[bool]string{
	true:  {true: "#0b5fa5", false: "#7fb3dd"},
	false: {true: "#6d6d6d", false: "#bdbdbd"},
}

func isOurs(name string) bool { return strings.HasPrefix(name, "ours") }

func isEncrypted(name string) bool {
	return strings.Contains(name, "curve") || strings.Contains(name, "tls")
}

// WriteChart draws the rates of the systems as bars, a panel for each cell, as
// SVG. A thin line at the end of a bar spans what was measured.
func (d *Document) WriteChart(w io.Writer) error {
	var b strings.Builder
	y := panelMargin
	for _, cell := range chartCells {
		if res := d.result(cell); res != nil {
			y = d.panel(&b, res, y)
		}
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">
<title>Calls a second of each system; blue: servicetools, grey: others, dark: encrypted</title>
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, chartWidth, y, chartWidth, y, b.String())
	return err
}

// panel draws one cell from y on and returns where the next one begins.
func (d *Document) panel(b *strings.Builder, res *Result, y int) int {
	most := 0.0
	for _, samples := range res.Samples {
		most = max(most, of(samples, rate).Max)
	}
	scale := float64(chartWidth-labelWidth-valueWidth) / max(most, 1)
	fmt.Fprintf(b, "<text x=\"8\" y=\"%d\" font-weight=\"bold\">%s, %d in flight: calls/s</text>\n", y+12, sizeText(res.Cell.Size), res.Cell.InFlight)
	y += panelTitle
	for _, name := range d.Systems {
		samples := res.Samples[name]
		if len(samples) == 0 {
			continue
		}
		r := of(samples, rate)
		end, middle := float64(labelWidth)+r.Median*scale, y+barHeight/2
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", labelWidth-6, y+12, html.EscapeString(name))
		fmt.Fprintf(b, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>", labelWidth, y, r.Median*scale, barHeight, colours[isOurs(name)][isEncrypted(name)])
		fmt.Fprintf(b, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"black\"/>", float64(labelWidth)+r.Min*scale, middle, float64(labelWidth)+r.Max*scale, middle)
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\">%s</text>\n", max(end, float64(labelWidth)+r.Max*scale)+6, y+12, number(r.Median))
		y += barStep
	}
	return y + panelMargin
}

package world

import (
	"bytes"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
)

// Timeline draws a run: a row for each machine that something happened to, what was done to it,
// what became of its sessions, and the violations across all rows.
type Timeline struct {
	lines []string
}

// timelineLines is how many lines of a trace are kept: the last ones.
const timelineLines = 4000

// Add takes a line of the trace.
func (t *Timeline) Add(line string) {
	if len(t.lines) >= 2*timelineLines {
		t.lines = slices.Delete(t.lines, 0, timelineLines)
	}
	t.lines = append(t.lines, line)
}

// SVG draws the last minutes before the first violation, or the last minutes of a run without
// one.
func (t *Timeline) SVG(w *World) []byte {
	type mark struct {
		at   time.Duration
		row  string
		text string
		bad  bool
	}
	end := w.now
	if len(w.Violations) > 0 {
		end = min(w.Violations[0].At+10*time.Second, end)
	}
	begin := max(end-3*time.Minute, 0)
	var marks []mark
	rows := []string{}
	for _, line := range t.lines {
		at, words, err := Split(line)
		if err != nil || len(words) == 0 || at < begin || at > end {
			continue
		}
		m := mark{at: at, text: strings.Join(words, " "), bad: words[0] == "VIOLATION"}
		for _, x := range words {
			x = strings.TrimRight(x, ":,")
			if len(x) > 1 && (x[0] == 'h' && x[1] >= '0' && x[1] <= '9' || strings.HasPrefix(x, "rr")) {
				m.row = x
				break
			}
		}
		if m.row == "" {
			m.row = "all"
		}
		if !slices.Contains(rows, m.row) {
			rows = append(rows, m.row)
		}
		marks = append(marks, m)
	}
	slices.Sort(rows)
	const left, width, rowHeight, textHeight = 90, 1500, 26, 13
	var b bytes.Buffer
	listing := len(rows)*rowHeight + 60
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="monospace" font-size="11">`+"\n", left+width+40, listing+len(marks)*textHeight+20)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="4" y="14">%s: +%v to +%v; numbers name the lines below</text>`+"\n", html.EscapeString(w.config.Header()), begin.Round(time.Second), end.Round(time.Second))
	x := func(at time.Duration) float64 {
		return left + float64(at-begin)/float64(max(end-begin, 1))*width
	}
	y := func(row string) int { return 40 + slices.Index(rows, row)*rowHeight }
	for _, r := range rows {
		fmt.Fprintf(&b, `<text x="4" y="%d">%s</text><line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#ccc"/>`+"\n", y(r)+4, html.EscapeString(r), left, left+width, y(r), y(r))
	}
	for i := range 13 {
		at := begin + (end-begin)*time.Duration(i)/12
		fmt.Fprintf(&b, `<line x1="%.0f" x2="%.0f" y1="24" y2="%d" stroke="#eee"/><text x="%.0f" y="28" fill="#888">+%v</text>`+"\n", x(at), x(at), listing-20, x(at), at.Round(time.Second))
	}
	for i, m := range marks {
		color := "#3366aa"
		if m.bad {
			color = "#cc0000"
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="30" y2="%d" stroke="%s"/>`+"\n", x(m.at), x(m.at), listing-20, color)
		}
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%d" r="4" fill="%s"><title>%s</title></circle><text x="%.1f" y="%d" font-size="8">%d</text>`+"\n", x(m.at), y(m.row), color, html.EscapeString(m.text), x(m.at)+3, y(m.row)-5, i+1)
		fmt.Fprintf(&b, `<text x="4" y="%d" fill="%s">%d  +%v  %s</text>`+"\n", listing+i*textHeight, color, i+1, m.at.Round(time.Millisecond), html.EscapeString(m.text))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

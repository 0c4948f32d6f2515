package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overview"
)

// topOrders are the orders of sessions and of BFD sessions, in the order of the key s.
var topOrders = []string{"state", "peer", "interface", "updates"}

// topScreen is the screen of `top`: what is shown is made of two moments, and of what was typed.
type topScreen struct {
	now, before overview.Moment
	order       int // of topOrders
	paused      bool
	colour      bool
}

// leastWidth and leastHeight are the smallest screen that shows anything of use.
const leastWidth, leastHeight = 40, 10

// render returns the lines of a screen: height of them, none wider than width.
func (t *topScreen) render(width, height int) []string {
	if width < leastWidth || height < leastHeight {
		return []string{fmt.Sprintf("want %d x %d", leastWidth, leastHeight)[:max(0, min(width, 12))]}
	}
	head := t.head(width)
	room := height - len(head) - 1 // the last line has the keys
	sessions, bfd := t.sessions(), t.bfd()
	// A third for each table at least, and what the tables do not need is the events'.
	share := max(3, room/3)
	lines := append(head, t.fit(sessions, max(share, room-min(len(bfd), share)-1-share), width)...)
	lines = append(lines, t.fit(bfd, max(3, min(share, height-1-len(lines)-3)), width)...)
	lines = append(lines, t.events(height-1-len(lines), width)...)
	lines = lines[:min(len(lines), height-1)]
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	return append(lines, clip(fmt.Sprintf("q quit   s sorted by %s   p %s", topOrders[t.order], map[bool]string{true: "go on", false: "pause"}[t.paused]), width))
}

// head says how the host is.
func (t *topScreen) head(width int) []string {
	s := &t.now
	state := cmp.Or(s.Health.State, "unknown")
	if s.Err != nil {
		state = "no answer"
	}
	first := fmt.Sprintf("hvrouter %s  pid %d, up %s", state, s.Status.PID, elapsed(s.At, s.Status.Started))
	right := s.At.Format("2006-01-02 15:04:05")
	if t.paused {
		right = "PAUSED " + right
	}
	first = clip(first, width-len(right)-1)
	first += strings.Repeat(" ", width-len([]rune(first))-len(right)) + right
	if colour := stateColours[state]; t.colour && colour != "" {
		first = strings.Replace(first, state, colour+state+plain, 1)
	}
	present := 0
	for _, g := range s.Guests {
		if g.Here() {
			present++
		}
	}
	second := fmt.Sprintf("kernel writes %d, %s  guests %d of %d", s.Status.Writes, t.rate(float64(s.Status.Writes)-float64(t.before.Status.Writes)), present, len(s.Guests))
	if s.Sent != nil {
		second += ", packets to them " + t.rate(t.packets())
	}
	third := ""
	switch {
	case s.Err != nil:
		third = s.Err.Error()
	case len(s.Health.Reasons) > 0:
		r := s.Health.Reasons[0]
		third = fmt.Sprintf("%s: %s: %s", r.Level, r.Kind, r.Text)
		if more := len(s.Health.Reasons) - 1; more > 0 {
			third = clip(third, width-12) + fmt.Sprintf(" (%d more)", more)
		}
	}
	return []string{first, clip(second, width), clip(third, width)}
}

// packets counts what was sent to guests since the moment before.
func (t *topScreen) packets() (n float64) {
	for _, g := range t.now.Guests {
		was, ok := t.before.Sent[g.Interface]
		if now := t.now.Sent[g.Interface]; ok && g.Present && now > was {
			n += float64(now - was)
		}
	}
	return n
}

// rate is a number of the time between the two moments, a second.
func (t *topScreen) rate(n float64) string {
	d := t.now.At.Sub(t.before.At).Seconds()
	if t.before.At.IsZero() || d <= 0 || n < 0 { // the first moment, or another daemon
		return "-/s"
	}
	return fmt.Sprintf("%.0f/s", n/d)
}

// updates counts the UPDATE messages of a session, both ways.
func updates(s *api.Session) (n uint64) {
	if s.Sent != nil {
		n += s.Sent.Update
	}
	if s.Received != nil {
		n += s.Received.Update
	}
	return n
}

// updated is how many there were between the two moments; negative: it is another daemon.
func (t *topScreen) updated(s *api.Session) float64 {
	for i := range t.before.Sessions {
		if b := &t.before.Sessions[i]; b.Peer == s.Peer && b.Interface == s.Interface && b.Local == s.Local {
			return float64(updates(s)) - float64(updates(b))
		}
	}
	return -1
}

// sessions is the table of BGP sessions, with its heading.
func (t *topScreen) sessions() []string {
	list := slices.Clone(t.now.Sessions)
	slices.SortStableFunc(list, func(a, b api.Session) int {
		rest := cmp.Or(a.Peer.Compare(b.Peer), cmp.Compare(a.Interface, b.Interface))
		switch topOrders[t.order] {
		case "state":
			return cmp.Or(up(a.State == "Established")-up(b.State == "Established"), rest)
		case "interface":
			return cmp.Or(cmp.Compare(a.Interface, b.Interface), rest)
		case "updates":
			return cmp.Or(cmp.Compare(t.updated(&b), t.updated(&a)), rest)
		}
		return rest
	})
	return table80(func(s *api.Session) (heading, cells []string) {
		in, out := 0, 0
		for _, f := range s.Families {
			in, out = in+f.Received, out+f.Advertised
		}
		return []string{"BGP PEER", "INTERFACE", "STATE", "SINCE", "BFD", "IN", "OUT", "UPD/S", "LAST ERROR"},
			[]string{s.Peer.String(), s.Interface, s.State, elapsed(t.now.At, s.Since), s.BFD, fmt.Sprint(in), fmt.Sprint(out), strings.TrimSuffix(t.rate(t.updated(s)), "/s"), s.Error}
	}, list)
}

// bfd is the table of BFD sessions.
func (t *topScreen) bfd() []string {
	list := slices.Clone(t.now.BFD)
	slices.SortStableFunc(list, func(a, b api.BFD) int {
		rest := cmp.Or(a.Peer.Compare(b.Peer), cmp.Compare(a.Interface, b.Interface))
		switch topOrders[t.order] {
		case "state":
			return cmp.Or(up(a.State == "Up")-up(b.State == "Up"), rest)
		case "interface":
			return cmp.Or(cmp.Compare(a.Interface, b.Interface), rest)
		}
		return rest
	})
	return table80(func(s *api.BFD) (heading, cells []string) {
		down := "-"
		if !s.LastDown.IsZero() {
			down = fmt.Sprintf("%s, %s ago", cmp.Or(s.LastDownReason, "unknown"), elapsed(t.now.At, s.LastDown))
		}
		return []string{"BFD PEER", "INTERFACE", "STATE", "SINCE", "INTERVAL", "DETECT", "DOWNS", "LAST DOWN"},
			[]string{s.Peer.String(), s.Interface, s.State, elapsed(t.now.At, s.Since), s.Interval, s.Detect, fmt.Sprint(s.Downs), down}
	}, list)
}

// up orders what is up behind what is not.
func up(yes bool) int { return map[bool]int{true: 1}[yes] }

// table80 returns the lines of a table.
func table80[T any](row func(*T) (heading, cells []string), list []T) []string {
	var b bytes.Buffer
	_ = tabulate(&b, row, list) // a buffer takes everything
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

// fit cuts a table to so many lines; what is left out is counted.
func (t *topScreen) fit(lines []string, height, width int) []string {
	if len(lines) > height {
		more := len(lines) - height + 1
		lines = append(slices.Clone(lines[:height-1]), fmt.Sprintf("... %d more", more))
	}
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = clip(line, width)
	}
	if t.colour {
		out = strings.Split(string(coloured([]byte(strings.Join(out, "\n")))), "\n")
	}
	return out
}

// events are the last ones, below a heading.
func (t *topScreen) events(height, width int) []string {
	if height < 2 {
		return nil
	}
	lines := []string{"EVENTS"}
	list := t.now.Events
	for _, e := range list[max(0, len(list)-height+1):] {
		_, text, _ := strings.Cut(eventText(e), " ") // the time of day is enough
		lines = append(lines, clip(e.Time.Format("15:04:05 ")+strings.TrimSpace(text), width))
	}
	return lines
}

// clip cuts a line to a width, and leaves no control characters in it: what a peer says is shown.
func clip(line string, width int) string {
	clean := []rune(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '.'
		}
		return r
	}, strings.TrimRight(line, " ")))
	if len(clean) > width {
		return string(clean[:max(0, width-1)]) + "~"
	}
	return string(clean)
}

// elapsed is the time since another one, short: 7s, 3m5s, 2h10m, 4d3h; "-" since none.
func elapsed(now, since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	d := max(0, now.Sub(since))
	switch {
	case d < time.Hour:
		return d.Truncate(time.Second).String()
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

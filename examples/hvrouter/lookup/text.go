package lookup

import (
	"fmt"
	"strings"
)

// Lines formats the report for people: contradictions first.
func (r *Report) Lines() (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	in := ""
	if r.NetNS != "" {
		in = "netns " + r.NetNS + ": "
	}
	for _, d := range r.Differences {
		say("%sDIFFERENCE: %s", in, d)
	}
	for _, f := range r.Foreign {
		say("%sforeign: %s", in, f)
	}
	say("%s%s: %s", in, r.Packet, r.Outcome)
	for _, s := range r.Steps {
		say("  rule %s proto %s: %s", s.Rule, s.Protocol, s.Result)
	}
	if r.Asked != "" {
		say("  the kernel says (RTM_GETROUTE): %s", r.Asked)
	}
	for _, h := range r.NextHops {
		lines = append(lines, "  "+h.String())
	}
	if r.Answers != "" {
		say("  %s", r.Answers)
	}
	for _, f := range r.Firewall {
		say("  firewall: %s", f)
	}
	return lines
}

// String formats the next hop in one line.
func (h NextHopReport) String() string {
	var b strings.Builder
	b.WriteString("next hop " + h.Hop)
	if h.Object != 0 {
		fmt.Fprintf(&b, ", object %d", h.Object)
	}
	if h.Group != 0 {
		fmt.Fprintf(&b, " of group %d", h.Group)
	}
	if !h.Usable {
		b.WriteString(", down")
	}
	fmt.Fprintf(&b, ", neighbour %s", h.State)
	if h.MAC != "" {
		b.WriteString(" " + h.MAC)
	}
	return b.String()
}

// linkOf returns the interface that a sysctl of a family is about, "" if it is about none; ok is
// false for another family.
func linkOf(path string, six bool) (name string, ok bool) {
	family := "net/ipv4/"
	if six {
		family = "net/ipv6/"
	}
	rest, ok := strings.CutPrefix(path, family)
	if !ok {
		return "", false
	}
	parts := strings.Split(rest, "/")
	if len(parts) == 3 && (parts[0] == "conf" || parts[0] == "neigh") {
		return parts[1], true
	}
	return "", true
}

// Package convert makes hvrouter's configuration of what a hypervisor without it has: the files of
// BIRD (1.6 and 2), radvd, ndppd and dnsmasq, and what iproute2 prints of rules, routes and
// addresses that scripts have made. It is pure, and guesses nothing in silence: what the files say
// and hvrouter has no word for, and what it needs and they do not say, is a [Gap].
package convert

import (
	"fmt"
	"slices"
	"strings"
)

// Kind says whose file a [Source] is.
type Kind string

// The kinds of files.
const (
	Bird    Kind = "bird"    // BIRD 2, or the IPv4 process of BIRD 1.6
	Bird6   Kind = "bird6"   // the IPv6 process of BIRD 1.6
	Radvd   Kind = "radvd"   //
	Ndppd   Kind = "ndppd"   //
	Dnsmasq Kind = "dnsmasq" //
	IP      Kind = "ip"      // the output of ip -j and bridge -j, one or more JSON lists
)

// Source is one file.
type Source struct {
	Kind Kind
	Name string // for messages
	Text string
}

// Gap is what a file says that is not in the result, or what the result lacks.
type Gap struct {
	File string // "" if no single file is meant
	Line int    // 0 if no line is meant
	Text string
	// Note says that there is nothing to do: hvrouter needs no word for it, or does it always.
	Note bool
}

// String returns "file:line: text".
func (g Gap) String() string {
	text := g.Text
	if g.Note {
		text = "note: " + text
	}
	return pos{g.File, g.Line}.String() + text
}

// Result is a configuration and what it lacks.
type Result struct {
	// YAML is the configuration, with the gaps as comments at its head.
	YAML []byte
	// Gaps are in the order of the files and their lines.
	Gaps []Gap
}

// Complete reports whether nothing was left out, and nothing is to be filled in.
func (r *Result) Complete() bool {
	return !slices.ContainsFunc(r.Gaps, func(g Gap) bool { return !g.Note })
}

// Error is a file that cannot be read as what it is said to be.
type Error struct {
	File string
	Line int
	Msg  string
}

// Error returns "file:line: message".
func (e *Error) Error() string { return pos{e.File, e.Line}.String() + e.Msg }

// Convert reads all sources and makes one configuration of them. An error is an [*Error].
func Convert(sources []Source) (*Result, error) {
	c := &converter{seen: map[Gap]bool{}, guests: map[string]*guest{}, ra: map[string]*advert{}}
	for _, s := range sources {
		if len(s.Text) > MaxText {
			return nil, &Error{s.Name, 0, fmt.Sprintf("%d octets: want at most %d", len(s.Text), MaxText)}
		}
		c.names = append(c.names, s.Name)
		var err error
		switch s.Kind {
		case Bird, Bird6:
			err = c.birdFile(s)
		case Radvd:
			err = c.radvd(s)
		case Ndppd:
			err = c.ndppd(s)
		case Dnsmasq:
			err = c.dnsmasq(s)
		case IP:
			err = c.host.read(s)
		default:
			err = &Error{s.Name, 0, fmt.Sprintf("files of kind %q are not known", s.Kind)}
		}
		if err != nil {
			return nil, err
		}
	}
	for _, b := range []*bird{c.bird4, c.bird6} {
		if b != nil {
			if err := c.routing(b); err != nil {
				return nil, err
			}
		}
	}
	c.assemble()
	return c.result()
}

// MaxText bounds one file, in octets: a dump of a million routes.
const MaxText = 256 << 20

// converter collects what the files say.
type converter struct {
	names []string
	gaps  []Gap
	seen  map[Gap]bool

	bird4, bird6 *bird // bird4 is also BIRD 2
	host         host
	ndp          []proxy
	leases       []lease
	dhcp         dhcp
	listed       []string // interfaces that dnsmasq serves
	ra           map[string]*advert
	raOrder      []string

	routerID string
	sessions []*session
	kernels  []*kernel
	pipes    []*pipe
	statics  []static
	timers   []timers // of protocol bfd

	domains  []*dom
	localOut *dom
	loopback string
	from     pos // where the loopback address is said

	guests map[string]*guest // by interface
	order  []*guest
}

// pos is a place in a file.
type pos struct {
	file string
	line int
}

// String returns "file:line: ", and less if less is known.
func (p pos) String() string {
	switch {
	case p.file == "":
		return ""
	case p.line == 0:
		return p.file + ": "
	}
	return fmt.Sprintf("%s:%d: ", p.file, p.line)
}

func (c *converter) gap(p pos, format string, args ...any)  { c.add(p, false, format, args...) }
func (c *converter) note(p pos, format string, args ...any) { c.add(p, true, format, args...) }

// add keeps a gap; one of a template is met once for each session.
func (c *converter) add(p pos, note bool, format string, args ...any) {
	g := Gap{p.file, p.line, fmt.Sprintf(format, args...), note}
	if !c.seen[g] {
		c.seen[g] = true
		c.gaps = append(c.gaps, g)
	}
}

// sorted returns the gaps in the order of files and lines, those of no file first.
func (c *converter) sorted() []Gap {
	slices.SortStableFunc(c.gaps, func(a, b Gap) int {
		if i, j := slices.Index(c.names, a.File), slices.Index(c.names, b.File); i != j {
			return i - j
		}
		return a.Line - b.Line
	})
	return c.gaps
}

// short bounds what is quoted of a file, in one line.
func short(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + " ..."
	}
	return s
}

package convert

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// bird is the files of one process of BIRD.
type bird struct {
	// family of BIRD 1.6, which has one a process: ipv4 or ipv6. Empty for BIRD 2.
	family string
	one    bool // BIRD 1.6
	all    []*stmt

	spent     int // words and statements that constants and templates have made
	defines   map[string][]token
	templates map[string]*stmt
	filters   map[string]*stmt
}

// timers are those of BFD for the interfaces that fit.
type timers struct {
	pos
	patterns   []string
	interval   time.Duration
	multiplier uint64
	passive    bool
}

// session is a protocol bgp.
type session struct {
	pos
	name               string
	local, peer        string
	localAS, peerAS    uint64
	kind               string // internal, external or ""
	device             string
	unnumbered         bool
	multihop           uint64
	passive            bool
	ttl, bfd           bool
	profile            *timers
	hold               uint64
	retry, idle        uint64
	password           string
	graceful           string // on, off, aware
	restart, longLived uint64
	llgr               bool
	ownAS              uint64
	role               string
	strictRole         bool
	out                string // why it is left out
	channels           []*channel
}

// channel is one family of a session.
type channel struct {
	pos
	family, table    string
	imports, exports []term
	policyGiven      map[string]bool
	addPath          bool
	limit            uint64
	action           string
	limitOf          string // import or receive
	nextHop          string
}

func (b *bird) scope(c *converter, s Source) (*bird, error) {
	all, err := parseBird(s.Name, s.Text)
	if err != nil {
		return b, err
	}
	if b == nil {
		b = &bird{defines: map[string][]token{}, templates: map[string]*stmt{}, filters: map[string]*stmt{}}
	}
	for _, st := range all {
		switch st.word(0) {
		case "define":
			if st.word(2) != "=" || len(st.words) < 4 {
				return b, &Error{st.file, st.line, fmt.Sprintf("%q: want define NAME = VALUE", st.text())}
			}
			b.defines[st.word(1)] = st.words[3:]
		case "template":
			if !st.has || st.word(2) == "" {
				return b, &Error{st.file, st.line, fmt.Sprintf("%q: want template PROTOCOL NAME { ... }", st.text())}
			}
			b.templates[st.word(2)] = st
		case "filter":
			if st.word(1) == "" || !st.has {
				return b, &Error{st.file, st.line, fmt.Sprintf("%q: want filter NAME { ... }", st.text())}
			}
			b.filters[st.word(1)] = st
		default:
			b.all = append(b.all, st)
		}
	}
	return b, nil
}

func (c *converter) birdFile(s Source) (err error) {
	if s.Kind == Bird6 {
		c.bird6, err = c.bird6.scope(c, s)
		c.bird6.mark("ipv6", true)
		return err
	}
	c.bird4, err = c.bird4.scope(c, s)
	return err
}

func (b *bird) mark(family string, one bool) {
	if b != nil {
		b.family, b.one = family, one
	}
}

// guessVersion tells BIRD 1.6 from BIRD 2 by what only one of them has: channels and tables with a
// family on the one hand, imports and exports outside of channels on the other.
func (b *bird) guessVersion() {
	if b.one {
		return
	}
	bodies := slices.Clone(b.all)
	for _, t := range b.templates {
		bodies = append(bodies, t)
	}
	old := false
	for _, s := range bodies {
		if s.word(1) == "table" && s.word(0) != "roa" { // BIRD 2 has roa4 and roa6
			return
		}
		old = old || s.word(0) == "table" || s.word(0) == "listen"
		if s.word(0) != "protocol" && s.word(0) != "template" || slices.Contains([]string{"pipe", "device", "bfd", "radv"}, s.word(1)) {
			continue
		}
		for _, o := range s.block {
			if isChannel(o) {
				return
			}
			old = old || slices.Contains([]string{"bgp", "kernel", "static"}, s.word(1)) && !o.has &&
				slices.Contains([]string{"import", "export", "table", "persist", "route"}, o.word(0)) || o.word(0) == "scan" && s.word(1) == "kernel"
		}
	}
	if old {
		b.family, b.one = "ipv4", true
	}
}

// routing reads what all files of a process say.
func (c *converter) routing(b *bird) error {
	b.guessVersion()
	for _, s := range b.all {
		words, err := b.values(s.pos, s.words, 0)
		if err != nil {
			return err
		}
		s := *s
		s.words = words
		if err := c.top(b, &s); err != nil {
			return err
		}
	}
	return nil
}

func (c *converter) top(b *bird, s *stmt) error {
	if id, ok := s.after("router", "id"); ok {
		if s.word(2) == "from" {
			c.gap(s.pos, "%s: the router id is to be filled in as an address", s.text())
			return nil
		}
		if len(id) != 1 {
			return &Error{s.file, s.line, fmt.Sprintf("%q: want router id ADDRESS", s.text())}
		}
		if c.routerID != "" && c.routerID != id[0].text {
			c.gap(s.pos, "router id %s: it is %s already", short(id[0].text), c.routerID)
			return nil
		}
		if a, err := netip.ParseAddr(id[0].text); err != nil || !a.Is4() {
			c.gap(s.pos, "%s: the router id is to be filled in as an address", s.text())
			return nil
		}
		c.routerID = id[0].text
		return nil
	}
	switch s.word(0) {
	case "protocol":
		return c.protocol(b, s)
	case "table":
		return nil // BIRD 1.6
	case "include":
		c.gap(s.pos, "%s: not read: give the file as one more -bird (or -bird6)", s.text())
	case "log", "debug", "mrtdump":
		c.note(s.pos, "%s: hvrouter logs to standard error, which systemd keeps; log: says how much", s.text())
	case "watchdog", "timeformat", "hostname", "threads":
		c.note(s.pos, "%s: hvrouter has no such thing", s.text())
	case "graceful":
		c.note(s.pos, "%s: bgp.graceful-restart.deferral is hvrouter's wait after a start", s.text())
	case "listen":
		c.note(s.pos, "%s: hvrouter listens at the local addresses of its sessions", s.text())
	case "attribute", "function", "eval":
		c.gap(s.pos, "%s: of BIRD's filter language only conditions on prefixes and communities are read", s.text())
	default:
		if s.word(1) == "table" {
			if f := s.word(0); f != "ipv4" && f != "ipv6" {
				c.gap(s.pos, "%s: hvrouter has unicast tables only", s.text())
			}
			return nil
		}
		c.gap(s.pos, "%s: has no counterpart", s.text())
	}
	return nil
}

func (c *converter) protocol(b *bird, s *stmt) error {
	if !s.has {
		return &Error{s.file, s.line, fmt.Sprintf("%q: a protocol without a block", s.text())}
	}
	options, err := b.options(s)
	if err != nil {
		return err
	}
	if s.word(1) != "bgp" && slices.ContainsFunc(options, func(o *stmt) bool { _, on := c.flag(o, "disabled"); return on }) {
		c.note(s.pos, "%s: it is disabled, and left out", s.text())
		return nil
	}
	switch s.word(1) {
	case "device":
		for _, o := range options {
			if o.word(0) == "interface" || o.word(0) == "primary" {
				c.note(o.pos, "%s: hvrouter's addresses are named where they are used", o.text())
			}
		}
		return nil
	case "bgp":
		return c.bgp(b, s, options)
	case "kernel":
		return c.kernel(b, s, options)
	case "pipe":
		return c.pipe(s, options)
	case "static":
		return c.static(b, s, options)
	case "bfd":
		return c.bfd(options)
	case "direct":
		c.gap(s.pos, "%s: prefixes of the host's own interfaces are not announced; loopback: is the one address that is", s.text())
	case "radv":
		c.gap(s.pos, "%s: router advertisements are read of radvd only: write the guests' prefixes as ipv6: of the guests", s.text())
	default:
		c.gap(s.pos, "%s: hvrouter speaks BGP only", s.text())
	}
	return nil
}

// bfd reads protocol bfd.
func (c *converter) bfd(options []*stmt) error {
	any := false
	for _, o := range options {
		if rest, ok := o.after("interface"); ok {
			t, err := c.timersOf(o)
			if err != nil {
				return err
			}
			for _, w := range rest {
				if w.quoted {
					t.patterns = append(t.patterns, w.text)
				} else if w.text != "," {
					c.gap(o.pos, "%s: of interfaces only patterns are read", o.text())
				}
			}
			c.watch(t)
			any = true
			continue
		}
		switch o.word(0) {
		case "strict", "zero", "description", "debug", "mrtdump":
			continue
		case "multihop":
			c.note(o.pos, "%s: every session of hvrouter is bound to an interface", o.text())
		case "accept":
			c.note(o.pos, "%s: every session of hvrouter is bound to an interface, for both families", o.text())
		default:
			c.gap(o.pos, "%s: BFD sessions are those of BGP sessions only", o.text())
		}
	}
	if !any {
		c.watch(timers{patterns: []string{"*"}, interval: 100 * time.Millisecond, multiplier: 5})
	}
	return nil
}

func (c *converter) watch(t timers) { c.timers = append(c.timers, t) }

// timersOf reads the block of an interface of BFD. BIRD's defaults: 100 ms sent, 5 packets.
func (c *converter) timersOf(o *stmt) (timers, error) {
	t := timers{pos: o.pos, interval: 100 * time.Millisecond, multiplier: 5}
	var receive *stmt
	var expected time.Duration
	for _, o := range o.block {
		if rest, ok := o.after("interval"); ok {
			d, err := span(o, rest)
			if err != nil {
				return t, err
			}
			t.interval = d
			continue
		}
		if rest, ok := o.after("min", "tx", "interval"); ok {
			d, err := span(o, rest)
			if err != nil {
				return t, err
			}
			t.interval = d
			continue
		}
		if rest, ok := o.after("min", "rx", "interval"); ok {
			d, err := span(o, rest)
			if err != nil {
				return t, err
			}
			receive, expected = o, d
			continue
		}
		if n, ok, err := number(o, "multiplier"); ok {
			if err != nil || n < 1 || n > 255 {
				return t, &Error{o.file, o.line, fmt.Sprintf("%q: want 1 to 255", o.text())}
			}
			t.multiplier = n
			continue
		}
		if is, on := c.flag(o, "passive"); is {
			t.passive = on
			continue
		}
		if o.word(0) == "idle" {
			c.note(o.pos, "%s: a session that is down sends once a second", o.text())
			continue
		}
		c.gap(o.pos, "%s: has no counterpart", o.text())
	}
	if receive != nil && expected != t.interval {
		c.gap(receive.pos, "%s: hvrouter expects packets as often as it sends them, every %v here", receive.text(), t.interval)
	}
	return t, nil
}

// fits reports whether an interface is one of a block.
func (t timers) fits(device string) bool {
	for _, p := range t.patterns {
		inverse := strings.HasPrefix(p, "-")
		if ok, _ := path.Match(strings.TrimPrefix(p, "-"), device); ok {
			return !inverse
		}
	}
	return false
}

// families lists the channels of a protocol; BIRD 1.6 has one, without a block.
func (b *bird) families(options []*stmt) (shared []*stmt, channels []*stmt) {
	if b.one {
		return options, []*stmt{{words: []token{{text: b.family}}, block: nil, has: true}}
	}
	for _, o := range options {
		if !isChannel(o) {
			shared = append(shared, o)
			continue
		}
		inner := *o
		inner.block = slices.Clone(o.block)
		i := slices.IndexFunc(channels, func(s *stmt) bool { return s.text() == o.text() })
		if i < 0 {
			channels = append(channels, &inner)
			continue
		}
		// A channel of a template and that of the protocol are one.
		channels[i].block = append(channels[i].block, inner.block...)
		channels[i].pos = inner.pos
	}
	return shared, channels
}

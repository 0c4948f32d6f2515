package convert

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// fillIn begins what check refuses until somebody has written something else: it is no address, no
// number and, with what follows, too long for an interface.
const fillIn = "FILL-IN-the-"

// bgp reads one protocol bgp.
func (c *converter) bgp(b *bird, s *stmt, options []*stmt) error {
	shared, channels := b.families(options)
	// What BIRD offers without a word. How long it waits between attempts nobody else sees: there
	// hvrouter's own defaults are kept.
	x := &session{pos: s.pos, name: name(s), hold: 240, graceful: "aware", restart: 120, longLived: 3600}
	before := len(c.gaps)
	for _, o := range shared {
		if err := c.sessionOption(b, x, o); err != nil {
			return err
		}
	}
	for _, ch := range channels {
		f := ch.word(0)
		if (f != "ipv4" && f != "ipv6") || len(ch.words) > 1 {
			c.gap(ch.pos, "%s of %s: hvrouter carries unicast routes only", ch.text(), x.name)
			continue
		}
		y := &channel{pos: ch.pos, family: f, table: b.key(b.master(f)), policyGiven: map[string]bool{}}
		body := ch.block
		if b.one {
			y.pos, body = s.pos, shared
		}
		for _, o := range body {
			if err := c.channelOption(b, x, y, o); err != nil {
				return err
			}
		}
		x.channels = append(x.channels, y)
	}
	c.complete(x)
	if x.out != "" {
		for _, g := range c.gaps[before:] {
			delete(c.seen, g) // what it says does not matter
		}
		c.gaps = c.gaps[:before]
		c.gap(s.pos, "session %s is left out: %s", x.name, x.out)
		return nil
	}
	c.sessions = append(c.sessions, x)
	return nil
}

// complete says what the session lacks, and of what kind it is.
func (c *converter) complete(x *session) {
	if x.peerAS == 0 && x.kind == "internal" {
		x.peerAS = x.localAS
	}
	switch {
	case x.out != "":
		return
	case x.peer == "" && !x.unnumbered:
		x.out = "it names no neighbor"
	case len(x.channels) == 0:
		x.out = "it carries no unicast routes"
	}
	external := x.peerAS != x.localAS || x.kind == "external"
	for _, y := range x.channels {
		for _, way := range []struct {
			word  string
			terms *[]term
		}{{"import", &y.imports}, {"export", &y.exports}} {
			if y.policyGiven[way.word] {
				continue
			}
			// BIRD's default is to accept all and announce nothing; with another AS BIRD 2 does neither
			// without being told.
			if *way.terms = accepts; way.word == "export" || external {
				*way.terms = rejects
			}
		}
	}
}

// silent are options of BGP that hvrouter needs no word for.
var silent = map[string]string{
	"description": "", "direct": "", "debug": "", "strict": "", "mrtdump": "", "startup": "", "free": "",
	"connect delay time": "attempts to connect begin at once", "start delay time": "attempts to connect begin at once",
	"startup hold time": "there is one hold time", "keepalive time": "keepalives are sent three times in a hold time",
	"min keepalive time": "keepalives are sent three times in a hold time",
	"error forget time":  "the wait begins anew when a session has been up", "check link": "an uplink without a carrier counts as down",
	"enable route refresh": "it is on", "enable enhanced route refresh": "it is on", "enable as4": "it is on", "enable extended messages": "it is taken if offered",
	"capabilities": "they are always offered", "interpret communities": "they are", "advertise hostname": "it is not",
	"send hold time": "a peer that does not read is given up after twice the hold time", "allow as sets": "they are taken",
	"gateway": "next hops are on the link of the session", "import keep filtered": "import is done anew after each change of it",
	"mandatory": "a session whose peer lacks the family comes up without it", "import table": "", "export table": "",
	"extended next hop": "it is offered without an address of the neighbour only (docs/unnumbered.md)",
	"next hop self":     "",
}

// skip reports whether an option needs no counterpart, and notes why.
func (c *converter) skip(o *stmt) bool {
	for n := len(o.words); n > 0; n-- {
		if why, ok := silent[tokenText(o.words[:n])]; ok {
			if why != "" {
				c.note(o.pos, "%s: %s", o.text(), why)
			}
			return true
		}
	}
	return false
}

// address reads the word at i.
func address(o *stmt, i int, into *string) error {
	a, err := netip.ParseAddr(o.word(i))
	if err != nil {
		return &Error{o.file, o.line, fmt.Sprintf("%q: %q is no address", o.text(), short(o.word(i)))}
	}
	*into = a.String()
	return nil
}

func (c *converter) localEnd(x *session, o *stmt) error {
	if role, ok := o.after("local", "role"); ok && len(role) == 1 {
		x.role = strings.ReplaceAll(role[0].text, "_", "-")
		return nil
	}
	return c.end(x, o, &x.local, &x.localAS)
}

// end reads what follows local and neighbor: an address, a port, an AS, and what kind it is.
func (c *converter) end(x *session, o *stmt, addr *string, as *uint64) error {
	words := o.words[1:]
	for len(words) > 0 {
		w := words[0].text
		words = words[1:]
		switch w {
		case "as", "port":
			size := bracketed(words)
			n, ok := evaluate(words[:size])
			if !ok {
				return &Error{o.file, o.line, fmt.Sprintf("%q: want a number behind %s", o.text(), w)}
			}
			if w == "as" {
				*as = n
			} else if n != 179 {
				c.gap(o.pos, "%s: bgp.port is one for all sessions, and for both sides", o.text())
			}
			words = words[size:]
		case "internal", "external":
			x.kind = w
		case "onlink":
		case "range":
			x.out = "neighbor range: hvrouter's sessions are with neighbours that are named, or found on an interface (docs/unnumbered.md)"
			return nil
		case "%":
			if len(words) == 0 {
				return &Error{o.file, o.line, fmt.Sprintf("%q: want an interface behind %%", o.text())}
			}
			x.device = strings.Trim(words[0].text, "'")
			words = words[1:]
		default:
			a, err := netip.ParseAddr(w)
			if err != nil {
				return &Error{o.file, o.line, fmt.Sprintf("%q: %q is no address", o.text(), short(w))}
			}
			*addr = a.String()
		}
	}
	return nil
}

func (c *converter) neighbor(x *session, o *stmt) error {
	if err := c.end(x, o, &x.peer, &x.peerAS); err != nil || x.peer == "" {
		return err
	}
	if a, err := netip.ParseAddr(x.peer); err == nil && a.IsLinkLocalUnicast() {
		c.gap(o.pos, "%s: neighbours at link-local addresses are found by their router advertisements: every router on the interface, not this address alone (docs/unnumbered.md)", o.text())
		x.peer, x.unnumbered = "", true
	}
	return nil
}

func (c *converter) channelOption(b *bird, x *session, y *channel, o *stmt) error {
	switch o.word(0) {
	case "table":
		y.table = b.key(o.word(1))
		return nil
	case "add":
		if rest, ok := o.after("add", "paths"); ok {
			y.addPath = len(rest) == 0 || rest[0].text == "rx" || rest[0].text == "on" || rest[0].text == "yes"
			if len(rest) > 0 && (rest[0].text == "tx" || rest[0].text == "on") {
				c.note(o.pos, "%s: paths are announced with identifiers where advertise-next-hops has several, and not otherwise", o.text())
			}
			return nil
		}
	case "next":
		if rest, ok := o.after("next", "hop", "address"); ok && len(rest) == 1 {
			if y.family == "ipv6" {
				y.nextHop = rest[0].text
				return nil
			}
			if rest[0].text == x.local {
				return nil
			}
			c.gap(o.pos, "%s: the next hop is the session's local address (advertise-next-hops: says another)", o.text())
			return nil
		}
		if is, on := c.flag(o, "next", "hop", "keep"); is && on {
			c.gap(o.pos, "%s: the next hop is always hvrouter's own", o.text())
			return nil
		}
	case "import", "export", "receive":
		return c.exchange(b, y, o)
	}
	if b.one && !channelWord(o) {
		return nil // sessionOption has it
	}
	if !c.skip(o) {
		c.gap(o.pos, "%s: has no counterpart", o.text())
	}
	return nil
}

// channelWord reports whether an option of BIRD 1.6, which has no channels, is what BIRD 2 has in one.
func channelWord(o *stmt) bool {
	return slices.Contains([]string{"import", "export", "receive", "add", "table", "next"}, o.word(0))
}

// exchange reads import and export: a limit or a filter.
func (c *converter) exchange(b *bird, y *channel, o *stmt) error {
	if rest, ok := o.after(o.word(0), "limit"); ok {
		if o.word(0) == "export" {
			c.gap(o.pos, "%s: what is announced has no limit", o.text())
			return nil
		}
		if len(rest) == 0 || rest[0].text == "off" {
			return nil
		}
		n, err := strconv.ParseUint(rest[0].text, 10, 31)
		if err != nil {
			return &Error{o.file, o.line, fmt.Sprintf("%q: want a number", o.text())}
		}
		if y.limit != 0 && y.limitOf != o.word(0) {
			c.gap(o.pos, "%s: there is one prefix-limit, that of %s limit here", o.text(), y.limitOf)
			return nil
		}
		y.limit, y.action, y.limitOf = n, "disable", o.word(0)
		if len(rest) == 3 && rest[1].text == "action" {
			y.action = rest[2].text
		}
		if o.word(0) == "import" {
			c.note(o.pos, "%s: prefix-limit counts what the peer announces, before import", o.text())
		}
		switch y.action {
		case "warn", "block", "restart":
		case "disable":
			y.action = "restart"
			c.gap(o.pos, "%s: a session that announces too much comes back by itself, after restart-after: nothing disables it", o.text())
		default:
			return &Error{o.file, o.line, fmt.Sprintf("%q: want the action warn, block, restart or disable", o.text())}
		}
		return nil
	}
	if o.word(0) == "receive" || o.word(1) == "keep" || o.word(1) == "table" || o.word(1) == "block" {
		if !c.skip(o) {
			c.gap(o.pos, "%s: has no counterpart", o.text())
		}
		return nil
	}
	terms, err := c.policy(b, o)
	if o.word(0) == "import" {
		y.imports = terms
	} else {
		y.exports = terms
	}
	y.policyGiven[o.word(0)] = true
	return err
}

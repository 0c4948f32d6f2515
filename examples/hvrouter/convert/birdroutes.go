package convert

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// kernel is a protocol kernel, one family of it.
type kernel struct {
	pos
	name, family  string
	table         string // of BIRD
	number        uint32 // of the kernel
	learn, merge  bool
	limit         int
	metric        uint32
	source        string // krt_prefsrc
	exportsNone   bool
	importsChosen bool
}

// pipe is a protocol pipe.
type pipe struct {
	pos
	a, b       string  // tables
	toA, toB   []token // filters, the words behind import and export
	toAs, toBs *stmt
}

// static is a route of a protocol static.
type static struct {
	pos
	table, family string
	prefix        netip.Prefix
	kind          string // unreachable, blackhole, prohibit
}

// master is BIRD's table for what names none.
func (b *bird) master(family string) string {
	if b.one {
		return "master"
	}
	return "master" + family[len(family)-1:]
}

// key tells tables of two processes of BIRD 1.6 apart.
func (b *bird) key(table string) string {
	if b.one && b.family == "ipv6" {
		return table + " of bird6"
	}
	return table
}

func (c *converter) kernel(b *bird, s *stmt, options []*stmt) error {
	shared, channels := b.families(options)
	for _, ch := range channels {
		f := ch.word(0)
		if f != "ipv4" && f != "ipv6" {
			c.gap(ch.pos, "%s: hvrouter has unicast routes only", ch.text())
			continue
		}
		k := &kernel{pos: s.pos, name: name(s), family: f, table: b.key(b.master(f)), number: 254, exportsNone: true}
		for _, o := range append(slices.Clone(shared), ch.block...) {
			if err := c.kernelOption(b, k, o); err != nil {
				return err
			}
		}
		c.kernels = append(c.kernels, k)
	}
	return nil
}

// bgpPreference is what BIRD gives to routes of BGP.
const bgpPreference = 100

func (c *converter) kernelOption(b *bird, k *kernel, o *stmt) error {
	if n, ok, err := number(o, "kernel", "table"); ok {
		if err == nil && n == 0 {
			err = &Error{o.file, o.line, fmt.Sprintf("%q: there is no table 0", o.text())}
		}
		k.number = uint32(n)
		return err
	}
	if n, ok, err := number(o, "metric"); ok {
		k.metric = uint32(n)
		return err
	}
	if n, ok, err := number(o, "preference"); ok && err == nil && n > bgpPreference {
		c.note(o.pos, "%s: what is here is always preferred to what BGP brings", o.text())
		return nil
	}
	if rest, ok := o.after("merge", "paths"); ok {
		k.merge = len(rest) == 0 || rest[0].text != "off" && rest[0].text != "no"
		if i := slices.IndexFunc(rest, func(t token) bool { return t.text == "limit" }); i >= 0 && i+1 < len(rest) {
			n, err := strconv.Atoi(rest[i+1].text)
			if err != nil || n < 1 {
				return &Error{o.file, o.line, fmt.Sprintf("%q: want a number", o.text())}
			}
			k.limit = n
		}
		return nil
	}
	if is, on := c.flag(o, "learn"); is {
		k.learn = on
		return nil
	}
	if rest, ok := o.after("learn"); ok && len(rest) == 1 && rest[0].text == "all" {
		k.learn = true
		c.gap(o.pos, "learn all: routes that the kernel itself has made are not announced")
		return nil
	}
	switch o.word(0) {
	case "table":
		k.table = b.key(o.word(1))
		return nil
	case "persist", "scan", "description", "debug", "mrtdump", "graceful", "netlink":
		return nil
	case "export", "import":
		if o.word(1) == "limit" {
			c.gap(o.pos, "%s: has no counterpart", o.text())
			return nil
		}
	}
	switch o.word(0) {
	case "export":
		return c.kernelExport(b, k, o)
	case "import":
		rest := o.words[1:]
		switch text := tokenText(rest); {
		case text == "all", slices.Contains(unicast, text):
		case text == "none":
			if k.learn {
				c.gap(o.pos, "import none beside learn: nothing that is learned counts")
			}
			k.learn = false
		case text == "keep filtered" || strings.HasPrefix(text, "keep filtered "):
		default:
			k.importsChosen = true
			c.gap(o.pos, "%s: which of the kernel's routes are announced is not chosen: redistribute: is all that others have put there, or none", o.text())
		}
		return nil
	}
	c.gap(o.pos, "%s: has no counterpart", o.text())
	return nil
}

// kernelExport reads which routes go to the kernel, and with which source.
func (c *converter) kernelExport(b *bird, k *kernel, o *stmt) error {
	body := o
	switch text := tokenText(o.words[1:]); {
	case text == "none":
		k.exportsNone = true
		return nil
	case text == "all":
		k.exportsNone = false
		return nil
	case o.word(1) == "filter" && !o.has:
		f := b.filters[o.word(2)]
		if f == nil {
			return &Error{o.file, o.line, fmt.Sprintf("there is no filter %q", short(o.word(2)))}
		}
		body = f
	case o.word(1) != "filter" || !o.has:
		k.exportsNone = false
		c.gap(o.pos, "%s: every best route goes into the kernel", o.text())
		return nil
	}
	k.exportsNone = false
	for i, s := range body.block {
		s, err := b.expand(s)
		if err != nil {
			return err
		}
		text := tokenText(s.words)
		last := i == len(body.block)-1
		switch {
		case text == "accept" && last:
		case text == "reject" && last:
			k.exportsNone = true
		case s.word(0) == "krt_prefsrc" && s.word(1) == "=" && len(s.words) == 3:
			if _, err := netip.ParseAddr(s.word(2)); err != nil {
				return &Error{s.file, s.line, fmt.Sprintf("%q is no address", short(s.word(2)))}
			}
			k.source = s.word(2)
			if c.loopback == "" {
				c.loopback, c.from = k.source, s.pos
			} else if c.loopback != k.source {
				c.gap(s.pos, "%s: one address is the source for all of the hypervisor's packets, %s", s.text(), c.loopback)
				k.source = ""
			}
		case s.word(0) == "krt_metric" && s.word(1) == "=" && len(s.words) == 3:
			n, err := strconv.ParseUint(s.word(2), 10, 32)
			if err != nil {
				return &Error{s.file, s.line, fmt.Sprintf("%q is no metric", short(s.word(2)))}
			}
			k.metric = uint32(n)
		case slices.Contains(ownRoutes, text):
			// Routes that are static in BIRD are ours: they go where they belong.
		default:
			c.gap(s.pos, "%s: every best route goes into the kernel", s.text())
		}
	}
	return nil
}

// unicast are filters that take of the kernel's routes those that lead somewhere, as hvrouter does.
var unicast = []string{"where dest = RTD_UNICAST", "where dest = RTD_ROUTER || dest = RTD_DEVICE", "where dest ~ [ RTD_ROUTER , RTD_DEVICE ]"}

// ownRoutes are filters that keep routes of BIRD's own out of the kernel.
var ownRoutes = []string{"if source = RTS_STATIC then reject", "if source = RTS_DEVICE then reject", "if source = RTS_INHERIT then reject"}

func (c *converter) pipe(s *stmt, options []*stmt) error {
	p := &pipe{pos: s.pos}
	for _, o := range options {
		switch {
		case o.word(0) == "table":
			p.a = o.word(1)
		case o.word(0) == "peer" && o.word(1) == "table":
			p.b = o.word(2)
		case o.word(0) == "import":
			p.toA, p.toAs = o.words[1:], o
		case o.word(0) == "export":
			p.toB, p.toBs = o.words[1:], o
		case slices.Contains([]string{"description", "debug", "mrtdump"}, o.word(0)):
		default:
			c.gap(o.pos, "%s: has no counterpart", o.text())
		}
	}
	if p.a == "" || p.b == "" {
		return &Error{s.file, s.line, fmt.Sprintf("%q: a pipe needs table and peer table", s.text())}
	}
	c.pipes = append(c.pipes, p)
	return nil
}

// staticOption reads an option that is of the whole protocol, or of one of its channels.
func (c *converter) staticOption(o *stmt) {
	switch text := tokenText(o.words); {
	case text == "import all", o.word(0) == "export": // nothing is exported to it
	case slices.Contains([]string{"description", "debug", "mrtdump", "scan", "check", "igp"}, o.word(0)): // of routes with a gateway
	default:
		c.gap(o.pos, "%s: has no counterpart", o.text())
	}
}

func (c *converter) static(b *bird, s *stmt, options []*stmt) error {
	shared, channels := b.families(options)
	tables := map[string]string{}
	for _, ch := range channels {
		f := ch.word(0)
		if f != "ipv4" && f != "ipv6" {
			c.gap(ch.pos, "%s: hvrouter has unicast routes only", ch.text())
			continue
		}
		tables[f] = b.key(b.master(f))
		for _, o := range append(slices.Clone(shared), ch.block...) {
			if o.word(0) == "table" {
				tables[f] = b.key(o.word(1))
			}
		}
		for _, o := range ch.block {
			if o.word(0) != "table" {
				c.staticOption(o)
			}
		}
	}
	for _, o := range shared {
		switch o.word(0) {
		case "table":
			continue
		case "route":
			if o.has {
				c.gap(o.pos, "%s { ... }: attributes of static routes have no counterpart", o.text())
			}
		default:
			c.staticOption(o)
			continue
		}
		bits, err := strconv.Atoi(o.word(3))
		a, bad := netip.ParseAddr(o.word(1))
		if bad != nil || o.word(2) != "/" || err != nil || bits < 0 || bits > a.BitLen() {
			return &Error{o.file, o.line, fmt.Sprintf("%q: want route PREFIX ...", o.text())}
		}
		r := static{pos: o.pos, prefix: netip.PrefixFrom(a, bits).Masked(), kind: o.word(4), family: "ipv4"}
		if a.Is6() {
			r.family = "ipv6"
		}
		r.table = tables[r.family]
		if r.table == "" {
			return &Error{o.file, o.line, fmt.Sprintf("%q: the protocol has no channel %s", o.text(), r.family)}
		}
		switch r.kind {
		case "unreachable", "blackhole", "prohibit", "drop", "reject":
			r.kind = map[string]string{"drop": "blackhole", "reject": "unreachable"}[r.kind]
			if r.kind == "" {
				r.kind = o.word(4)
			}
			c.statics = append(c.statics, r)
		default:
			c.gap(o.pos, "%s: a static route: a guest's is made for the guest (routed:), others belong to a script", o.text())
		}
	}
	return nil
}

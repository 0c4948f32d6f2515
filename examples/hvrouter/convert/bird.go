package convert

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
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

func isChannel(s *stmt) bool {
	w := s.word(0)
	return len(s.words) > 0 && !s.words[0].quoted && (w == "ipv4" || w == "ipv6" || w == "vpn4" || w == "vpn6" || w == "flow4" || w == "flow6") && s.word(1) != "table"
}

// spend bounds what constants and templates make of a small file.
func (b *bird) spend(p pos, n int) error {
	if b.spent += n; b.spent > maxTokens {
		return &Error{p.file, p.line, "constants and templates make the configuration too large"}
	}
	return nil
}

// expand returns a statement with constants replaced by their values, also in its block.
func (b *bird) expand(s *stmt) (*stmt, error) {
	words, err := b.values(s.pos, s.words, 0)
	if err != nil {
		return nil, err
	}
	out := *s
	out.words, out.block = words, make([]*stmt, len(s.block))
	for i, o := range s.block {
		if out.block[i], err = b.expand(o); err != nil {
			return nil, err
		}
	}
	return &out, b.spend(s.pos, 1)
}

func (b *bird) values(p pos, words []token, depth int) ([]token, error) {
	if !slices.ContainsFunc(words, func(t token) bool { return !t.quoted && b.defines[t.text] != nil }) {
		return words, nil
	}
	if depth > 16 {
		return nil, &Error{p.file, p.line, "constants that are defined by each other"}
	}
	var out []token
	for _, t := range words {
		value, ok := b.defines[t.text]
		if t.quoted || !ok {
			out = append(out, t)
			continue
		}
		value, err := b.values(p, value, depth+1)
		if err != nil {
			return nil, err
		}
		for _, v := range value {
			v.line = t.line
			out = append(out, v)
		}
		if err := b.spend(p, len(value)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// options returns the statements of a block, those of templates before it, constants replaced.
func (b *bird) options(s *stmt) ([]*stmt, error) {
	var all []*stmt
	at := s.pos
	for depth := 0; ; depth++ {
		if err := b.spend(at, len(s.block)); err != nil {
			return nil, err
		}
		all = append(slices.Clone(s.block), all...)
		i := slices.IndexFunc(s.words, func(t token) bool { return !t.quoted && t.text == "from" })
		if i < 0 {
			break
		}
		t := b.templates[s.word(i+1)]
		if t == nil {
			return nil, &Error{s.file, s.line, fmt.Sprintf("there is no template %q", short(s.word(i+1)))}
		}
		if depth == 16 {
			return nil, &Error{at.file, at.line, "templates that are made from each other"}
		}
		s = t
	}
	for i, o := range all {
		e, err := b.expand(o)
		if err != nil {
			return nil, err
		}
		all[i] = e
	}
	return all, nil
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

// name returns the second name of a protocol, and its kind if it has none.
func name(s *stmt) string {
	if n := s.word(2); n != "" && n != "from" {
		return strings.Trim(n, "'")
	}
	return s.word(1)
}

// flag reads an option that is on, off, or on without a word.
func (c *converter) flag(o *stmt, words ...string) (is, on bool) {
	rest, ok := o.after(words...)
	if !ok || len(rest) > 1 || o.has {
		return false, false
	}
	if len(rest) == 0 {
		return true, true
	}
	switch rest[0].text {
	case "on", "yes", "true":
		return true, true
	case "off", "no", "false":
		return true, false
	}
	return false, false
}

// number reads an option with one number.
func number(o *stmt, words ...string) (uint64, bool, error) {
	rest, ok := o.after(words...)
	if !ok {
		return 0, false, nil
	}
	if n := len(rest); n > 1 && rest[n-1].text == "s" {
		rest = rest[:n-1]
	}
	if n, ok := evaluate(rest); ok {
		return n, true, nil
	}
	return 0, true, &Error{o.file, o.line, fmt.Sprintf("%q: want one number", o.text())}
}

// span reads a time: 100 ms, 1 s, 50000 us.
func span(o *stmt, rest []token) (time.Duration, error) {
	if last := len(rest) - 1; last > 0 {
		unit := map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second}[rest[last].text]
		if n, ok := evaluate(rest[:last]); ok && unit != 0 {
			return time.Duration(n) * unit, nil
		}
	}
	return 0, &Error{o.file, o.line, fmt.Sprintf("%q: want a time such as 100 ms", o.text())}
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

// tokenText joins words with spaces.
func tokenText(words []token) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.text
	}
	return strings.Join(out, " ")
}

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

package convert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// mapping collects keys in the order of hvrouter's documents.
type mapping struct{ yaml.MapSlice }

func (m *mapping) put(key string, value any) {
	m.MapSlice = append(m.MapSlice, yaml.MapItem{Key: key, Value: value})
}

// list puts words if there are any.
func (m *mapping) list(key string, words []string) {
	if len(words) > 0 {
		m.put(key, words)
	}
}

// text puts a word if there is one.
func (m *mapping) text(key, word string) {
	if word != "" {
		m.put(key, word)
	}
}

// result writes the configuration and checks it.
func (c *converter) result() (*Result, error) {
	comments := yaml.CommentMap{}
	var file mapping
	if c.routerID == "" {
		c.gap(pos{}, "router-id is not said (BIRD takes the lowest address of the host)")
		c.routerID = fillIn + "router-id"
	}
	file.put("router-id", c.routerID)
	c.globals(&file)
	if err := c.domainList(&file, comments); err != nil {
		return nil, err
	}
	c.edge(&file)
	c.guestList(&file, comments)
	c.overlays(&file, comments)
	c.fit("", file.MapSlice)
	body, err := yaml.MarshalWithOptions(file.MapSlice, yaml.WithComment(comments), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	c.judge(string(body))
	r := &Result{Gaps: c.sorted()}
	r.YAML = append([]byte(c.head()), strings.TrimRight(string(body), "\n")+"\n"...)
	return r, nil
}

// fit returns a value with what YAML cannot have in its texts to be filled in. It changes lists and
// mappings where they are. key is that of the value.
func (c *converter) fit(key string, value any) any {
	switch v := value.(type) {
	case yaml.MapSlice:
		for i := range v {
			v[i].Value = c.fit(fmt.Sprint(v[i].Key), v[i].Value)
		}
	case []yaml.MapSlice:
		for _, m := range v {
			c.fit(key, m)
		}
	case []string:
		for i := range v {
			v[i] = c.fit(key, v[i]).(string)
		}
	case string:
		if comment(v) != v || strings.Contains(v, "\ufeff") {
			c.gap(pos{}, "%s: a text has characters that no file of hvrouter's has", key)
			return fillIn + key
		}
	}
	return value
}

// head is the list of gaps as comments.
func (c *converter) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by `hvrouter convert` of %s.\n#\n", short(strings.Join(c.names, ", ")))
	for _, part := range []struct {
		title string
		note  bool
	}{{"What has no counterpart, or is not said there:", false}, {"What needs no counterpart:", true}} {
		first := true
		for _, g := range c.gaps {
			if g.Note != part.note {
				continue
			}
			if first {
				fmt.Fprintf(&b, "# %s\n", part.title)
				first = false
			}
			g.Note = false
			fmt.Fprintf(&b, "#   %s\n", comment(g.String()))
		}
		if !first {
			b.WriteString("#\n")
		}
	}
	return b.String()
}

// comment keeps a text in its line.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// globals writes what holds for all sessions; what differs between them is a gap.
func (c *converter) globals(file *mapping) {
	if len(c.sessions) == 0 {
		c.gap(pos{}, "there is no BGP session: as, domains and their tables are not said")
		file.put("as", fillIn+"AS")
		return
	}
	first := c.sessions[0]
	as := first.localAS
	for _, x := range c.sessions {
		if x.localAS != as {
			c.gap(x.pos, "session %s: its local AS is %d, and as: is one for the file, %d: check refuses it until local-as: says how", x.name, x.localAS, as)
		}
	}
	if as == 0 {
		c.gap(first.pos, "session %s: its local AS is not said", first.name)
		file.put("as", fillIn+"AS")
	} else {
		file.put("as", as)
	}
	if c.loopback != "" {
		c.loopbackOf(file)
	}
	c.bfdOf(file)
	var bgp mapping
	same := func(what string, value func(*session) any) any {
		v := value(first)
		for _, x := range c.sessions[1:] {
			if o := value(x); o != v {
				c.gap(x.pos, "session %s: its %s is %v, and bgp: has one for all, %v", x.name, what, o, v)
			}
		}
		return v
	}
	bgp.put("hold-time", fmt.Sprintf("%ds", same("hold time", func(x *session) any { return x.hold })))
	if n := same("connect retry time", func(x *session) any { return x.retry }); n != uint64(0) {
		bgp.put("connect-retry", fmt.Sprintf("%ds", n))
	}
	if n := same("error wait time", func(x *session) any { return x.idle }); n != uint64(0) {
		bgp.put("idle-hold", fmt.Sprintf("%ds", n))
	}
	if ttl := c.reflectors(); len(ttl) > 0 {
		for _, x := range ttl[1:] {
			if x.ttl != ttl[0].ttl {
				c.gap(x.pos, "session %s: its ttl security is %t, and bgp: has one for all reflectors, %t", x.name, x.ttl, ttl[0].ttl)
			}
		}
		bgp.put("ttl-security", ttl[0].ttl)
	}
	bgp.put("add-path", same("reception of add paths", func(x *session) any {
		return slices.ContainsFunc(x.channels, func(y *channel) bool { return y.addPath })
	}))
	if p := first.password; p != "" && !slices.ContainsFunc(c.sessions, func(x *session) bool { return x.password != p }) {
		bgp.put("md5", p)
	}
	c.multipath(&bgp)
	c.graceful(&bgp, same)
	file.put("bgp", bgp.MapSlice)
}

// reflectors lists the sessions in our own AS.
func (c *converter) reflectors() (out []*session) {
	for _, x := range c.sessions {
		if !x.external() {
			out = append(out, x)
		}
	}
	return out
}

func (c *converter) graceful(bgp *mapping, same func(string, func(*session) any) any) {
	var g mapping
	switch state := same("graceful restart", func(x *session) any { return x.graceful }); state {
	case "off":
		g.put("off", true)
	case "on":
		g.put("time", fmt.Sprintf("%ds", same("graceful restart time", func(x *session) any { return x.restart })))
	default:
		c.note(c.sessions[0].pos, "BIRD does not ask its peers to keep routes over its restart; hvrouter does, for 120s, unless graceful-restart: {off: true}")
	}
	if same("long lived graceful restart", func(x *session) any { return x.llgr }) == true {
		g.put("long-lived", fmt.Sprintf("%ds", same("long lived stale time", func(x *session) any { return x.longLived })))
	}
	if len(g.MapSlice) > 0 {
		bgp.put("graceful-restart", g.MapSlice)
	}
}

func (c *converter) multipath(bgp *mapping) {
	one := len(c.kernels) > 0
	limit := 0
	for _, k := range c.kernels {
		one = one && !k.merge
		limit = cmp.Or(limit, k.limit)
		if k.merge != c.kernels[0].merge || k.limit != 0 && k.limit != limit {
			c.gap(k.pos, "protocol kernel %s: bgp.multipath is the same for all tables", k.name)
		}
	}
	switch {
	case one:
		bgp.put("multipath", 1)
	case limit > 0:
		bgp.put("multipath", limit)
	}
}

func (c *converter) loopbackOf(file *mapping) {
	device := c.loopbackDevice()
	if device == "" {
		c.gap(c.from, "krt_prefsrc %s: which interface has the address is not said (-ip has it)", c.loopback)
		device = fillIn + "interface"
	}
	bits := 32
	if strings.Contains(c.loopback, ":") {
		bits = 128
	}
	file.put("loopback", yaml.MapSlice{{Key: "interface", Value: device}, {Key: "address", Value: fmt.Sprintf("%s/%d", c.loopback, bits)}})
	for _, d := range c.domains {
		d.loopback = slices.ContainsFunc(d.kernels, func(k *kernel) bool { return k.source == c.loopback })
	}
}

// bfdOf writes the timers: those of the first session, and profiles for others.
func (c *converter) bfdOf(file *mapping) {
	var b mapping
	if len(c.timers) == 0 && !slices.ContainsFunc(c.sessions, func(x *session) bool { return x.bfd && x.profile != nil }) {
		for _, x := range c.sessions {
			if x.bfd {
				c.note(x.pos, "session %s asks for BFD, and there is no protocol bfd", x.name)
			}
			x.bfd = false
		}
		file.put("bfd", yaml.MapSlice{{Key: "process", Value: "off"}})
		return
	}
	var base *timers
	var profiles []yaml.MapSlice
	for _, x := range c.sessions {
		if !x.bfd {
			continue
		}
		t := x.profile
		for i := range c.timers {
			if t == nil && c.timers[i].fits(x.device) {
				t = &c.timers[i]
			}
		}
		if t == nil {
			c.note(x.pos, "session %s asks for BFD, and protocol bfd leaves out its interface", x.name)
			x.bfd = false
			continue
		}
		if base == nil && !t.passive {
			base = t
		}
		if base != nil && t.interval == base.interval && t.multiplier == base.multiplier && !t.passive {
			x.profile = nil
			continue
		}
		p := mapping{}
		p.put("name", fmt.Sprintf("%s-%v-%d", map[bool]string{true: "passive", false: "bfd"}[t.passive], t.interval, t.multiplier))
		p.put("interval", t.interval.String())
		p.put("multiplier", t.multiplier)
		if t.passive {
			p.put("passive", true)
		}
		x.profile = t
		if !slices.ContainsFunc(profiles, func(o yaml.MapSlice) bool { return o[0].Value == p.MapSlice[0].Value }) {
			profiles = append(profiles, p.MapSlice)
		}
	}
	if base == nil {
		base = &timers{interval: 100 * time.Millisecond, multiplier: 5}
	}
	b.put("interval", base.interval.String())
	b.put("multiplier", base.multiplier)
	if len(profiles) > 0 {
		b.put("profiles", profiles)
	}
	file.put("bfd", b.MapSlice)
}

func (c *converter) domainList(file *mapping, comments yaml.CommentMap) error {
	var list []yaml.MapSlice
	for i, d := range c.domains {
		at := fmt.Sprintf("$.domains[%d]", i)
		var m mapping
		m.put("name", d.name)
		if d.table == 0 {
			m.put("table", fillIn+"table-of-"+d.name)
		} else {
			m.put("table", d.table)
		}
		if d.guests {
			m.put("guests", true)
		}
		if d.loopback {
			m.put("loopback", true)
		}
		c.kernelKeys(&m, d)
		m.text("last-resort", d.lastResort)
		m.list("unreachable", d.unreachable)
		for _, kind := range []string{"reflectors", "neighbors"} {
			var sessions []yaml.MapSlice
			for _, x := range d.sessions {
				if x.external() != (kind == "neighbors") {
					continue
				}
				comments[fmt.Sprintf("%s.%s[%d]", at, kind, len(sessions))] = []*yaml.Comment{yaml.HeadComment(" " + comment(fmt.Sprintf("%vprotocol bgp %s", x.pos, x.name)))}
				sessions = append(sessions, c.session(x))
			}
			if len(sessions) > 0 {
				m.put(kind, sessions)
			}
		}
		list = append(list, m.MapSlice)
	}
	if len(list) == 0 {
		list = append(list, yaml.MapSlice{{Key: "name", Value: "public"}, {Key: "table", Value: fillIn + "table"}})
	}
	file.put("domains", list)
	if l := c.localOut; l != nil {
		m := mapping{}
		m.put("table", l.table)
		m.put("domains", slices.Clone(l.domains))
		m.text("last-resort", l.lastResort)
		file.put("local-out", m.MapSlice)
	}
	return nil
}

func (c *converter) kernelKeys(m *mapping, d *dom) {
	learn, metric := false, uint32(0)
	for i, k := range d.kernels {
		learn = learn || k.learn
		if i > 0 && (k.learn != d.kernels[0].learn || k.metric != d.kernels[0].metric) {
			c.gap(k.pos, "protocol kernel %s: redistribute and metric of domain %s hold for both families", k.name, d.name)
		}
		metric = cmp.Or(metric, k.metric)
		if k.exportsNone && len(d.sessions) > 0 {
			c.gap(k.pos, "protocol kernel %s: export none: hvrouter writes what the domain's sessions bring into its table", k.name)
		}
	}
	if metric != 0 {
		m.put("metric", metric)
	}
	if len(d.kernels) > 0 && (!learn || d.table == 254) {
		m.put("redistribute", learn)
	}
}

// judge has check read the result: what it refuses is a gap, and so are rules of the host that
// hvrouter would not make.
func (c *converter) judge(body string) {
	loaded, err := config.Parse("", []byte(body), config.TableNames{})
	if err != nil {
		if !slices.ContainsFunc(c.gaps, func(g Gap) bool { return !g.Note }) {
			c.gap(pos{}, "check refuses the result: %v", short(err.Error()))
		}
		if len(c.host.rules) > 0 {
			c.gap(c.host.rules[0].pos, "the host's policy rules are not compared with hvrouter's, since something is to be filled in: `hvrouter check` does it then")
		}
		return
	}
	c.rules(loaded)
}

// rules compares the host's policy rules with those that hvrouter makes.
func (c *converter) rules(loaded *config.Config) {
	wanted := map[string]bool{}
	for _, r := range domain.Rules(loaded) {
		wanted[ruleText(r)] = true
	}
	for _, r := range c.host.rules {
		if text, ok := r.text(); !r.kernelOwn() && (!ok || !wanted[text]) {
			c.gap(r.pos, "rule %s: hvrouter makes others (rules: replaces them all)", text)
		}
	}
}

package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

func (x *session) external() bool {
	return x.unnumbered || x.kind == "external" || x.peerAS != 0 && x.peerAS != x.localAS
}

func (c *converter) session(x *session) yaml.MapSlice {
	var m mapping
	m.put("name", x.name)
	if x.device == "" {
		c.gap(x.pos, "session %s: the interface that it is bound to is not said (-ip has it)", x.name)
		x.device = fillIn + "interface"
	}
	m.put("interface", x.device)
	external := x.external()
	if !x.unnumbered {
		if x.local == "" {
			c.gap(x.pos, "session %s: our own address is not said (-ip has it)", x.name)
			x.local = fillIn + "address"
		}
		m.put("local", x.local)
		m.put(map[bool]string{false: "peer", true: "address"}[external], x.peer)
	}
	if external {
		switch {
		case x.peerAS != 0:
			m.put("as", x.peerAS)
		case x.kind != "":
			m.put("as", x.kind)
		default:
			c.gap(x.pos, "session %s: the neighbour's AS is not said", x.name)
			m.put("as", fillIn+"AS")
		}
		c.neighborKeys(&m, x)
	} else {
		if x.peerAS == 0 && x.kind == "" {
			c.gap(x.pos, "session %s: the neighbour's AS is not said; our own is taken", x.name)
		}
		if x.multihop > 1 {
			c.note(x.pos, "session %s: the number of hops counts for neighbours in other ASes only", x.name)
		}
		if x.passive {
			c.gap(x.pos, "session %s: passive: hvrouter dials reflectors, too", x.name)
		}
		if x.role != "" || x.ownAS != 0 {
			c.gap(x.pos, "session %s: roles and allow local as are for neighbours in other ASes", x.name)
		}
	}
	c.families(&m, x)
	switch {
	case !x.bfd:
		m.put("bfd", "off")
	case x.profile != nil:
		m.put("bfd-profile", fmt.Sprintf("%s-%v-%d", map[bool]string{true: "passive", false: "bfd"}[x.profile.passive], x.profile.interval, x.profile.multiplier))
	}
	if x.password != "" && slices.ContainsFunc(c.sessions, func(o *session) bool { return o.password != x.password }) {
		m.put("md5", x.password)
	}
	c.limits(&m, x)
	c.policies(&m, x, external)
	return m.MapSlice
}

func (c *converter) neighborKeys(m *mapping, x *session) {
	if x.ownAS != 0 {
		m.put("allow-own-as", x.ownAS)
	}
	m.text("role", x.role)
	if x.strictRole {
		m.put("role-strict", true)
	}
	if x.multihop > 1 {
		m.put("multihop", x.multihop)
	}
	if x.ttl {
		m.put("ttl-security", true)
	}
	if x.passive {
		m.put("connect", "passive")
	}
}

// families writes which are carried, where that does not follow from the peer's address.
func (c *converter) families(m *mapping, x *session) {
	var list []string
	six := ""
	for _, y := range x.channels {
		list = append(list, y.family)
		if y.family == "ipv6" {
			six = y.nextHop
		}
	}
	own := "ipv4"
	if strings.Contains(x.peer, ":") {
		own = "ipv6"
	}
	if x.unnumbered && len(list) == 2 || !x.unnumbered && len(list) == 1 && list[0] == own {
		return
	}
	slices.Sort(list)
	m.put("families", list)
	if own == "ipv4" && slices.Contains(list, "ipv6") && !x.unnumbered {
		if six == "" {
			c.gap(x.pos, "session %s: the next hop of IPv6 on a session over IPv4 is not said", x.name)
			six = fillIn + "address"
		}
		m.put("next-hop6", six)
	}
}

func (c *converter) limits(m *mapping, x *session) {
	var first, without *channel
	for _, y := range x.channels {
		switch {
		case y.limit == 0 && first == nil:
			without = y
		case y.limit == 0:
			c.gap(y.pos, "session %s: prefix-limit is the same for both families, and %s has none", x.name, y.family)
		case first == nil:
			first = y
			m.put("prefix-limit", yaml.MapSlice{{Key: "maximum", Value: y.limit}, {Key: "action", Value: y.action}})
		case y.limit != first.limit || y.action != first.action:
			c.gap(y.pos, "session %s: prefix-limit is the same for both families", x.name)
		}
	}
	if first != nil && without != nil {
		c.gap(without.pos, "session %s: prefix-limit is the same for both families, and %s has none", x.name, without.family)
	}
}

// policies writes what is taken and announced.
func (c *converter) policies(m *mapping, x *session, external bool) {
	for _, way := range []struct {
		key   string
		terms func(*channel) []term
	}{{"import", func(y *channel) []term { return y.imports }}, {"export", func(y *channel) []term { return y.exports }}} {
		terms := way.terms(x.channels[0])
		for _, y := range x.channels[1:] {
			if fmt.Sprint(way.terms(y)) != fmt.Sprint(terms) {
				c.gap(y.pos, "session %s: %s is the same for both families, and check refuses it until it is written by hand", x.name, way.key)
				terms = unknown
			}
		}
		for _, t := range terms {
			if t.prepend > 0 && t.prepended != fmt.Sprint(x.localAS) {
				c.gap(x.pos, "session %s: %s prepends AS %s, and prepend: is our own: check refuses it until it is written by hand", x.name, way.key, t.prepended)
				terms = unknown
				break
			}
		}
		if !external && len(terms) == 1 && terms[0].action == "accept" && terms[0].prefixes == nil && terms[0].community == "" && !terms[0].changes() {
			continue // a reflector's default
		}
		var list []yaml.MapSlice
		for _, t := range terms {
			list = append(list, t.yaml())
		}
		m.put(way.key, list)
	}
}

func (t term) yaml() yaml.MapSlice {
	var m mapping
	m.list("prefixes", t.prefixes)
	m.text("community", t.community)
	for _, n := range []struct{ key, value string }{{"local-pref", t.localPref}, {"med", t.med}} {
		if n.value != "" {
			var v uint64
			fmt.Sscan(n.value, &v)
			m.put(n.key, v)
		}
	}
	m.list("add", t.add)
	m.list("remove", t.remove)
	if t.prepend > 0 {
		m.put("prepend", t.prepend)
	}
	m.text("action", t.action)
	return m.MapSlice
}

package fib

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
)

// What others do, in words that a scenario, the fake kernel and the kernel itself
// understand alike:
//
//	route add|replace|append|prepend|del PREFIX [table N] [metric N] [via A] [dev L] ... [proto N]
//	nexthop add|replace|del ID [via A dev L] [onlink] [blackhole] [fdb] [proto N]
//	group add|replace|del ID ID[*WEIGHT] ... [buckets N] [idle N] [proto N]
//	rule add|del PRIORITY: [lookup N] [iif L] [proto N]
//	address add|replace|del PREFIX dev L [noprefixroute]
//	neighbour add|replace|del A dev L [mac M] [proxy]
//
// An ID is a number, which counts from the first id of our range, or with a minus from
// one that is not ours; or #N, the Nth object that there is.

// words are what is left of a line.
type words struct {
	list []string
	err  error
}

func (w *words) more() bool { return len(w.list) > 0 && w.err == nil }

func (w *words) word() string {
	if len(w.list) == 0 {
		w.fail("words are missing")
		return ""
	}
	s := w.list[0]
	w.list = w.list[1:]
	return s
}

func (w *words) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *words) number() uint32 {
	s := strings.TrimSuffix(w.word(), ":")
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		w.fail("%q is no number", s)
	}
	return uint32(n)
}

func (w *words) addr() netip.Addr {
	s := w.word()
	a, err := netip.ParseAddr(s)
	if err != nil {
		w.fail("%v", err)
	}
	return a
}

func (w *words) prefix() netip.Prefix {
	s := w.word()
	if s == "default" {
		return netip.MustParsePrefix("0.0.0.0/0")
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil {
			w.fail("%v", err)
			return p
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	return p
}

func (w *words) mac() (mac [6]byte) {
	s := w.word()
	for i := range mac {
		v, err := strconv.ParseUint(s[min(3*i, len(s)):min(3*i+2, len(s))], 16, 8)
		if err != nil {
			w.fail("%q is no MAC", s)
		}
		mac[i] = byte(v)
	}
	return mac
}

// kernelOf is what the words need of a kernel.
type kernelOf interface {
	index(name string) int // of an interface, 0 if there is none
	objects() []uint32     // ids of next-hop objects and groups, sorted
}

// dev reads the name of an interface; one that there is not gets an index that nobody has.
func (w *words) dev(k kernelOf) int { return cmp.Or(k.index(w.word()), 99) }

// route reads a route. Words that a Route has no field for become attributes.
func (w *words) route(k kernelOf) (r Route, proto uint8, attrs []byte) {
	r.Prefix, r.Table = w.prefix(), 90
	var hop *NextHop
	for w.more() {
		switch s := w.word(); s {
		case "table":
			r.Table = w.number()
		case "metric":
			r.Metric = w.number()
		case "via":
			r.NextHops = append(r.NextHops, NextHop{Gateway: w.addr()})
			hop = &r.NextHops[len(r.NextHops)-1]
		case "dev":
			if hop == nil || hop.IfIndex != 0 {
				r.NextHops = append(r.NextHops, NextHop{})
				hop = &r.NextHops[len(r.NextHops)-1]
			}
			hop.IfIndex = w.dev(k)
		case "weight":
			hop.Weight = uint16(w.number())
		case "onlink":
			hop.OnLink = true
		case "src":
			r.PrefSrc = w.addr()
		case "mtu":
			r.MTU = w.number()
		case "buckets":
			r.Buckets = uint16(w.number())
		case "scope":
			r.Scope = Scope(w.number())
		case "blackhole", "unreachable", "prohibit", "throw":
			r.Type = map[string]RouteType{"blackhole": RouteBlackhole, "unreachable": RouteUnreachable, "prohibit": RouteProhibit, "throw": RouteThrow}[s]
		case "nhid":
			attrs = rtnl.AppendUint32(attrs, rtnl.RTA_NH_ID, DefaultNextHopBase+w.number())
			r.Type = RouteUnicast
		case "persistent":
			r.Persistent = true
		case "classic":
			r.RTAMultipath = true
		case "proto":
			proto = uint8(w.number())
		case "pref": // of IPv6: 3 low, 1 high
			attrs = rtnl.AppendBytes(attrs, rtnl.RTA_PREF, []byte{byte(w.number())})
		case "expires": // of IPv6, in seconds
			attrs = rtnl.AppendUint32(attrs, rtnl.RTA_EXPIRES, w.number())
		case "realm":
			attrs = rtnl.AppendUint32(attrs, rtnl.RTA_FLOW, w.number())
		case "rtt":
			at := len(attrs)
			attrs = rtnl.Nest(attrs, rtnl.RTA_METRICS)
			attrs = rtnl.Unnest(rtnl.AppendUint32(attrs, rtnl.RTAX_RTT, w.number()), at)
		default:
			w.fail("route: %q", s)
		}
	}
	return r, proto, attrs
}

func (w *words) rule() (r Rule, proto uint8) {
	r, proto = Rule{Family: FamilyIPv4, Priority: w.number()}, DefaultProtocol
	for w.more() {
		switch s := w.word(); s {
		case "lookup":
			r.Table = w.number()
		case "iif":
			r.IIF = w.word()
		case "not":
			r.Not = true
		case "blackhole":
			r.Action = RuleBlackhole
		case "ipv6":
			r.Family = FamilyIPv6
		case "proto":
			proto = uint8(w.number())
		default:
			w.fail("rule: %q", s)
		}
	}
	return r.normal(), proto
}

func (w *words) id(k kernelOf) uint32 {
	s := w.word()
	if rest, ok := strings.CutPrefix(s, "#"); ok {
		n, err := strconv.Atoi(rest)
		if ids := k.objects(); err == nil && len(ids) > 0 {
			return ids[n%len(ids)]
		}
		return 1 // there is none
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil:
		w.fail("%q is no id", s)
	case n < 0:
		return uint32(-n)
	}
	return DefaultNextHopBase + uint32(n)
}

// somebody makes the message of what another program does.
func somebody(line []string, k kernelOf) ([]byte, error) {
	w := &words{list: line}
	var b []byte
	switch what, verb := w.word(), w.word(); what {
	case "route":
		b = w.foreignRoute(verb, k)
	case "nexthop":
		b = w.foreignHop(verb, k)
	case "group":
		b = w.foreignGroup(verb, k)
	case "rule":
		r, proto := w.rule()
		switch verb {
		case "del":
			b = wire.AppendRule(nil, rtnl.RTM_DELRULE, rtnl.NLM_F_REQUEST, 1, coreRule(r), proto)
		case "create": // as iproute2: not if there is one
			b = wire.AppendRule(nil, rtnl.RTM_NEWRULE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, 1, coreRule(r), proto)
		default:
			b = wire.AppendRule(nil, rtnl.RTM_NEWRULE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE, 1, coreRule(r), proto)
		}
	case "address":
		b = w.foreignAddress(verb, k)
	case "neighbour":
		b = w.foreignNeighbor(verb, k)
	default:
		w.fail("%q", what)
	}
	return b, w.err
}

// flagsOf are those of NEW messages.
func flagsOf(verb string) uint16 {
	return map[string]uint16{"add": rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL, "replace": rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE, "change": rtnl.NLM_F_REPLACE,
		"append": rtnl.NLM_F_CREATE | rtnl.NLM_F_APPEND, "prepend": rtnl.NLM_F_CREATE}[verb] | rtnl.NLM_F_REQUEST
}

func (w *words) foreignRoute(verb string, k kernelOf) []byte {
	r, proto, attrs := w.route(k)
	for _, h := range r.NextHops {
		if h.IfIndex == 0 || h.Gateway.IsValid() && h.Gateway.Is4() && r.Prefix.Addr().Is6() {
			w.fail("route: next hop %v", h)
			return nil
		}
	}
	m := messageOf(r, cmp.Or(proto, 4))
	object := len(r.NextHops) == 0 && r.Type == RouteUnicast // by nhid
	if len(r.NextHops) == 0 && r.Type == 0 {
		m.Type = wire.RouteProhibit
	}
	if verb == "del" {
		if m.Protocol = proto; m.Type == wire.RouteProhibit || object {
			m.Type = 0
		}
		m.Scope = uint8(ScopeNowhere)
		return wire.AppendRoute(nil, rtnl.RTM_DELROUTE, rtnl.NLM_F_REQUEST, 1, &m, true)
	}
	b := wire.AppendRoute(nil, rtnl.RTM_NEWROUTE, flagsOf(verb), 1, &m, true)
	return rtnl.End(append(b, attrs...), 0)
}

// messageOf is a route as iproute2 would say it, with all its next hops.
func messageOf(r Route, proto uint8) wire.RouteMessage {
	m := wire.RouteMessage{Table: r.Table, Bits: uint8(r.Prefix.Bits()), TOS: r.TOS, Metric: r.Metric}
	m.Family, m.Type, m.Protocol, m.PrefSrc, m.MTU, m.AdvMSS = wire.FamilyOf(r.Prefix.Addr()), wire.RouteType(r.Type), proto, r.PrefSrc, r.MTU, r.AdvMSS
	m.Hi, m.Lo = wire.PackAddr(r.Prefix.Addr())
	for _, h := range r.NextHops {
		m.NextHops = append(m.NextHops, wire.NextHop{Gateway: h.Gateway, IfIndex: int32(h.IfIndex), Weight: h.Weight, OnLink: h.OnLink})
	}
	fakekernel.Complete(&m, wire.Scope(r.Scope))
	return m
}

func (w *words) foreignHop(verb string, k kernelOf) []byte {
	id := w.id(k)
	if verb == "del" {
		return wire.AppendDelNextHop(nil, 1, id)
	}
	m, flag := wire.NextHopMessage{ID: id, Family: wire.FamilyIPv4}, uint16(0)
	for w.more() {
		switch s := w.word(); s {
		case "via":
			m.Gateway = w.addr()
			m.Family = wire.FamilyOf(m.Gateway)
		case "dev":
			m.IfIndex = int32(w.dev(k))
		case "onlink":
			m.OnLink = true
		case "blackhole":
			flag = rtnl.NHA_BLACKHOLE
		case "fdb":
			flag = rtnl.NHA_FDB
		case "proto":
			m.Protocol = uint8(w.number())
		default:
			w.fail("nexthop: %q", s)
		}
	}
	if flag == 0 {
		return wire.AppendNextHop(nil, flagsOf(verb), 1, &m)
	}
	b := rtnl.Begin(nil, rtnl.RTM_NEWNEXTHOP, flagsOf(verb), 1)
	b = append(b, byte(m.Family), 0, m.Protocol, 0, 0, 0, 0, 0)
	b = rtnl.AppendUint32(b, rtnl.NHA_ID, id)
	if m.Gateway.IsValid() && flag == rtnl.NHA_FDB {
		b = rtnl.AppendAddr(b, rtnl.NHA_GATEWAY, m.Gateway)
	}
	return rtnl.End(rtnl.AppendBytes(b, flag, nil), 0)
}

func (w *words) foreignGroup(verb string, k kernelOf) []byte {
	id := w.id(k)
	if verb == "del" {
		return wire.AppendDelNextHop(nil, 1, id)
	}
	m := wire.NextHopMessage{ID: id}
	for w.more() {
		switch x := w.word(); x {
		case "buckets":
			m.Buckets, m.Idle = uint16(w.number()), 12000 // NHA_RES_GROUP_IDLE_TIMER as the core writes it
		case "idle":
			m.Idle = w.number()
		case "proto":
			m.Protocol = uint8(w.number())
		default:
			id, weight, _ := strings.Cut(x, "*")
			n, _ := strconv.Atoi(cmp.Or(weight, "1"))
			one := words{list: []string{id}}
			m.Members = append(m.Members, wire.Member{ID: one.id(k), Weight: uint16(n)})
			w.err = cmp.Or(w.err, one.err)
		}
	}
	return wire.AppendNextHop(nil, flagsOf(verb), 1, &m)
}

func (w *words) foreignAddress(verb string, k kernelOf) []byte {
	a := Address{Prefix: w.prefix(), Scope: ScopeUniverse}
	a.NoDAD = a.Prefix.Addr().Is6()
	proto := w.proto()
	for w.more() {
		switch s := w.word(); s {
		case "dev":
			a.IfIndex = w.dev(k)
		case "noprefixroute":
			a.NoPrefixRoute = true
		default:
			w.fail("address: %q", s)
		}
	}
	if verb == "del" {
		return wire.AppendAddress(nil, rtnl.RTM_DELADDR, rtnl.NLM_F_REQUEST, 1, coreAddress(a), 0)
	}
	return wire.AppendAddress(nil, rtnl.RTM_NEWADDR, flagsOf(verb), 1, coreAddress(a), proto)
}

func (w *words) foreignNeighbor(verb string, k kernelOf) []byte {
	proto := w.proto()
	n := w.neighbor(k)
	if verb == "del" {
		return wire.AppendNeighbor(nil, rtnl.RTM_DELNEIGH, rtnl.NLM_F_REQUEST, 1, wire.Neighbor(n), 0)
	}
	return wire.AppendNeighbor(nil, rtnl.RTM_NEWNEIGH, flagsOf(verb), 1, wire.Neighbor(n), proto)
}

// proto takes "proto N" off the end of the line, and returns 0 if it does not end so.
func (w *words) proto() uint8 {
	n := len(w.list) - 2
	if n < 0 || w.list[n] != "proto" {
		return 0
	}
	last := &words{list: w.list[n+1:]}
	w.list = w.list[:n]
	return uint8(last.number())
}

func (w *words) neighbor(k kernelOf) (n Neighbor) {
	n.Addr, n.MAC = w.addr(), [6]byte{2, 0, 0, 0, 0, 1}
	for w.more() {
		switch s := w.word(); s {
		case "dev":
			n.IfIndex = w.dev(k)
		case "mac":
			n.MAC = w.mac()
		case "proxy":
			n.Proxy = true
		default:
			w.fail("neighbour: %q", s)
		}
	}
	if n.Proxy {
		n.MAC = [6]byte{}
	}
	return n
}

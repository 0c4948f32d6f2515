package lookup

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The inputs of testdata/*.txt. What is "want" is only what the daemon wants.
//
//	link INDEX NAME [down|dark]
//	address INDEX PREFIX            with the kernel's routes for it
//	[want] rule PRIORITY [-6] [not] [from P] [to P] [iif NAME] [fwmark M/MASK] TABLE|goto N|nop|blackhole|unreachable|prohibit [suppress N] [proto N]
//	unrule ...                      the same words
//	[want] route [TYPE] PREFIX TABLE [METRIC] [via ADDRESS] [dev NAME] [nhid N] [proto N]
//	unroute ...
//	nexthop ID [via ADDRESS] dev NAME [proto N], group ID MEMBER,MEMBER [proto N]
//	[want] neighbour ADDRESS NAME MAC|failed|proxy
//	[want] sysctl PATH VALUE
//	known TEXT                      what the daemon knows to differ
//	daemon                          what is wanted counts from now on
//	explain ADDRESS [from ADDRESS NAME] [mark N]
type bench struct {
	t       *testing.T
	kernel  *fakekernel.Kernel
	socket  *fakekernel.Socket
	sysctls map[string]string
	failed  map[string]bool // neighbours
	want    Want
	wanted  map[bool][]Rule
	routes  []Route
	daemon  bool
}

func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(t *testing.T, text string) (string, error) {
		b := &bench{t: t, kernel: fakekernel.New(), sysctls: map[string]string{}, failed: map[string]bool{}, wanted: map[bool][]Rule{}}
		b.want.Sysctls = map[string]string{}
		b.socket = b.kernel.Open(1, nil)
		b.kernel.CreateLink(1, "lo")
		b.kernel.SetLink("lo", true, true)
		return scenario.Play(text, b)
	})
}

func (b *bench) Advance(time.Time) []string { return nil }
func (b *bench) Deadline() time.Time        { return time.Time{} }

func (b *bench) Do(_ time.Time, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	wanted := words[0] == "want"
	if wanted {
		words = words[1:]
	}
	switch verb, a := words[0], arguments(words[1:]); verb {
	case "link":
		b.kernel.CreateLink(number32(a.first[0]), a.first[1])
		b.kernel.SetLink(a.first[1], !a.has("down"), !a.has("down") && !a.has("dark"))
	case "address":
		b.address(number32(a.first[0]), netip.MustParsePrefix(a.first[1]))
	case "rule", "unrule":
		return nil, b.rule(verb, a, wanted)
	case "route", "unroute":
		return nil, b.route(verb, a, wanted)
	case "nexthop", "group":
		return nil, b.nexthop(a)
	case "neighbour":
		return nil, b.neighbour(a, wanted)
	case "sysctl":
		if wanted {
			b.want.Sysctls[a.first[0]] = a.first[1]
		} else {
			b.sysctls[a.first[0]] = a.first[1]
		}
	case "known":
		b.want.Known = append(b.want.Known, strings.Join(a.first, " "))
	case "daemon":
		b.daemon = true
	case "explain":
		return b.explain(a)
	default:
		return nil, fmt.Errorf("unknown word %q", verb)
	}
	return nil, nil
}

// args are the words of an input: those that have a value by name, and the others in order.
type args struct {
	first []string
	named map[string]string
}

func arguments(words []string) (a args) {
	a.named = map[string]string{}
	for i := 0; i < len(words); i++ {
		w := words[i]
		if slices.Contains([]string{"via", "dev", "nhid", "proto", "from", "to", "iif", "fwmark", "goto", "suppress", "mark"}, w) && i+1 < len(words) {
			i++
			a.named[w] = words[i]
			continue
		}
		a.first = append(a.first, w)
	}
	return a
}

func (a args) has(word string) bool { return slices.Contains(a.first, word) }

func (a args) number(name string, otherwise int) int {
	if s, ok := a.named[name]; ok {
		return number32(s)
	}
	return otherwise
}

func (a args) prefix(name string) (p netip.Prefix) {
	if s, ok := a.named[name]; ok {
		p = netip.MustParsePrefix(s)
	}
	return p
}

func number32(s string) int {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		panic(err)
	}
	return int(n)
}

// do carries out a request of another program.
func (b *bench) do(m []byte) error {
	if errno := b.kernel.Do(99, m); errno != 0 {
		return errno
	}
	return nil
}

func (b *bench) address(index int, p netip.Prefix) {
	b.kernel.AddAddress(index, p)
	metric := ""
	if p.Addr().Is6() {
		metric = "256"
	}
	name := b.kernel.NameOf(int32(index))
	_ = b.route("route", arguments(strings.Fields(fmt.Sprintf("local %v 255 dev %s proto 2", netip.PrefixFrom(p.Addr(), p.Addr().BitLen()), name))), false)
	if !p.IsSingleIP() {
		_ = b.route("route", arguments(strings.Fields(fmt.Sprintf("%v 254 %s dev %s proto 2", p.Masked(), metric, name))), false)
	}
}

func (b *bench) rule(verb string, a args, wanted bool) error {
	r := wire.Rule{Family: wire.FamilyIPv4, Priority: uint32(number32(a.first[0])), From: a.prefix("from"), To: a.prefix("to"), IIF: a.named["iif"], Not: a.has("not")}
	if a.has("-6") {
		r.Family = wire.FamilyIPv6
	}
	if mark, mask, ok := strings.Cut(a.named["fwmark"], "/"); ok {
		r.Mark, r.Mask = uint32(number32(mark)), uint32(number32(mask))
	}
	if a.named["suppress"] != "" {
		r.Suppress, r.SuppressLength = true, uint8(a.number("suppress", 0))
	}
	switch last := a.first[len(a.first)-1]; {
	case a.named["goto"] != "":
		r.Action, r.Target = wire.RuleGoto, uint32(a.number("goto", 0))
	case last == "nop":
		r.Action = wire.RuleNop
	case last == "blackhole" || last == "unreachable" || last == "prohibit":
		r.Action = map[string]wire.RuleAction{"blackhole": wire.RuleBlackhole, "unreachable": wire.RuleUnreachable, "prohibit": wire.RuleProhibit}[last]
	default:
		r.Table = uint32(number32(last))
	}
	typ := uint16(unix.RTM_NEWRULE)
	if verb == "unrule" {
		typ = unix.RTM_DELRULE
	}
	m := wire.AppendRule(nil, typ, unix.NLM_F_REQUEST|unix.NLM_F_CREATE, 1, r.Normal(), uint8(a.number("proto", 4)))
	if !wanted {
		return b.do(m)
	}
	parsed, err := parseRule(m[unix.SizeofNlMsghdr:])
	b.wanted[a.has("-6")] = append(b.wanted[a.has("-6")], parsed)
	return err
}

func (b *bench) route(verb string, a args, wanted bool) error {
	m := wire.RouteMessage{NextHopID: uint32(a.number("nhid", 0))}
	m.Type, m.Protocol = wire.RouteUnicast, uint8(a.number("proto", 4))
	for t := wire.RouteUnicast; t <= wire.RouteThrow; t++ {
		if a.first[0] == t.String() {
			m.Type, a.first = t, a.first[1:]
			break
		}
	}
	p := netip.MustParsePrefix(a.first[0])
	m.Family, m.Bits, m.Table = wire.FamilyOf(p.Addr()), uint8(p.Bits()), uint32(number32(a.first[1]))
	m.Hi, m.Lo = wire.PackAddr(p.Addr())
	if len(a.first) > 2 {
		m.Metric = uint32(number32(a.first[2]))
	}
	if name := a.named["dev"]; name != "" {
		h := wire.NextHop{IfIndex: int32(b.kernel.Index(name)), Weight: 1}
		if m.Scope = unix.RT_SCOPE_LINK; a.named["via"] != "" {
			h.Gateway, h.OnLink, m.Scope = netip.MustParseAddr(a.named["via"]), true, 0
		}
		m.NextHops = []wire.NextHop{h}
	}
	if m.Type == wire.RouteLocal {
		m.Scope = unix.RT_SCOPE_HOST
	}
	if p.Addr().Is6() {
		m.Scope = 0
	}
	typ := uint16(unix.RTM_NEWROUTE)
	if verb == "unroute" {
		typ = unix.RTM_DELROUTE
	}
	msg := wire.AppendRoute(nil, typ, unix.NLM_F_REQUEST|unix.NLM_F_CREATE, 1, &m, true)
	if !wanted {
		return b.do(msg)
	}
	r, err := parseRoute(msg[unix.SizeofNlMsghdr:])
	for i := range r.Hops {
		r.Hops[i].Link = b.kernel.NameOf(int32(r.Hops[i].IfIndex))
	}
	b.routes = append(b.routes, r)
	return err
}

func (b *bench) nexthop(a args) error {
	m := wire.NextHopMessage{ID: uint32(number32(a.first[0])), Family: wire.FamilyIPv4, Protocol: uint8(a.number("proto", 201))}
	if name := a.named["dev"]; name != "" {
		m.IfIndex = int32(b.kernel.Index(name))
	}
	if via := a.named["via"]; via != "" {
		m.Gateway, m.OnLink = netip.MustParseAddr(via), true
		m.Family = wire.FamilyOf(m.Gateway)
	}
	if len(a.first) > 1 {
		m.Family = 0
		for id := range strings.SplitSeq(a.first[1], ",") {
			m.Members = append(m.Members, wire.Member{ID: uint32(number32(id)), Weight: 1})
		}
	}
	return b.do(wire.AppendNextHop(nil, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE, 1, &m))
}

func (b *bench) neighbour(a args, wanted bool) error {
	addr, index := netip.MustParseAddr(a.first[0]), b.kernel.Index(a.first[1])
	mac, err := net.ParseMAC(a.first[2])
	n := wire.Neighbor{IfIndex: index, Addr: addr, Proxy: a.has("proxy")}
	switch {
	case a.has("failed"):
		b.failed[addr.String()] = true
		return nil
	case err == nil:
		n.MAC = [6]byte(mac)
	case !n.Proxy:
		return err
	}
	if wanted {
		b.want.Neighbours = append(b.want.Neighbours, Neighbour{Addr: addr, IfIndex: index, MAC: mac, State: "permanent"})
		return nil
	}
	return b.do(wire.AppendNeighbor(nil, unix.RTM_NEWNEIGH, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE, 1, n, 201))
}

func (b *bench) explain(a args) ([]string, error) {
	k, err := NewKernel(b)
	if err != nil {
		return nil, err
	}
	p := Packet{Dst: netip.MustParseAddr(a.first[0]), Mark: uint32(a.number("mark", 0))}
	if from := a.named["from"]; from != "" {
		p.Src = netip.MustParseAddr(from)
		p.IIF, _ = k.ByName(a.first[1])
	}
	var want *Want
	if b.daemon {
		one := b.want
		one.Rules = b.wanted[p.Dst.Is6()]
		for _, r := range b.routes {
			if r.Prefix.Contains(p.Dst) {
				one.Routes = append(one.Routes, r)
			}
		}
		want = &one
	}
	r, err := Explain(k, p, want, nil)
	if err != nil {
		return nil, err
	}
	return r.Lines(), nil
}

// Dump implements [Conn].
func (b *bench) Dump(request []byte, f func(typ uint16, body []byte)) error {
	return b.exchange(request, func(typ uint16, body []byte) bool { f(typ, body); return false })
}

// Ask implements [Conn].
func (b *bench) Ask(request []byte) (body []byte, err error) {
	if len(request) > 28 && request[4] == unix.RTM_GETNEIGH && request[26]&unix.NTF_PROXY == 0 { // its states are not the fake kernel's
		for typ, v := range attributes(request[28:]) {
			if typ == unix.NDA_DST && b.failed[address(v).String()] {
				m := slices.Clone(request[16:])
				native.PutUint16(m[8:], 32)
				return m, nil
			}
		}
	}
	err = b.exchange(request, func(_ uint16, v []byte) bool { body = slices.Clone(v); return true })
	return body, err
}

// Sysctl implements [Conn].
func (b *bench) Sysctl(path string) (string, bool) {
	value, ok := b.sysctls[path]
	return value, ok
}

func (b *bench) exchange(request []byte, f func(typ uint16, body []byte) bool) error {
	if err := b.socket.Send(request); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := b.socket.Receive(buf)
		if err != nil {
			return err
		}
		if done, _, err := messages(buf[:n], f); done || err != nil {
			return err
		}
	}
}

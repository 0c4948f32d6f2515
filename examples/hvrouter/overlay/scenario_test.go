package overlay

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The inputs of testdata/*.txt. Our VTEP is 172.22.2.1; MAC and address are short: "5" is
// 02:00:00:00:00:05, "5/4" has 192.168.5.4 besides, "5/::4" 2001:db8::4.
//
//	configure [NAME=VNI[,rt=N][,rd=N][,import=N][,moves=N][,peer=ADDR] ...]  the overlays with EVPN
//	ready NAME, unready NAME                       the device is there
//	here [NAME:GUEST[@IFINDEX]=MAC[/ADDR ...] ...] the guests that are here; @0: it is down
//	route SOURCE VTEP mac MAC[/ADDR] [seq=N] [sticky] [rt=N] [vni=N]
//	route SOURCE VTEP flood [rt=N] [vni=N]
//	gone SOURCE VTEP ...                           the same route is withdrawn
//	drop SOURCE                                    a speaker is no more
//	synced
//	drain [TIME], undrain                          the host is drained, and silent after a time
//	list                                           how every route stands
//	place NAME MAC                                 where a MAC is, and why
//	counts                                         how every overlay stands
//	earlier [NAME:MAC@IFINDEX=SEQUENCE ...]        what an earlier run has kept
//	kept                                           what is to be kept
//	ports                                          the interface that each guest's MAC is behind
type machine struct{ core *Core }

func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, &machine{New()})
	})
}

func (m *machine) Deadline() time.Time { return m.core.Deadline() }

func (m *machine) Advance(now time.Time) []string {
	var fx Effects
	m.core.Advance(now, &fx)
	return m.outputs(&fx)
}

func (m *machine) Do(now time.Time, words []string) ([]string, error) {
	var fx Effects
	if len(words) == 0 {
		return nil, nil
	}
	args := words[1:]
	switch words[0] {
	case "configure":
		var list []config.Overlay
		for _, a := range args {
			list = append(list, overlayOf(a))
		}
		m.core.Configure(list, now, &fx)
	case "ready", "unready":
		m.core.SetReady(args[0], words[0] == "ready", &fx)
	case "here":
		var list []Station
		for _, a := range args {
			name, rest, _ := strings.Cut(a, ":")
			guest, what, _ := strings.Cut(rest, "=")
			guest, index, _ := strings.Cut(guest, "@")
			s := Station{Guest: guest, Overlay: name, Port: guest + ".x"}
			if index != "" {
				s.IfIndex = int(number(index))
				s.Down = index == "0"
			}
			mac, addrs, more := strings.Cut(what, "/")
			s.MAC = macOf(mac)
			for more {
				var one string
				one, addrs, more = strings.Cut(addrs, "/")
				s.Addresses = append(s.Addresses, addrOf(one))
			}
			list = append(list, s)
		}
		m.core.SetStations(list, now, &fx)
	case "route", "gone":
		r, key := routeOf(args[1:])
		if words[0] == "gone" {
			r = nil
		}
		m.core.SetRoute(args[0], key, r, now, &fx)
	case "drop":
		m.core.DropSource(args[0], now, &fx)
	case "drain", "undrain":
		d := Drain{On: words[0] == "drain"}
		if len(args) > 0 {
			in, err := time.ParseDuration(args[0])
			if err != nil {
				return nil, err
			}
			d.Silent = now.Add(in)
		}
		m.core.SetDrain(d, now, &fx)
	case "synced":
		m.core.Synced(now, &fx)
	case "counts":
		var out []string
		for _, c := range m.core.Counts() {
			s := fmt.Sprintf("%s: %d announced, %d withheld, %d imported, %d unused", c.Overlay, c.Announced, c.Withheld, c.Imported, c.Unused)
			for kind, n := range c.Moves {
				if n > 0 {
					s += fmt.Sprintf(", %d %v", n, NoticeKind(kind))
				}
			}
			for _, d := range c.Duplicates {
				s += fmt.Sprintf("; duplicate %v of %s", d.MAC, d.Guest)
			}
			for _, d := range c.Frozen {
				s += fmt.Sprintf("; frozen %v of %s", d.MAC, d.Guest)
			}
			out = append(out, s)
		}
		return out, nil
	case "earlier":
		var list []Kept
		for _, a := range args {
			name, rest, _ := strings.Cut(a, ":")
			mac, rest, _ := strings.Cut(rest, "@")
			index, sequence, _ := strings.Cut(rest, "=")
			list = append(list, Kept{name, macOf(mac), int(number(index)), number(sequence)})
		}
		m.core.Restore(list)
	case "kept":
		var out []string
		for _, k := range m.core.Kept() {
			out = append(out, fmt.Sprintf("%s %v: interface %d, sequence %d", k.Overlay, k.MAC, k.IfIndex, k.Sequence))
		}
		return out, nil
	case "list":
		var out []string
		for _, l := range slices.SortedFunc(slices.Values(m.core.List()), Listed.Compare) {
			out = append(out, listed(l))
		}
		return out, nil
	case "place":
		p, ok := m.core.Place(args[0], macOf(args[1]))
		if !ok {
			return []string{"no EVPN"}, nil
		}
		out := []string{fmt.Sprintf("behind %s, at %s, settled %v, neighbours %v", orNone(p.VTEP.IsValid(), p.VTEP), orNone(p.Port != "", p.Port), p.Settled, p.Neighbors)}
		for _, l := range p.Routes {
			out = append(out, listed(l))
		}
		return out, nil
	case "ports":
		d := m.core.Desired("vx100")
		if !d.Settled {
			return []string{"not settled"}, nil
		}
		var out []string
		for _, mac := range sortedMACs(d.Ports) {
			out = append(out, fmt.Sprintf("%v at %s", mac, d.Ports[mac]))
		}
		return out, nil
	default:
		return nil, fmt.Errorf("unknown input %s", words[0])
	}
	return m.outputs(&fx), nil
}

func listed(l Listed) string {
	s := fmt.Sprintf("%s %v %v at %v, sequence %d: %s", l.Overlay, l.RD, &l.Route, l.VTEP, l.Mobility.Sequence, l.State)
	if l.Guest != "" {
		s += ", " + l.Guest
	}
	if l.Why != "" {
		s += ": " + l.Why
	}
	return s
}

func overlayOf(s string) config.Overlay {
	words := strings.Split(s, ",")
	name, vni, _ := strings.Cut(words[0], "=")
	n := number(vni)
	o := config.Overlay{Name: name, VNI: n, Local: config.Addr{Addr: netip.MustParseAddr("172.22.2.1")}, EVPN: &config.EVPN{DuplicateMoves: 5, DuplicateTime: config.Duration{Duration: 180 * time.Second}}}
	o.EVPN.RouteTarget.ExtCommunity, _ = evpn.RouteTarget(65000, n)
	o.EVPN.RD.RD = evpn.NewRD(netip.MustParseAddr("0.0.1.1"), uint16(n))
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "moves":
			o.EVPN.DuplicateMoves = int(number(v))
		case "rt":
			o.EVPN.RouteTarget.ExtCommunity, _ = evpn.RouteTarget(65000, number(v))
		case "rd":
			o.EVPN.RD.RD = evpn.NewRD(netip.MustParseAddr("0.0.1.1"), uint16(number(v)))
		case "import":
			t, _ := evpn.RouteTarget(65000, number(v))
			o.EVPN.Import = append(o.EVPN.Import, config.RouteTarget{ExtCommunity: t})
		case "gateway": // the last octet of its MAC, and its address
			mac, a, _ := strings.Cut(v, "/")
			o.Gateway = &config.Gateway{MAC: config.MAC(macOf(mac)), IPv4: []config.InterfacePrefix{{Prefix: netip.MustParsePrefix(a + "/24")}}}
		case "peer":
			o.Peers = append(o.Peers, config.Addr{Addr: netip.MustParseAddr(v)})
		}
	}
	return o
}

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

func macOf(s string) (m MAC) {
	if len(s) == 12 {
		if _, err := hex.Decode(m[:], []byte(s)); err != nil {
			panic(err)
		}
		return m
	}
	return MAC{2, 0, 0, 0, 0, byte(number(s))}
}

func addrOf(s string) netip.Addr {
	if a, err := netip.ParseAddr(s); err == nil && (a.Is4() || len(s) > 5) {
		return a
	}
	if rest, ok := strings.CutPrefix(s, "::"); ok {
		return netip.MustParseAddr("2001:db8::" + rest)
	}
	return netip.MustParseAddr("192.168.5." + s)
}

func routeOf(words []string) (*Route, []byte) {
	vtep := netip.MustParseAddr(words[0])
	vni, rt := uint32(100), uint32(100)
	r := &Route{VTEP: vtep, Route: evpn.Route{RD: evpn.NewRD(netip.AddrFrom4([4]byte{0, 0, 1, vtep.As16()[15]}), 100)}}
	for i, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		switch {
		case i == 0 && k == "flood":
			r.Type, r.IP = evpn.TypeMulticast, vtep
		case i == 0:
			r.Type = evpn.TypeMACIP
		case k == "seq":
			r.Mobility.Sequence = number(v)
		case k == "sticky":
			r.Mobility.Sticky = true
		case k == "rt":
			rt = number(v)
		case k == "vni":
			vni = number(v)
		default:
			mac, a, more := strings.Cut(w, "/")
			if r.MAC = macOf(mac); more {
				r.IP = addrOf(a)
			}
		}
	}
	t, _ := evpn.RouteTarget(65000, rt)
	r.Targets, r.Label = TargetsOf(t), evpn.Label(vni)
	key, err := r.Key(nil)
	if err != nil {
		panic(err)
	}
	return r, key
}

func (m *machine) outputs(fx *Effects) (out []string) {
	for _, c := range fx.Routes {
		if c.Origin == nil {
			r, _ := evpn.Parse(wire.AppendEVPN(nil, []byte(c.Key), rest(c.Key[0])))
			out = append(out, fmt.Sprintf("withdraw %v %v", r.RD, &r))
			continue
		}
		s := fmt.Sprintf("originate %v %v at %v", c.Origin.RD, &c.Origin.Route, c.Origin.VTEP)
		for _, t := range c.Origin.Targets {
			s += " " + evpn.CommunityString(t)
		}
		if c.Origin.Mobility != (evpn.Mobility{}) {
			s += " " + evpn.CommunityString(c.Origin.Mobility.Community())
		}
		if c.Origin.LastChoice {
			s += " last choice"
		}
		out = append(out, s)
	}
	for _, n := range fx.Notices {
		s := fmt.Sprintf("%v %s %s %v, %v sequence %d", n.Kind, n.Overlay, n.Guest, n.MAC, n.VTEP, n.Sequence)
		if n.Moves > 0 {
			s += fmt.Sprintf(", %d moves", n.Moves)
		}
		out = append(out, s)
	}
	for _, name := range []string{"vx100", "vx200"} {
		d := m.core.Desired(name)
		if d == nil || !d.Changed() {
			continue
		}
		all, flood, macs, neighbors := d.Changes()
		if all {
			out = append(out, fmt.Sprintf("%s: all, %d VTEPs, %d MACs, %d neighbours", name, len(d.Flood), len(d.MACs), len(d.Neighbors)))
		}
		if flood {
			out = append(out, fmt.Sprintf("%s: flood %v", name, d.FloodList()))
		}
		for _, mac := range sortedMACs(macs) {
			out = append(out, fmt.Sprintf("%s: %v behind %s", name, mac, orNone(d.MACs[mac].IsValid(), d.MACs[mac])))
		}
		var addrs []netip.Addr
		for a := range neighbors {
			addrs = append(addrs, a)
		}
		slices.SortFunc(addrs, netip.Addr.Compare)
		for _, a := range addrs {
			out = append(out, fmt.Sprintf("%s: %v has %s", name, a, orNone(d.Neighbors[a] != MAC{}, d.Neighbors[a])))
		}
		d.Taken()
	}
	return out
}

// rest is what a route of a type has beside its key.
func rest(t byte) []byte {
	if evpn.RouteType(t) == evpn.TypeMACIP {
		return make([]byte, 13)
	}
	return nil
}

func orNone(ok bool, v any) string {
	if !ok {
		return "none"
	}
	return fmt.Sprint(v)
}

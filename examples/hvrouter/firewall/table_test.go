package firewall

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Equal firewalls are equal tables, whatever the order of what they were made from.
func TestNormal(t *testing.T) {
	a, b := spec(), spec()
	for _, list := range []*[]string{&b.Host, &b.Uplinks, &b.Underlay, &b.Isolated, &b.Domains[0], &b.Domains[1]} {
		slices.Reverse(*list)
		*list = append(*list, (*list)[0])
	}
	slices.Reverse(b.Guests)
	slices.Reverse(b.OnLink)
	for i := range b.Guests {
		slices.Reverse(b.Guests[i].Neighbors)
		slices.Reverse(b.Guests[i].Prefixes)
		b.Guests[i].Prefixes = append(b.Guests[i].Prefixes, b.Guests[i].Prefixes...)
		slices.Reverse(b.Guests[i].Gateways)
	}
	b.Table = "hvrouter"
	if !reflect.DeepEqual(build(a.normal()), build(b.normal())) {
		t.Error("equal firewalls are different tables")
	}
}

// TestLookups: no rule asks whether a key is in a map, for which Linux 6.1 (Debian 12) refuses the whole table.
func TestLookups(t *testing.T) {
	for _, vrf := range []bool{false, true} {
		s, maps := spec(), map[string]bool{}
		s.VRF = vrf
		for _, table := range build(s.normal()) {
			for _, set := range table.sets {
				maps[set.Name] = maps[set.Name] || set.IsMap
			}
			for _, c := range table.chains {
				for _, r := range c.rules {
					for _, e := range r.do {
						if l, ok := e.(*expr.Lookup); ok && l.DestRegister == 0 && maps[l.SetName] {
							t.Errorf("chain %s looks for keys of map %s", c.name, l.SetName)
						}
					}
				}
			}
		}
		if !maps["transparent4"] {
			t.Error("there is no map")
		}
	}
}

func TestWidest(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8 10.1.0.0/16 10.0.0.0/16":                  "10.0.0.0/8",
		"10.1.2.3/16 10.2.0.0/16":                             "10.1.0.0/16 10.2.0.0/16",
		"203.0.113.1/32 203.0.113.0/28 203.0.113.16/28":       "203.0.113.0/28 203.0.113.16/28",
		"::/0 2001:db8::/32 0.0.0.0/0 10.0.0.1/32":            "0.0.0.0/0 ::/0",
		"2001:db8:0:1::/64 2001:db8:0:1::7/128 2001:db8::/64": "2001:db8::/64 2001:db8:0:1::/64",
	} {
		if got := strings.Trim(fmt.Sprint(widest(prefixes(strings.Fields(in)...))), "[]"); got != want {
			t.Errorf("widest of %s: %s, want %s", in, got, want)
		}
	}
}

// transaction lists the kinds of messages that make one table of another.
func transaction(t *testing.T, have, want *table) (ok bool, kinds []string) {
	t.Helper()
	names := map[int]string{unix.NFT_MSG_NEWSETELEM: "add", unix.NFT_MSG_DELSETELEM: "delete"}
	conn, err := nftables.New(nftables.WithTestDial(func(req []netlink.Message) ([]netlink.Message, error) {
		for _, m := range req {
			if kind := int(m.Header.Type) & 0xff; int(m.Header.Type)>>8 == unix.NFNL_SUBSYS_NFTABLES {
				kinds = append(kinds, names[kind])
			}
		}
		acks := make([]netlink.Message, 0, len(req))
		for _, m := range req {
			if m.Header.Flags&netlink.Acknowledge != 0 {
				acks = append(acks, netlink.Message{Header: netlink.Header{Type: netlink.Error, Sequence: m.Header.Sequence}, Data: make([]byte, 4)})
			}
		}
		return acks, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err = have.update(conn, want); err != nil {
		t.Fatal(err)
	}
	_ = conn.Flush()
	return ok, kinds
}

// A guest that comes, changes or goes is elements of sets, deletions first; anything else is
// another table.
func TestUpdate(t *testing.T) {
	at := func(change func(*Spec)) *table {
		s := spec()
		change(&s)
		return build(s.normal())[0]
	}
	same := at(func(*Spec) {})
	for name, c := range map[string]struct {
		change func(*Spec)
		ok     bool
		want   string
	}{
		"nothing":           {func(*Spec) {}, true, "[]"},
		"a guest less":      {func(s *Spec) { s.Guests = s.Guests[:1] }, true, "[delete delete delete delete delete]"},
		"an address more":   {func(s *Spec) { s.Guests[0].Neighbors = append(s.Guests[0].Neighbors, netip.MustParseAddr("fe80::9")) }, true, "[add]"},
		"another prefix":    {func(s *Spec) { s.Guests[0].Prefixes[1] = netip.MustParsePrefix("203.0.113.32/28") }, true, "[delete add]"},
		"a first /24":       {func(s *Spec) { s.Guests[0].Prefixes = prefixes("203.0.113.0/24", "2001:db8:7100::/64") }, false, "[]"},
		"another MAC":       {func(s *Spec) { s.Guests[0].MAC[5] = 9 }, true, "[delete add]"},
		"another To":        {func(s *Spec) { s.Guests[0].Translations[0].To = netip.MustParseAddr("203.0.113.17") }, true, "[delete add delete add]"},
		"an open port":      {func(s *Spec) { s.Open = nil }, false, "[]"},
		"no log":            {func(s *Spec) { s.LogRate = 0 }, false, "[]"},
		"a VXLAN port":      {func(s *Spec) { s.VXLANPorts = append(s.VXLANPorts, 8472) }, false, "[]"},
		"a prefix on-link":  {func(s *Spec) { s.OnLink = s.OnLink[:1] }, false, "[]"},
		"a subnet on-link":  {func(s *Spec) { s.OnLink[0] = netip.MustParsePrefix("2001:db8:65::/64") }, false, "[]"},
		"another name":      {func(s *Spec) { s.Table = "other" }, false, "[]"},
		"a domain":          {func(s *Spec) { s.Domains = s.Domains[:1] }, false, "[]"},
		"the last of a map": {func(s *Spec) { s.Guests[0].Translations = nil }, false, "[]"},
	} {
		ok, kinds := transaction(t, same, at(c.change))
		if ok != c.ok || fmt.Sprint(kinds) != c.want {
			t.Errorf("%s: %v %v, want %v %s", name, ok, kinds, c.ok, c.want)
		}
	}
}

// A guest on an overlay with a gateway that comes or goes is elements of sets as well; the first gateway is another table.
func TestGatewayUpdate(t *testing.T) {
	at := func(change func(*Spec)) []*table {
		s := withGateways()
		change(&s)
		return build(s.normal())
	}
	same := at(func(*Spec) {})
	for name, c := range map[string]struct {
		change   func(*Spec)
		ok       bool
		ip, arps string
	}{
		"nothing":        {func(*Spec) {}, true, "[]", "[]"},
		"a guest less":   {func(s *Spec) { s.Gateways[0].Stations = s.Gateways[0].Stations[1:] }, true, "[delete delete delete]", "[delete]"},
		"a gateway less": {func(s *Spec) { s.Gateways = s.Gateways[:2] }, true, "[delete delete delete delete delete delete]", "[delete delete]"},
		"another tenant": {func(s *Spec) { s.Gateways[2].Tenant = 3000 }, true, "[delete add]", "[]"},
		"no gateway":     {func(s *Spec) { s.Gateways = nil }, false, "[]", "[]"},
	} {
		next := at(c.change)
		for i, want := range []string{c.ip, c.arps} {
			if ok, kinds := transaction(t, same[i], next[i]); ok != c.ok || fmt.Sprint(kinds) != want {
				t.Errorf("%s, table %d: %v %v, want %v %s", name, i, ok, kinds, c.ok, want)
			}
		}
	}
}

// TestGatewayFragments: of a later fragment of IPv6 from an overlay nothing is read as a header of ICMPv6, neither on the way in
// nor to the hypervisor, which takes in those that are for a gateway, and no others. Nor does it keep fragments of IPv4 that are
// for all.
func TestGatewayFragments(t *testing.T) {
	chains := map[string]chain{}
	for _, table := range build(withGateways().normal()) {
		for _, c := range table.chains {
			chains[c.name] = c
		}
	}
	// which returns the place of the first rule of a chain that begins with a match.
	which := func(name string, m match) int {
		return slices.IndexFunc(chains[name].rules, func(r rule) bool {
			return len(r.do) >= len(m) && reflect.DeepEqual(r.do[:len(m)], m)
		})
	}
	for name, first := range map[string]match{"from_overlay6": whole6(), "to_gateway": fragment6()} {
		end := which(name, later6())
		if which(name, first) != 0 || end < 0 {
			t.Errorf("chain %s does not begin with fragments, or has no later ones", name)
			continue
		}
		for i, r := range chains[name].rules[1:end] {
			for _, e := range r.do {
				if p, ok := e.(*expr.Payload); ok && p.Base == expr.PayloadBaseTransportHeader {
					t.Errorf("chain %s, rule %d reads later fragments", name, i+1)
				}
			}
		}
	}
	if to, kept := which("from_overlay", join(ipv4, destinationType(isNot(rtnUnicast)))), which("from_overlay", fragment4()); to < 0 || kept < to {
		t.Error("fragments that are for all are kept")
	}
}

// TestFragmentsForAll: fragments of a guest that are for all on its link are bounded as those for the hypervisor are.
func TestFragmentsForAll(t *testing.T) {
	bounded := 0
	for _, table := range build(spec().normal()) {
		for _, c := range table.chains {
			for _, r := range c.rules {
				for _, m := range []match{join(fragment4(), destinationType(isNot(rtnUnicast))), join(fragment6(), multicast6())} {
					if r.drop == "fragments" && len(r.do) > len(m) && reflect.DeepEqual(r.do[:len(m)], m) {
						bounded++
					}
				}
			}
		}
	}
	if bounded != 2 {
		t.Errorf("of %d families, want 2", bounded)
	}
}

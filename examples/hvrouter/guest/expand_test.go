package guest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
)

// world makes interfaces "name=mac" and findings "link address" (learned with "!", routed with
// ">" in front).
func world(links, found string) World {
	var all []fib.Link
	for i, word := range strings.Fields(links) {
		name, mac, _ := strings.Cut(word, "=")
		l := fib.Link{IfIndex: 10 + i, Interface: name}
		fmt.Sscanf(mac, "%x:%x:%x:%x:%x:%x", &l.MAC[0], &l.MAC[1], &l.MAC[2], &l.MAC[3], &l.MAC[4], &l.MAC[5])
		all = append(all, l)
	}
	w := Of(all)
	w.Findings = func(link int) (out []Finding) {
		for line := range strings.SplitSeq(found, ",") {
			name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			if l := all[link-10]; l.Interface == name {
				p := netip.MustParsePrefix(strings.TrimLeft(text, "!>"))
				out = append(out, Finding{Prefix: p, Learned: strings.HasPrefix(text, "!"), Routed: strings.Contains(text, ">")})
			}
		}
		return out
	}
	return w
}

func TestExpand(t *testing.T) {
	c, err := config.Parse("test", []byte(`
router-id: 0.0.1.1
as: 65000
domains: [{name: public, table: 90, guests: true}]
edge: {gateway4: 203.0.113.254}
guest-templates:
  - {interfaces: "tap[0-9]*", discovery: {routes: true, neighbors: true, within: [203.0.113.0/24, "2001:db8::/64"], maximum: 2}, rate: 5}
  - {interfaces: "vnet*", gateway4: 203.0.113.253, local-pref: 50}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var inventory []config.Guest
	for _, e := range parse(t, `
- {name: vm1, interface: tap1, ipv4: [203.0.113.1], mac: "50:54:33:00:00:01", ipv6: ["2001:db8:0:0:1::/80"], transparent: [{address: 203.0.113.11, to: 203.0.113.1}]}
- {name: vm2, interface: "vnet*", mac: "52:54:00:00:00:02", ipv4: [203.0.113.2]}
- {name: vm3, interface: tap3, down: true}
- {name: tap4, ipv4: [203.0.113.4], interface: eth4}
- {name: vm5, ipv4: [203.0.113.5], routed: [203.0.113.128/28], discovery: {neighbors: true, within: [203.0.113.0/24]}}
`) {
		inventory = append(inventory, e.Guest)
	}
	for _, test := range []struct{ what, links, found, want string }{
		{"nothing is here", "lo eth0", "", ""},
		{"a tap, and what is not one", "tap0 tapestry tap", "", "tap0@tap0 [] []"},
		{"the inventory's tap is nobody else's, down or not", "tap1 tap3", "tap1 203.0.113.50/32", "vm1@tap1 [203.0.113.1] [2001:db8:0:0:1::/80]"},
		{"a name that is taken", "tap4", "", "@tap4@tap4 [] []"},
		{"behind libvirt's MAC", "vnet0=fe:54:00:00:00:09 vnet7=fe:54:00:00:00:02", "", "vm2@vnet7 [203.0.113.2] [] gw 203.0.113.253; vnet0@vnet0 [] [] gw 203.0.113.253 pref 50"},
		{"behind its own MAC", "vnet3=52:54:00:00:00:02", "", "vm2@vnet3 [203.0.113.2] [] gw 203.0.113.253"},
		{"two addresses, not three", "tap0", "tap0 203.0.113.50/32, tap0 2001:db8::50/128, tap0 203.0.113.51/32", "tap0@tap0 [203.0.113.50] [2001:db8::50/128]"},
		{"outside", "tap0", "tap0 198.51.100.1/32, tap0 2001:db8:1::1/128, tap0 !203.0.112.0/23", "tap0@tap0 [] []"},
		{"somebody's: listed, inside a prefix, routed, transparent, of one who is absent", "tap0", "tap0 203.0.113.1/32, tap0 2001:db8::1:0:0:7/128, tap0 203.0.113.129/32, tap0 203.0.113.11/32, tap0 203.0.113.5/32", "tap0@tap0 [] []"},
		{"learned: an address, a gateway's prefix, a link's subnet", "tap0", "tap0 !203.0.113.60/32, tap0 !>203.0.113.64/28", "tap0@tap0 [203.0.113.60] [] routed [203.0.113.64/28] learned [203.0.113.60/32 203.0.113.64/28]"},
		{"twice the same", "tap0", "tap0 !203.0.113.60/32, tap0 203.0.113.60/32", "tap0@tap0 [203.0.113.60] [] learned [203.0.113.60/32]"},
		{"a guest that may discover, not learn", "vm5", "vm5 203.0.113.70/32, vm5 !203.0.113.71/32, vm5 203.0.113.130/32, vm5 203.0.113.5/32", "vm5@vm5 [203.0.113.5 203.0.113.70] [] routed [203.0.113.128/28]"},
	} {
		var got []string
		for _, g := range Expand(c, inventory, world(test.links, test.found)) {
			line := fmt.Sprintf("%s@%s %v %v", g.Name, g.Interface, g.IPv4, g.IPv6)
			if len(g.Routed) > 0 {
				line += fmt.Sprintf(" routed %v", g.Routed)
			}
			if len(g.Learned) > 0 {
				line += fmt.Sprintf(" learned %v", g.Learned)
			}
			if g.Gateway4.IsValid() {
				line += fmt.Sprintf(" gw %v", g.Gateway4)
			}
			if g.LocalPref != 100 {
				line += fmt.Sprintf(" pref %d", g.LocalPref)
			}
			got = append(got, line)
		}
		if s := strings.Join(got, "; "); s != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.what, s, test.want)
		}
	}
	if inventory[4].IPv4 = inventory[4].IPv4[:1:1]; len(inventory[4].IPv4) != 1 {
		t.Error("the inventory was changed")
	}
}

// Of several interfaces that may be a guest's, it is the one with the least index, whatever order
// they come in.
func TestExpandSeveral(t *testing.T) {
	c, err := config.Parse("test", []byte("{router-id: 0.0.1.1, as: 65000, domains: [{name: public, table: 90, guests: true}], edge: {gateway4: 203.0.113.254}}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := []config.Guest{parse(t, `- {name: vm, interface: "tap*", mac: "52:54:00:00:00:02", ipv4: [203.0.113.2]}`)[0].Guest}
	links := []fib.Link{{IfIndex: 12, Interface: "tap2"}, {IfIndex: 11, Interface: "tap1"}, {IfIndex: 13, Interface: "tap3"}}
	for i := range links {
		links[i].MAC = all[0].MAC
	}
	if here := Expand(c, all, Of(links)); len(here) != 1 || here[0].Interface != "tap1" {
		t.Errorf("%+v", here)
	}
}

package foreign

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
)

// A chain counts if packets to or from guests pass its hook: a chain of interfaces by those that it is for, one of the
// family bridge if there is a bridge on the way.
func TestChains(t *testing.T) {
	links := []lookup.Link{{Index: 1, Name: "lo"}, {Index: 2, Name: "eth0"}, {Index: 3, Name: "a.public", Lower: 2}, {Index: 4, Name: "vm1"}, {Index: 5, Name: "mgmt"}}
	overlay := append(slices.Clone(links), lookup.Link{Index: 6, Name: "br7", Bridge: true}, lookup.Link{Index: 7, Name: "vx7", Master: 6, VNI: 7, Lower: 5}, lookup.Link{Index: 8, Name: "vm9", Master: 6})
	guestsBridge := append(slices.Clone(links), lookup.Link{Index: 6, Name: "br0", Bridge: true})
	guestsBridge[3].Master = 6
	other := append(slices.Clone(links), lookup.Link{Index: 6, Name: "docker0", Bridge: true}, lookup.Link{Index: 7, Name: "c1", Master: 6})
	bond := append(slices.Clone(links), lookup.Link{Index: 6, Name: "eth1", Master: 2})
	drops := func(p nftrace.Passes, on ...string) nftrace.ForeignChain {
		return nftrace.ForeignChain{Text: "c", Drops: true, Passes: p, On: func(link string) bool { return slices.Contains(on, link) }}
	}
	rules := drops(nftrace.PassesDevice, "vm1")
	rules.Drops, rules.Rules = false, 2
	empty := rules
	empty.Rules = 0
	const policy = "chain c: its policy drops what none of its rules accepts"
	for _, c := range []struct {
		name  string
		links []lookup.Link
		chain nftrace.ForeignChain
		want  string
	}{
		{"forwarded", links, drops(nftrace.PassesForwarded), policy},
		{"ARP", links, drops(nftrace.PassesARP), policy},
		{"a guest's interface", links, drops(nftrace.PassesDevice, "vm1", "mgmt"), policy + ", on vm1"},
		{"an uplink", links, drops(nftrace.PassesDevice, "a.public"), policy + ", on a.public"},
		{"below an uplink", links, drops(nftrace.PassesDevice, "eth0"), policy + ", on eth0"},
		{"a member of the bond below an uplink", bond, drops(nftrace.PassesDevice, "eth1"), policy + ", on eth1"},
		{"an interface that is neither", links, drops(nftrace.PassesDevice, "mgmt", "lo"), ""},
		{"one that is not there", links, drops(nftrace.PassesDevice, "vx7"), ""},
		{"an overlay", overlay, drops(nftrace.PassesDevice, "br7", "mgmt", "vm1", "vm9", "vx7"), policy + ", on br7, mgmt, vm1 and 2 more"},
		{"rules", links, rules, "chain c: its 2 rules may drop or change packets, on vm1 unsure"},
		{"nothing", links, empty, ""},
		{"bridges, and none is ours", other, drops(nftrace.PassesBridge), ""},
		{"bridges of overlays", overlay, drops(nftrace.PassesBridge), policy},
		{"the bridge of a guest", guestsBridge, drops(nftrace.PassesBridge), policy},
	} {
		list, err := Find(tables{links: c.links}, []nftrace.ForeignChain{c.chain}, want)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range list {
			got += fmt.Sprintf("%s %s: %s", f.Kind, f.What, f.Why)
			if f.Unsure {
				got += " unsure"
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

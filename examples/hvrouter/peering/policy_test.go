package peering

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// A policy is played by a real table: two paths come in through it.
func TestPolicy(t *testing.T) {
	const head = "router-id: 0.0.1.1\nas: 65000\ndomains: [{name: public, table: 90, reflectors: [{interface: a, local: 198.51.100.101, peer: 198.51.100.126, import: "
	for policy, want := range map[string]string{
		`[]`:                                     "10.1.2.0/24 pref 100 [65000:90]; 192.0.2.0/24 pref 100 [65000:90]",
		`[{prefix: 10.0.0.0/8, action: reject}]`: "10.1.2.0/24 pref 100 [65000:90]; 192.0.2.0/24 pref 100 [65000:90]",
		`[{prefix: 10.0.0.0/8, le: 24, action: reject}]`:                                                              "192.0.2.0/24 pref 100 [65000:90]",
		`[{prefixes: ["10.0.0.0/8 le 24"], action: reject}]`:                                                          "192.0.2.0/24 pref 100 [65000:90]",
		`[{prefixes: ["10.0.0.0/8 le 23", "192.0.2.0/24"], action: reject}]`:                                          "10.1.2.0/24 pref 100 [65000:90]",
		`[{prefixes: ["0.0.0.0/0 ge 24"], action: reject}]`:                                                           "",
		`[{prefixes: [0.0.0.0/0], action: reject}]`:                                                                   "10.1.2.0/24 pref 100 [65000:90]; 192.0.2.0/24 pref 100 [65000:90]",
		`[{prefix: 10.0.0.0/8, ge: 25, le: 32, action: reject}]`:                                                      "10.1.2.0/24 pref 100 [65000:90]; 192.0.2.0/24 pref 100 [65000:90]",
		`[{community: "65000:90", local-pref: 200}]`:                                                                  "10.1.2.0/24 pref 200 [65000:90]; 192.0.2.0/24 pref 200 [65000:90]",
		`[{prefix: 192.0.2.0/24, bandwidth: 8}]`:                                                                      "10.1.2.0/24 pref 100 [65000:90]; 192.0.2.0/24 pref 100 [65000:90] weight 1000000",
		`[{bandwidth: 8}, {prefix: 192.0.2.0/24, bandwidth: 0}]`:                                                      "10.1.2.0/24 pref 100 [65000:90] weight 1000000; 192.0.2.0/24 pref 100 [65000:90]",
		`[{community: "65000:91", action: reject}]`:                                                                   "10.1.2.0/24 pref 100 [65000:90]; 192.0.2.0/24 pref 100 [65000:90]",
		`[{prefix: 192.0.2.0/24, action: accept}, {action: reject}]`:                                                  "192.0.2.0/24 pref 100 [65000:90]",
		`[{prefix: 192.0.2.0/24, remove: ["65000:90"], add: ["65000:20"]}, {community: "65000:20", local-pref: 300}]`: "10.1.2.0/24 pref 100 [65000:90]; 192.0.2.0/24 pref 300 [65000:20]",
	} {
		c, err := config.Parse("f", []byte(head+policy+"}]}]\n"), nil)
		if err != nil {
			t.Fatalf("%s: %v", policy, err)
		}
		if got := received(t, Policy(c.Domains[0].Reflectors[0].Import, 65000)); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", policy, got, want)
		}
	}
}

// received says what a table holds after two paths came through a policy.
func received(t *testing.T, p rib.Policy) string {
	t.Helper()
	table, err := rib.New(rib.Config{AS: 65000, RouterID: addr("0.0.1.1"), ClusterID: addr("0.0.1.1")})
	if err != nil {
		t.Fatal(err)
	}
	in, err := table.NewIn(rib.PeerConfig{Addr: addr("198.51.100.126"), AS: 65000, RouterID: addr("198.51.100.126"), Import: p})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	pref := uint32(100)
	attrs := wire.PathAttrs{LocalPref: &pref, Communities: []wire.Community{wire.NewCommunity(65000, 90)}}
	for _, s := range []string{"10.1.2.0/24", "192.0.2.0/24"} {
		announce(t, in, attrs, netip.MustParsePrefix(s))
		for _, path := range table.Lookup(netip.MustParsePrefix(s)) {
			a := path.Attrs
			lp, _ := a.LocalPref()
			var list []wire.Community
			for c := range a.Communities().All() {
				list = append(list, c)
			}
			one := fmt.Sprintf("%s pref %d %v", s, lp, list)
			if path.Weight > 0 {
				one += fmt.Sprintf(" weight %.0f", path.Weight)
			}
			out = append(out, one)
		}
	}
	return strings.Join(out, "; ")
}

// announce has a peer announce one prefix.
func announce(t *testing.T, in *rib.In, attrs wire.PathAttrs, p netip.Prefix) {
	t.Helper()
	b := wire.Builder{AS4: true}
	b.Reach(nil, wire.IPv4Unicast, attrs.Append(nil), wire.NextHop{Addr: addr("198.51.100.102")})
	b.Add(wire.NLRI{Prefix: p})
	u, err := wire.ParseUpdate(b.Finish()[wire.HeaderLen:], wire.Options{AS4: true, IBGP: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Update(&u); err != nil {
		t.Fatal(err)
	}
}

package sessions

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

const withOverlays = twoFabrics + `
    loopback: true
loopback: {interface: lo.a, address: 172.22.2.1/32}
overlays:
  - {name: vx100, vni: 100, bridge: br100, evpn: {import: ["65000:7"]}}
  - {name: vx200, vni: 200, bridge: br200, evpn: {import: ["65000:7"]}}
bgp: {rt-constrain: true}
`

// TestMemberships: a reflector that takes route target constraint is asked for what the overlays import, each target once,
// before the inventory is complete, and as a reload changes it, within the session. One that does not is asked for nothing.
func TestMemberships(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, withOverlays, wire.IPv4Unicast)
		families := []wire.Family{wire.IPv4Unicast, wire.L2VPNEVPN, wire.RTConstrain}
		takes, plain := b.reflectFamilies("A", families), b.reflectFamilies("B", families[:2])
		asked := func() (list []string) {
			for c := range takes.Table().All(wire.RTConstrain) {
				m, _ := wire.MembershipOfKey(c.Key)
				list = append(list, fmt.Sprintf("%d %v", m.OriginAS, config.RouteTarget{ExtCommunity: m.Target}))
			}
			slices.Sort(list)
			return list
		}
		expect := func(what string, want ...string) {
			t.Helper()
			b.after(time.Second)
			if got := asked(); !slices.Equal(got, want) {
				t.Errorf("%s: asked for %q, want %q", what, got, want)
			}
		}
		expect("at the start", "65000 65000:100", "65000 65000:200", "65000 65000:7")
		st, err := takes.Peer(bgp.PeerKey{Addr: netip.MustParseAddr("198.51.100.1"), Local: netip.MustParseAddr("198.51.100.126")})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range st.Families {
			if said := !f.EndOfRIB.IsZero(); said != (f.Family == wire.RTConstrain) {
				t.Errorf("before the inventory is complete: End-of-RIB of %v is %v", f.Family, said)
			}
		}
		if f := st.Negotiated.Remote.GracefulRestart.Families; !slices.ContainsFunc(f, func(f wire.RestartFamily) bool { return f.Family == wire.RTConstrain && f.ForwardingPreserved }) {
			t.Errorf("what was asked for before the restart is not kept: %+v", f)
		}
		since := st.Since
		for _, m := range b.members {
			m.InventoryComplete()
		}
		for _, s := range b.reflectors {
			s.InventoryComplete()
		}
		reload := func(what, text string, want ...string) {
			t.Helper()
			c, err := config.Parse("f", []byte(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			b.configure(c)
			expect(what, want...)
		}
		reload("an overlay less", strings.Replace(withOverlays, "  - {name: vx200, vni: 200, bridge: br200, evpn: {import: [\"65000:7\"]}}\n", "", 1), "65000 65000:100", "65000 65000:7")
		reload("another import", strings.ReplaceAll(withOverlays, "65000:7", "65000:8"), "65000 65000:100", "65000 65000:200", "65000 65000:8")
		reload("the target of an overlay", strings.Replace(withOverlays, "evpn: {", "evpn: {route-target: \"65001:9\", ", 1), "65000 65000:200", "65000 65000:7", "65000 65001:9")
		if st, err = takes.Peer(st.Key); err != nil || st.Since != since || st.Established != 1 {
			t.Errorf("the session was reset: %v, %v", st, err)
		}
		for c := range plain.Table().All(wire.RTConstrain) {
			t.Errorf("the reflector without the family has %v", c)
		}
		reload("switched off", strings.Replace(withOverlays, "true}", "false}", 1))
		b.after(time.Minute)
		if s := fmt.Sprint(b.states()); strings.Count(s, "Established") != 2 {
			t.Error(s)
		}
		if got := asked(); len(got) > 0 {
			t.Errorf("switched off: asked for %q", got)
		}
		b.stop()
	})
}

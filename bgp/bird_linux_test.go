package bgp

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

const birdStatic = `
protocol static s4 { ipv4; route 192.0.2.0/24 blackhole; route 198.51.100.7/32 blackhole; }
protocol static s6 { ipv6; route 2001:db8:2::/48 blackhole; }
`

// birdPeer is a BIRD session of both families towards our speaker.
func birdPeer(extra string) string {
	return `
protocol bgp hub {
  local 10.77.0.2 as 65000; neighbor 10.77.0.1 as 65000; direct;
  connect delay time 1; connect retry time 2; error wait time 1, 2;
  ` + extra + `
  ipv4 { import all; export all; next hop self; add paths on; };
  ipv6 { import all; export all; next hop self; add paths on; next hop address fd77::2; };
}
`
}

// TestBIRDBothFamilies: both families on one IPv4 session, ADD-PATH both ways.
func TestBIRDBothFamilies(t *testing.T) {
	l := newLAN(t)
	b := startBIRD(l, 2, birdStatic+strings.ReplaceAll(birdPeer(""), " next hop address fd77::2;", ""))
	r := startReal(t, l.hub, Config{})
	r.must(r.AddPeer(PeerConfig{
		Addr: netip.MustParseAddr("10.77.0.2"), Families: bothFamilies, NextHop6: netip.MustParseAddr("fd77::1"),
		AddPathReceive: bothFamilies, AddPathSend: bothFamilies,
	}))
	r.originate("203.0.113.0/24", "2001:db8:1::/48")
	r.waitState("10.77.0.2", Established)
	paths := r.waitPaths("192.0.2.0/24", 1)
	if paths[0].NextHop.Addr != netip.MustParseAddr("10.77.0.2") {
		t.Errorf("next hop %v", paths[0].NextHop)
	}
	r.waitPaths("2001:db8:2::/48", 1)
	b.waitFor("our IPv4 route", "show route 203.0.113.0/24 all", "BGP.next_hop: 10.77.0.1")
	b.waitFor("our IPv6 route", "show route 2001:db8:1::/48 all", "BGP.next_hop: fd77::1")
	st, _ := r.Peer(PeerKey{Addr: netip.MustParseAddr("10.77.0.2")})
	n := st.Negotiated
	if n.AddPathReceive != wire.Families(bothFamilies...) || n.AddPathSend != n.AddPathReceive || !n.AS4 || !n.EnhancedRefresh {
		t.Errorf("negotiated %+v", n)
	}
	// Route refresh both ways.
	r.must(r.Refresh(st.Key))
	if out := b.birdc("reload in hub"); !strings.Contains(out, "hub: reloading") {
		t.Error(out)
	}
	r.Table().Withdraw(netip.MustParsePrefix("203.0.113.0/24"), 0)
	b.waitFor("the withdrawal", "show route 203.0.113.0/24", "Network not found")
	// A shutdown with a reason.
	r.Shutdown("gone fishing")
	time.Sleep(100 * time.Millisecond)
	b.waitFor("our text", "show protocols all hub", "gone fishing")
}

package bgp

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestGTSM: TTL 255 both ways, both families; a client that sends with TTL 64
// cannot even open a TCP connection.
func TestGTSM(t *testing.T) {
	l := newLAN(t)
	r := startReal(t, l.hub, Config{})
	clients(r, func(c *PeerConfig) { c.TTLSecurity = true })
	startBIRD(l, 2, birdPeer("ttl security on;"))
	six := strings.NewReplacer("10.77.0.2", "fd77::3", "10.77.0.1", "fd77::1", " next hop address fd77::2;", "").Replace(birdPeer("ttl security on;"))
	startBIRD(l, 3, six)
	bad := startBIRD(l, 4, strings.ReplaceAll(birdPeer("multihop;"), "direct;", ""))
	// And we dial.
	r.must(r.AddPeer(PeerConfig{Addr: netip.MustParseAddr("10.77.0.5"), TTLSecurity: true}))
	startBIRD(l, 5, strings.ReplaceAll(birdPeer("ttl security on; passive on;"), "10.77.0.2", "10.77.0.5"))
	r.waitState("10.77.0.2", Established)
	r.waitState("10.77.0.5", Established)
	r.waitState("fd77::3", Established)
	time.Sleep(1500 * time.Millisecond)
	if out := bad.birdc("show protocols all hub"); !strings.Contains(out, "Connect") && !strings.Contains(out, "Active") {
		t.Errorf("a client with TTL 64:\n%s", out)
	}
	if len(r.Peers()) != 3 {
		t.Errorf("%d peers", len(r.Peers()))
	}
}

// TestMD5 uses keys for one peer and for a range, dialling and accepting; wrong
// keys never connect.
func TestMD5(t *testing.T) {
	l := newLAN(t)
	r := startReal(t, l.hub, Config{})
	r.must(r.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.77.0.0/28"), Template: PeerConfig{MD5Key: "range"}}))
	// A key of its own inside the range, and we are the one who dials.
	r.must(r.AddPeer(PeerConfig{Addr: netip.MustParseAddr("10.77.0.3"), MD5Key: "own"}))
	client := func(n string, extra string) string {
		return strings.ReplaceAll(birdPeer(extra), "10.77.0.2", "10.77.0."+n)
	}
	startBIRD(l, 2, client("2", `password "range";`))
	startBIRD(l, 3, client("3", `password "own"; passive on;`))
	startBIRD(l, 4, client("4", `password "own";`))
	startBIRD(l, 5, client("5", ""))
	r.waitState("10.77.0.2", Established)
	r.waitState("10.77.0.3", Established)
	time.Sleep(1500 * time.Millisecond)
	for _, st := range r.Peers() {
		if a := st.Key.Addr.String(); a != "10.77.0.2" && a != "10.77.0.3" {
			t.Errorf("%v got in", a)
		}
	}
	// The key changes at run time: the session ends, and comes back for who
	// knows the new one.
	r.must(r.UpdateRange(RangeConfig{Prefix: netip.MustParsePrefix("10.77.0.0/28"), Template: PeerConfig{MD5Key: "own"}}))
	r.waitState("10.77.0.4", Established)
}

// TestIPv6NextHop: IPv4 routes with IPv6 next hops on an IPv6 session (RFC 8950, Section 3).
func TestIPv6NextHop(t *testing.T) {
	l := newLAN(t)
	r := startReal(t, l.hub, Config{})
	r.must(r.AddPeer(PeerConfig{Addr: netip.MustParseAddr("fd77::2"), Families: bothFamilies, IPv6NextHop: true}))
	r.originate("203.0.113.0/24", "2001:db8:1::/48")
	b := startBIRD(l, 2, birdStatic+`
protocol bgp hub {
  local fd77::2 as 65000; neighbor fd77::1 as 65000; direct; connect delay time 1; connect retry time 1;
  ipv4 { import all; export all; next hop self; extended next hop on; };
  ipv6 { import all; export all; next hop self; };
}
`)
	r.waitState("fd77::2", Established)
	if p := r.waitPaths("192.0.2.0/24", 1); p[0].NextHop.Addr != netip.MustParseAddr("fd77::2") {
		t.Errorf("next hop %v", p[0].NextHop)
	}
	b.waitFor("our IPv4 route", "show route 203.0.113.0/24 all", "BGP.next_hop: fd77::1")
	b.waitFor("our IPv6 route", "show route 2001:db8:1::/48 all", "BGP.next_hop: fd77::1")
}

// TestLinkLocal: a session over link-local addresses, bound to its interface.
func TestLinkLocal(t *testing.T) {
	l := newLAN(t)
	l.hub.IP("addr add fe80::77:1/64 dev br0 nodad")
	r := startReal(t, l.hub, Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[fe80::77:1%br0]:179")}})
	r.must(r.AddPeer(PeerConfig{
		Addr: netip.MustParseAddr("fe80::77:2"), Interface: "br0", LocalAddr: netip.MustParseAddr("fe80::77:1%br0"),
		Families: bothFamilies, IPv6NextHop: true, NextHop6: netip.MustParseAddr("fd77::1"),
	}))
	r.originate("203.0.113.0/24", "2001:db8:1::/48")
	b := startBIRD(l, 2, birdStatic+`
protocol bgp hub {
  local fe80::77:2 as 65000; neighbor fe80::77:1%'eth0' as 65000; direct; connect delay time 1; connect retry time 1;
  ipv4 { import all; export all; next hop self; extended next hop on; };
  ipv6 { import all; export all; next hop self; };
}
`)
	b.ns.IP("addr add fe80::77:2/64 dev eth0 nodad")
	nstest.Wait(t, 15*time.Second, "Established", func() bool { p := r.Peers(); return len(p) == 1 && p[0].State == Established })
	p := r.waitPaths("2001:db8:2::/48", 1)
	if p[0].NextHop.LinkLocal != netip.MustParseAddr("fe80::77:2") && p[0].NextHop.Addr != netip.MustParseAddr("fe80::77:2") {
		t.Errorf("next hop %+v", p[0].NextHop)
	}
	b.waitFor("our IPv6 route", "show route 2001:db8:1::/48 all", "fd77::1 fe80::77:1")
	b.waitFor("our IPv4 route", "show route 203.0.113.0/24 all", "BGP.next_hop")
}

// TestDeviceBinding: the connection leaves by the interface that was asked for,
// from the address that was asked for, although the routing says otherwise.
func TestDeviceBinding(t *testing.T) {
	l := newLAN(t)
	other := nstest.New(t, "other")
	nstest.Veth(l.hub, "side", "10.78.0.1/24", other, "eth0", "10.78.0.2/24")
	other.IP("route add 10.77.0.0/24 via 10.78.0.1")
	l.hub.IP("addr add 10.77.0.9/32 dev lo")
	l.hub.IP("route add 10.79.0.2/32 dev br0") // the wrong way
	other.IP("addr add 10.79.0.2/32 dev lo")
	dir := t.TempDir()
	conf := `log stderr all; router id 10.79.0.2;
protocol device {}
protocol bgp hub { local 10.79.0.2 as 65000; neighbor 10.77.0.9 as 65000; multihop; passive on; ipv4 { import all; export all; }; }
`
	bin := nstest.Need(t, "bird")
	startProgram(t, other, dir, bin, "-f", "-c", write(t, dir, "bird.conf", conf), "-s", dir+"/ctl")
	l.hub.IP("route add 10.79.0.2/32 via 10.78.0.2 dev side metric 10")
	r := startReal(t, l.hub, Config{})
	r.must(r.AddPeer(PeerConfig{Addr: netip.MustParseAddr("10.79.0.2"), LocalAddr: netip.MustParseAddr("10.77.0.9"), Interface: "side"}))
	nstest.Wait(t, 15*time.Second, "Established", func() bool { return r.Peers()[0].State == Established })
	if st := r.Peers()[0]; st.Local.Addr() != netip.MustParseAddr("10.77.0.9") || !st.Negotiated.Families.Has(wire.IPv4Unicast) {
		t.Errorf("%+v", st)
	}
}

// TestKilledReflector: BIRD as reflector is killed three times; we are back
// within seconds of its return each time (R26).
func TestKilledReflector(t *testing.T) { nstest.Steady(t, 20*time.Millisecond, testKilledReflector) }

func testKilledReflector(t testing.TB) {
	l := newLAN(t)
	b := startBIRD(l, 2, birdStatic+birdPeer(""))
	r := startReal(t, l.hub, Config{})
	r.must(r.AddPeer(PeerConfig{Addr: netip.MustParseAddr("10.77.0.2"), Families: bothFamilies}))
	for range 3 {
		r.waitPaths("192.0.2.0/24", 1)
		b.kill()
		r.waitPaths("192.0.2.0/24", 0)
		b.start()
		began := time.Now()
		r.waitState("10.77.0.2", Established)
		if d := time.Since(began); d > 6*time.Second {
			t.Errorf("back after %v", d)
		} else {
			t.Logf("back after %v", d)
		}
	}
}

// TestInterfaceAgain: a session over link-local addresses comes back after its interface was deleted
// and made again, with another index. Package net would go on with the old one for a minute.
// One side only listens, so that both, who dials and who accepts, must know the interface.
func TestInterfaceAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("namespace test")
	}
	dials, listens := nstest.New(t, "dials"), nstest.New(t, "listens")
	for range 3 {
		dials.IP("link add spare type veth peer name other") // other indexes than in the other namespace
		dials.IP("link del spare")
	}
	link := func() {
		nstest.Veth(dials, "eth0", "fe80::1/64", listens, "eth0", "fe80::2/64")
	}
	link()
	a := startReal(t, dials, Config{AS: 65001, RouterID: netip.MustParseAddr("192.0.2.1"), Listen: []netip.AddrPort{}})
	b := startReal(t, listens, Config{AS: 65002, RouterID: netip.MustParseAddr("192.0.2.2"), Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:179")}})
	a.must(a.AddPeer(PeerConfig{Addr: netip.MustParseAddr("fe80::2%eth0"), AS: 65002, ConnectRetry: time.Second}))
	b.must(b.AddPeer(PeerConfig{Addr: netip.MustParseAddr("fe80::1%eth0"), AS: 65001, Passive: true}))
	up := func(sessions int) {
		t.Helper()
		nstest.Wait(t, 15*time.Second, "Established", func() bool {
			p, q := a.Peers(), b.Peers()
			return len(p) == 1 && p[0].State == Established && p[0].Established == sessions && len(q) == 1 && q[0].State == Established && q[0].Established == sessions
		})
	}
	up(1)
	dials.IP("link del eth0")
	a.LinkDown("eth0")
	b.LinkDown("eth0")
	dials.IP("link add spare type veth peer name other")
	link()
	up(2)
}

package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/internal/ether"
	"github.com/hyperfib/hyperfib/internal/testing/hostile"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// hardware returns the MAC of an interface.
func hardware(t testing.TB, ns *nstest.NS, link string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(strings.TrimSpace(ns.Exec("cat", "/sys/class/net/"+link+"/address")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scene is who is who for the guest.
func (l lab) scene(t testing.TB) *hostile.Scene {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	return &hostile.Scene{
		MAC: hardware(t, l.guest, "eth0"), Router: hardware(t, l.hv, "vm1"), Own4: a("203.0.113.1"), Other4: a("203.0.113.2"),
		Own6: p("2001:db8:7100::/64"), Routed4: p("203.0.113.16/28"), Gateway4: a("203.0.113.254"), Gateway6: a("fe80::1"),
		Outside4: a("198.51.100.1"), Outside6: a("2001:db8:64::ff"), Fabric6: p("2001:db8:64::/64"),
		VTEP: a("172.22.2.1"), FarVTEP: a("172.22.2.2"), Local4: a("198.51.100.101"),
	}
}

// sends has a namespace send frames.
func sends(t *testing.T, ns *nstest.NS, link string, frames ...[]byte) {
	t.Helper()
	s, err := hostile.Open(ns.Path, link)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, f := range frames {
		if err := s.Send(f); err != nil {
			t.Fatal(err)
		}
	}
}

// hears counts frames that a namespace gets for a moment, by what they are.
func hears(t *testing.T, ns *nstest.NS, link string, what func(gopacket.Packet) bool, while func()) (n int) {
	t.Helper()
	ear, err := hostile.Hear(ns.Path, link)
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	while()
	for deadline := time.Now().Add(300 * time.Millisecond); ; {
		frame, err := ear.Next(deadline)
		if err != nil {
			return n
		}
		if what(gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)) {
			n++
		}
	}
}

func has(kind gopacket.LayerType) func(gopacket.Packet) bool {
	return func(p gopacket.Packet) bool { return p.Layer(kind) != nil }
}

func arpReply(p gopacket.Packet) bool {
	a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
	return ok && a.Operation == layers.ARPReply
}

// neighbours counts what the kernel has learned on an interface; permanent entries and
// those of multicast do not count.
func (l lab) neighbours(link string) (n int) {
	for _, f := range []string{"-4", "-6"} {
		for line := range strings.Lines(l.hv.IP(f + " neigh show dev " + link + " nud all")) {
			if !strings.Contains(line, "PERMANENT") && !strings.Contains(line, "NOARP") {
				n++
			}
		}
	}
	return n
}

func (l lab) drops(t *testing.T, what string) uint64 {
	t.Helper()
	drops, err := l.firewall.Drops()
	if err != nil {
		t.Fatal(err)
	}
	return drops[what]
}

func seq(n int, f func(uint32) []byte) (frames [][]byte) {
	for i := range n {
		frames = append(frames, f(uint32(i)))
	}
	return frames
}

// An interface that nobody named has no rights at all: a tap before it is attached and
// after, one that was renamed.
func TestNotAttached(t *testing.T) {
	l := newLab(t)
	loose := nstest.New(t, "loose")
	nstest.Veth(l.hv, "loose", "192.0.2.254/24 2001:db8:5::ff/64", loose, "eth0", "192.0.2.1/24 2001:db8:5::1/64")
	own := "fe80::" + strings.TrimPrefix(hostile.LinkLocalOf(hardware(t, l.hv, "loose")).String(), "fe80::") + "%eth0"
	nstest.Wait(t, 5*time.Second, "addresses", func() bool { return !strings.Contains(loose.IP("-6 addr show dev eth0"), "tentative") })
	loose.IP("route add default via 192.0.2.254")
	loose.IP("-6 route add default via 2001:db8:5::ff")
	l.public.IP("route add 192.0.2.0/24 via 198.51.100.101")
	sink, inner := listen(t, l.public, "198.51.100.1:7"), listen(t, loose, "192.0.2.1:7")
	s := spec()
	s.Domains = nil
	s.Host = append(s.Host, "loose")
	l.apply(t, s)
	loose.Exec("ping", "-c1", "-W5", own)
	send(t, loose, "198.51.100.1:7")
	arrived(t, sink)
	send(t, l.public, "192.0.2.1:7")
	arrived(t, inner)

	s.Host = []string{"lo"}
	l.apply(t, s)
	l.hv.IP("neigh flush dev loose")
	l.hv.IP("-6 neigh flush dev loose")
	for _, to := range []string{own, "192.0.2.254", "2001:db8:5::ff"} {
		if loose.Command("ping", "-c1", "-W1", to).Run() == nil {
			t.Errorf("%s answered", to)
		}
	}
	send(t, loose, "198.51.100.1:7")
	send(t, l.public, "192.0.2.1:7")
	l.dropped(t, "to-not-attached", 1)
	if n := l.neighbours("loose"); n > 0 {
		t.Errorf("%d neighbours learned:\n%s", n, l.hv.IP("neigh show dev loose"))
	}
	if len(sink)+len(inner) > 0 {
		t.Error("something was forwarded")
	}
	ping := l.scene(t).Ping4(netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.254"), 1)
	l.hv.IP("link set vm1 down")
	l.hv.IP("link set vm1 name um1")
	l.hv.IP("link set um1 up")
	before := l.drops(t, "not-attached")
	sends(t, l.guest, "eth0", ping)
	nstest.Wait(t, 5*time.Second, "a packet of the renamed interface to be dropped", func() bool { return l.drops(t, "not-attached") > before })
}

// RFC 6583, Section 4: the kernel learns nothing from a guest, whatever it says, and hears the
// addresses that it has a permanent entry for.
func TestNothingIsLearned(t *testing.T) {
	l := newLab(t)
	l.apply(t, spec())
	s := l.scene(t)
	own := netip.MustParseAddr("fe80::5254:33ff:fe00:7")
	for name, frame := range map[string]func(uint32) []byte{
		"NS from link-local":            func(n uint32) []byte { return s.Solicit(s.MAC, hostile.LinkLocal(n)) },
		"NS from its /64":               func(n uint32) []byte { return s.Solicit(s.MAC, hostile.Inside(s.Own6, n)) },
		"NS of another MAC":             func(n uint32) []byte { return s.Solicit(hostile.Station(n), own) },
		"RS":                            func(n uint32) []byte { return s.RouterSolicit(s.MAC, own) },
		"RA":                            func(n uint32) []byte { return s.RouterAdvert(s.MAC, hostile.LinkLocal(n)) },
		"NA":                            func(n uint32) []byte { return s.NeighborAdvert(s.MAC, own, hostile.Inside(s.Own6, n)) },
		"ping from link-local":          func(n uint32) []byte { return s.Ping6(hostile.LinkLocal(n), s.Gateway6, n) },
		"an option from link-local":     func(n uint32) []byte { return s.Option6(hostile.LinkLocal(n), s.Gateway6) },
		"a packet from link-local":      func(n uint32) []byte { return s.Ping6(hostile.LinkLocal(n), s.Outside6, n) },
		"a last hop from link-local":    func(n uint32) []byte { return s.Expiring(hostile.LinkLocal(n), s.Outside6, n) },
		"a packet to link-local":        func(n uint32) []byte { return s.Ping6(hostile.Inside(s.Own6, 1), hostile.LinkLocal(n), n) },
		"link-local to link-local":      func(n uint32) []byte { return s.Ping6(own, hostile.LinkLocal(n), n) },
		"a packet to the tap's address": func(n uint32) []byte { return s.Ping6(hostile.LinkLocal(n), hostile.LinkLocalOf(s.Router), n) },
		"ARP from its subnet": func(n uint32) []byte {
			return s.ARP(s.MAC, layers.ARPRequest, hostile.Inside(s.Routed4, n), s.Gateway4)
		},
		"ARP from another's":       func(n uint32) []byte { return s.ARP(s.MAC, layers.ARPRequest, s.Other4, s.Gateway4) },
		"ARP of another MAC":       func(n uint32) []byte { return s.ARP(hostile.Station(n), layers.ARPRequest, s.Own4, s.Gateway4) },
		"ARP reply of another MAC": func(n uint32) []byte { return s.ARP(hostile.Station(n), layers.ARPReply, s.Own4, s.Gateway4) },
	} {
		answers := hears(t, l.guest, "eth0", func(p gopacket.Packet) bool {
			return has(layers.LayerTypeICMPv6NeighborAdvertisement)(p) || arpReply(p)
		}, func() { sends(t, l.guest, "eth0", seq(20, frame)...) })
		if n := l.neighbours("vm1"); n+answers > 0 {
			t.Errorf("%s: %d neighbours learned, %d answers by the kernel:\n%s%s", name, n, answers, l.hv.IP("neigh show dev vm1"), l.hv.IP("-6 neigh show dev vm1"))
		}
	}
	for name, f := range map[string][]byte{
		"NS": s.Solicit(s.MAC, own), "ARP": s.ARP(s.MAC, layers.ARPRequest, s.Own4, s.Gateway4),
		"a probe": s.ARP(s.MAC, layers.ARPRequest, netip.IPv4Unspecified(), s.Gateway4),
	} {
		n := hears(t, l.guest, "eth0", func(p gopacket.Packet) bool {
			return has(layers.LayerTypeICMPv6NeighborAdvertisement)(p) || arpReply(p)
		}, func() {
			sends(t, l.guest, "eth0", f)
		})
		if n != 1 || l.neighbours("vm1") > 0 {
			t.Errorf("its own %s: %d answers, and learned:\n%s", name, n, l.hv.IP("neigh show dev vm1"))
		}
	}
}

// Whom a guest names as the sender of a packet that cannot be delivered gets no ICMP error
// from us: neither the private network, nor another guest, nor we ourselves. rp_filter does
// not look at packets without a route.
func TestErrorsToOthers(t *testing.T) {
	for name, change := range map[string]func(*Spec){
		"rules": func(*Spec) {},
		"marks": func(s *Spec) {
			s.MarkMask, s.Marks = 0xff, []Mark{{Value: 90, Interfaces: []string{"vm1", "a.public"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.hv.Sysctl("net/ipv4/conf/all/rp_filter", "1")
			l.hv.Sysctl("net/ipv4/icmp_ratelimit", "0")
			l.hv.IP("route add unreachable 203.0.113.0/24")
			l.hv.IP("route add 203.0.113.16/28 dev vm1")
			spec := spec()
			change(&spec)
			l.apply(t, spec)
			s, a := l.scene(t), netip.MustParseAddr
			nowhere := a("203.0.113.77")
			errors := func(ns *nstest.NS, link string, frame []byte) int {
				return hears(t, ns, link, func(p gopacket.Packet) bool {
					i, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
					return ok && i.TypeCode.Type() == layers.ICMPv4TypeDestinationUnreachable
				}, func() { sends(t, l.guest, "eth0", frame) })
			}
			before := l.drops(t, "spoofed-source")
			if n := errors(l.private, "eth0", s.Ping4(a("172.22.15.1"), nowhere, 1)); n > 0 {
				t.Errorf("%d errors to the private network", n)
			}
			if n := errors(l.public, "eth0", s.Ping4(a("198.51.100.1"), nowhere, 1)); n > 0 {
				t.Errorf("%d errors to the uplink", n)
			}
			if n := errors(l.hv, "lo", s.Ping4(a("172.22.2.1"), nowhere, 1)); n > 0 {
				t.Errorf("%d errors to ourselves", n)
			}
			if n := errors(l.guest, "eth0", s.Ping4(s.Own4, nowhere, 1)); n != 1 {
				t.Errorf("%d errors to the guest itself, want 1", n)
			}
			sends(t, l.guest, "eth0", s.Ping6(s.Gateway6, s.Outside6, 1))
			if n := l.drops(t, "spoofed-source") - before; n != 4 {
				t.Errorf("%d dropped as spoofed, want 4", n)
			}
			// DHCP is IPv4: a server of another family on port 67 is nobody's business.
			before = l.drops(t, "guest-to-hypervisor")
			ip, udp := hostile.IPv6(hostile.Inside(s.Own6, 1), a("2001:db8:64::1"), layers.IPProtocolUDP), &layers.UDP{SrcPort: 68, DstPort: 67}
			if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
				t.Fatal(err)
			}
			sends(t, l.guest, "eth0", s.Send6(ip, udp))
			nstest.Wait(t, 5*time.Second, "a datagram to port 67 over IPv6 to be dropped", func() bool { return l.drops(t, "guest-to-hypervisor") == before+1 })
		})
	}
}

// The kernel reads hop-by-hop options before the first rule, and says to the source that it
// does not know one, wherever that source is: an entry each time, unless few are said.
func TestOptionsThatNobodyKnows(t *testing.T) {
	l := newLab(t)
	loose := nstest.New(t, "loose")
	nstest.Veth(l.hv, "loose", "", loose, "eth0", "")
	l.apply(t, spec())
	s := l.scene(t)
	tap := s.For(hardware(t, loose, "eth0"), hardware(t, l.hv, "loose"))
	sends(t, l.guest, "eth0", seq(2000, func(n uint32) []byte { return s.Option6(hostile.LinkLocal(n), s.Gateway6) })...)
	sends(t, l.guest, "eth0", seq(2000, func(n uint32) []byte { return s.Option6(hostile.Inside(s.Fabric6, n), s.Outside6) })...)
	sends(t, loose, "eth0", seq(2000, func(n uint32) []byte { return tap.Option6(hostile.LinkLocal(n), hostile.LinkLocalOf(tap.Router)) })...)
	vm1, loosely, public := l.neighbours("vm1"), l.neighbours("loose"), l.neighbours("a.public")
	t.Logf("neighbours: %d, %d, %d", vm1, loosely, public)
	if vm1 > 0 || loosely > 0 || public > 2*parameterBurst {
		t.Errorf("%d neighbours on the guest's interface, %d on that of a tap, %d on the uplink", vm1, loosely, public)
	}
}

// A guest whose MAC nobody knows is asked, and its answers are let in: for its own
// addresses.
func TestResolved(t *testing.T) {
	l := newLab(t)
	s := spec()
	s.Guests[0].Resolved, s.Guests[0].MAC = true, ether.MAC{}
	s.Guests[0].Neighbors = addrs("203.0.113.1", "2001:db8:7100::1")
	l.hv.IP("neigh flush dev vm1 nud permanent")
	l.hv.IP("-6 neigh flush dev vm1 nud permanent")
	l.hv.IP("-6 route replace 2001:db8:7100::1/128 dev vm1")
	l.apply(t, s)
	for _, to := range []string{"203.0.113.1", "2001:db8:7100::1"} {
		l.hv.Exec("ping", "-c1", "-W5", to)
	}
	sc := l.scene(t)
	sends(t, l.guest, "eth0", seq(20, func(n uint32) []byte {
		return sc.ARP(hostile.Station(n), layers.ARPRequest, hostile.Inside(sc.Routed4, n), sc.Gateway4)
	})...)
	sends(t, l.guest, "eth0", seq(20, func(n uint32) []byte { return sc.Solicit(sc.MAC, hostile.LinkLocal(n)) })...)
	if n := l.neighbours("vm1"); n != 2 {
		t.Errorf("%d neighbours, want its two:\n%s%s", n, l.hv.IP("neigh show dev vm1"), l.hv.IP("-6 neigh show dev vm1"))
	}
}

// RFC 5927, Section 7; RFC 8201, Section 6: what a guest says about packets that were never sent to it changes
// nothing here and goes nowhere; what it says about those that were passes.
func TestICMPErrors(t *testing.T) {
	l := newLab(t)
	plain := spec()
	plain.Guests[0].Translations = nil // connection tracking would put fragments together
	l.apply(t, plain)
	s := l.scene(t)
	tooBig := func(p gopacket.Packet) bool {
		v6, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
		return has(layers.LayerTypeICMPv4)(p) || ok && v6.TypeCode.Type() < 128
	}
	udp, tcp, icmp, icmp6 := layers.IPProtocolUDP, layers.IPProtocolTCP, layers.IPProtocolICMPv4, layers.IPProtocolICMPv6
	own6 := hostile.Inside(s.Own6, 1)
	routed := hostile.Inside(s.Routed4, 3)
	local6, reflector6 := netip.MustParseAddr("2001:db8:64::1"), netip.MustParseAddr("2001:db8:64::ff")
	forged := map[string][]byte{
		"VXLAN, to the gateway":        s.TooBig4(s.Own4, s.Gateway4, hostile.Quote(s.VTEP, s.FarVTEP, udp, 5000, 4789)),
		"VXLAN, to the VTEP":           s.TooBig4(s.Own4, s.VTEP, hostile.Quote(s.VTEP, s.FarVTEP, udp, 5000, 4789)),
		"BGP":                          s.TooBig4(s.Own4, s.Local4, hostile.Quote(s.Local4, s.Outside4, tcp, 5000, 179)),
		"an echo reply of ours":        s.TooBig4(s.Own4, s.Local4, hostile.Quote(s.Local4, s.Outside4, icmp, 0, 0)),
		"another guest's flow":         s.TooBig4(s.Own4, s.Outside4, hostile.Quote(s.Outside4, s.Other4, udp, 7, 7)),
		"IPv6: an echo reply of ours":  s.TooBig6(own6, s.Gateway6, hostile.Quote(local6, reflector6, icmp6, 0, 0)),
		"IPv6: another guest's flow":   s.TooBig6(own6, s.Outside6, hostile.Quote(s.Outside6, netip.MustParseAddr("2001:db8:7101::1"), udp, 7, 7)),
		"IPv6: from its link-local":    s.TooBig6(netip.MustParseAddr("fe80::5254:33ff:fe00:7"), s.Gateway6, hostile.Quote(local6, reflector6, icmp6, 0, 0)),
		"too short to tell":            s.TooBig4(s.Own4, s.Outside4, hostile.Quote(s.Outside4, s.Own4, udp, 7, 7)[:12]),
		"in two fragments, the first":  hostile.Split(s.TooBig4(s.Own4, s.Local4, hostile.Quote(s.Local4, s.Outside4, icmp, 0, 0)), 8)[0],
		"a redirect to another guest":  s.Redirect4(s.Own4, s.Other4, hostile.Quote(s.Other4, s.Own4, udp, 7, 7)),
		"source quench about its flow": s.Quench4(s.Own4, s.Outside4, hostile.Quote(s.Outside4, s.Own4, udp, 7, 7)),
	}
	n := uint64(0)
	for name, frame := range forged {
		out := hears(t, l.public, "eth0", tooBig, func() { sends(t, l.guest, "eth0", frame) })
		n++
		if got := l.drops(t, "icmp-error"); got != n || out > 0 {
			t.Errorf("%s: %d dropped in all, want %d; %d came out", name, got, n, out)
		}
		n = l.drops(t, "icmp-error")
	}
	l.apply(t, spec())
	whole := hostile.Split(s.TooBig4(s.Own4, s.Local4, hostile.Quote(s.Local4, s.Outside4, icmp, 0, 0)), 8)
	n = l.drops(t, "icmp-error")
	sends(t, l.guest, "eth0", whole[:]...)
	l.dropped(t, "icmp-error", n+1)
	for _, f := range []string{"-4", "-6"} {
		if cache := l.hv.IP(f + " route show cache table all"); strings.Contains(cache, "mtu") {
			t.Errorf("path MTU: %s", cache)
		}
	}
	for name, frame := range map[string][]byte{
		"its own flow":       s.TooBig4(s.Own4, s.Outside4, hostile.Quote(s.Outside4, s.Own4, udp, 7, 7)),
		"of a subnet of its": s.TooBig4(s.Own4, s.Outside4, hostile.Quote(s.Outside4, routed, udp, 7, 7)),
		"IPv6: its own flow": s.TooBig6(own6, s.Outside6, hostile.Quote(s.Outside6, hostile.Inside(s.Own6, 9), udp, 7, 7)),
	} {
		out := hears(t, l.public, "eth0", tooBig, func() { sends(t, l.guest, "eth0", frame) })
		if out != 1 {
			t.Errorf("an error about %s: %d came out, want 1", name, out)
		}
	}
}

// Only the underlay says what becomes of packets between VTEPs, wherever else a stranger
// can reach an address of ours.
func TestErrorsAboutVTEPs(t *testing.T) {
	l := newLab(t)
	l.hv.IP("route add 172.22.2.2/32 via 172.22.15.1")
	l.hv.IP("link add name vx type vxlan id 100 local 172.22.2.1 dstport 4789")
	l.hv.IP("link set dev vx up")
	l.apply(t, spec())
	s := l.scene(t)
	mtu := func() string { return l.hv.IP("route get 172.22.2.2 from 172.22.2.1") }
	tell := func(ns *nstest.NS, link, from, to string) {
		sends(t, ns, "eth0", s.For(hardware(t, ns, "eth0"), hardware(t, l.hv, link)).TooBig4(netip.MustParseAddr(from), netip.MustParseAddr(to),
			hostile.Quote(s.VTEP, s.FarVTEP, layers.IPProtocolUDP, 5000, 4789)))
	}
	tell(l.public, "a.public", "198.51.100.1", "198.51.100.101")
	l.dropped(t, "icmp-error", 1)
	if got := mtu(); strings.Contains(got, "mtu") {
		t.Errorf("a stranger changed the path: %s", got)
	}
	tell(l.private, "a.private", "172.22.15.1", "172.22.2.1")
	nstest.Wait(t, 5*time.Second, "the underlay's word to count", func() bool { return strings.Contains(mtu(), "mtu 552") })
}

// Guests' own path MTU discovery works: towards a narrow link behind us, and towards their
// own.
func TestPathMTUDiscovery(t *testing.T) {
	l := newLab(t)
	l.apply(t, spec())
	l.hv.IP("link set a.public mtu 1400")
	for _, to := range []string{"198.51.100.1", "2001:db8:64::ff"} {
		out, _ := l.guest.Command("ping", "-M", "do", "-s", "1440", "-c2", "-i0.2", "-W1", to).CombinedOutput()
		if !strings.Contains(string(out), "mtu") {
			t.Errorf("a guest is not told that the way to %s is narrow: %s", to, out)
		}
	}
	l.hv.IP("link set a.public mtu 1500")
	l.hv.IP("link set vm1 mtu 1400")
	for _, to := range []string{"203.0.113.1", "2001:db8:7100::1"} {
		out, _ := l.public.Command("ping", "-M", "do", "-s", "1440", "-c2", "-i0.2", "-W1", to).CombinedOutput()
		if !strings.Contains(string(out), "mtu") {
			t.Errorf("nobody says that the way to %s is narrow: %s", to, out)
		}
	}
}

// A guest pings its gateway, also in fragments, and no other address of ours; IP options
// are dropped, whoever has them forwarded.
func TestWhatGuestsMayPing(t *testing.T) {
	l := newLab(t)
	l.apply(t, spec())
	for _, to := range []string{"203.0.113.254", "fe80::1%eth0"} {
		l.guest.Exec("ping", "-c1", "-W5", to)
		l.guest.Exec("ping", "-c2", "-i0.2", "-W5", "-s", "4000", to)
	}
	for _, to := range []string{"172.22.2.1", "172.22.15.101", "198.51.100.101", "2001:db8:64::1"} {
		if l.guest.Command("ping", "-c1", "-W1", to).Run() == nil {
			t.Errorf("%s answers a guest", to)
		}
	}
	s := l.scene(t)
	echo := has(layers.LayerTypeICMPv4)
	for name, o := range map[string]layers.IPv4Option{
		"timestamp": {OptionType: 68, OptionLength: 12, OptionData: []byte{5, 1, 0, 0, 0, 0, 0, 0, 0, 0}}, "record route": {OptionType: 7, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}},
		"router alert": {OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}, "loose source route": {OptionType: 131, OptionLength: 7, OptionData: []byte{4, 172, 22, 15, 1}},
	} {
		if n := hears(t, l.guest, "eth0", echo, func() { sends(t, l.guest, "eth0", s.Ping4(s.Own4, s.Gateway4, 1, o)) }); n > 0 {
			t.Errorf("%s: answered", name)
		}
		if n := hears(t, l.public, "eth0", echo, func() { sends(t, l.guest, "eth0", s.Ping4(s.Own4, s.Outside4, 1, o)) }); n > 0 {
			t.Errorf("%s: forwarded from the guest", name)
		}
		out := s.For(hardware(t, l.public, "eth0"), hardware(t, l.hv, "a.public"))
		if n := hears(t, l.guest, "eth0", echo, func() { sends(t, l.public, "eth0", out.Ping4(s.Outside4, s.Own4, 1, o)) }); n > 0 {
			t.Errorf("%s: forwarded to the guest", name)
		}
	}
}

// RFC 6583, Section 4: who scans an uplink's prefix makes us ask for some addresses and then for a few
// a second; whoever else asks for an address there is not hindered.
func TestScanOfTheFabric(t *testing.T) {
	l := newLab(t)
	other := nstest.New(t, "other")
	nstest.Veth(l.hv, "vm2", "fe80::1/64", other, "eth0", "2001:db8:7102::2/64")
	l.hv.IP("-6 route add 2001:db8:7102::2/128 dev vm2")
	other.IP("-6 route add default via fe80::1 dev eth0")
	other.IP("-6 neigh replace fe80::1 lladdr " + hardware(t, l.hv, "vm2").String() + " dev eth0 nud permanent")
	for i := range 20 {
		l.public.IP(fmt.Sprintf("-6 addr add 2001:db8:64::1:%x/64 dev eth0 nodad", i))
	}
	l.public.IP("-6 route add 2001:db8:7102::/64 via 2001:db8:64::1")
	l.apply(t, spec())
	s := l.scene(t)
	sends(t, l.guest, "eth0", seq(2000, func(n uint32) []byte { return s.Ping6(hostile.Inside(s.Own6, 1), hostile.Inside(s.Fabric6, n), n) })...)
	if n := l.neighbours("a.public"); n < resolveBurst/2 || n > 2*resolveBurst {
		t.Errorf("%d neighbours after a scan of 2000, want some %d", n, resolveBurst)
	}
	for i := range 20 {
		other.Exec("ping", "-c1", "-W5", fmt.Sprintf("2001:db8:64::1:%x", i))
	}
	if l.drops(t, "resolve-flood") < 1500 {
		t.Errorf("dropped: %d", l.drops(t, "resolve-flood"))
	}
}

// Only what is translated is tracked; what the operator's own rules want to know about the
// host's connections they are told.
func TestTracking(t *testing.T) {
	l := newLab(t)
	l.hv.Exec("nft", "add table inet operator; add chain inet operator in { type filter hook input priority 10; }; "+
		"add rule inet operator in ct state established counter")
	s := spec()
	translations := s.Guests[0].Translations
	s.Guests[0].Translations = nil
	s.Host = append(s.Host, "a.private")
	s.Uplinks = []string{"a.public"}
	l.apply(t, s)
	tracked := func() string {
		return strings.TrimSpace(l.hv.Exec("cat", "/proc/sys/net/netfilter/nf_conntrack_count"))
	}
	l.guest.Exec("ping", "-c1", "-W5", "198.51.100.1")
	l.public.Exec("ping", "-c1", "-W5", "203.0.113.1")
	l.guest.Exec("ping", "-c1", "-W5", "203.0.113.254")
	l.hv.Exec("ping", "-c1", "-W5", "203.0.113.1")
	if n := tracked(); n != "0" {
		t.Errorf("%s flows of guests are tracked", n)
	}
	sink := listen(t, l.hv, "198.51.100.101:179")
	send(t, l.public, "198.51.100.101:3784")
	send(t, l.public, "198.51.100.101:4789")
	_ = sink
	if n := tracked(); n != "0" {
		t.Errorf("%s flows of BFD and VXLAN are tracked", n)
	}
	l.hv.Exec("ping", "-c1", "-W5", "198.51.100.1") // an uplink carries the host's own connections, too
	l.hv.Exec("ping", "-c1", "-W5", "172.22.15.1")
	if n := tracked(); n != "2" {
		t.Errorf("%s of the host's own flows are tracked, want 2", n)
	}
	if out := l.hv.Exec("nft", "list", "chain", "inet", "operator", "in"); !strings.Contains(out, "packets 2 ") {
		t.Errorf("the operator's rule saw: %s", out)
	}
	l.hv.IP("route add 203.0.113.11/32 via 203.0.113.1 dev vm1 onlink")
	s.Guests[0].Translations = translations
	l.apply(t, s)
	l.public.Exec("ping", "-c1", "-W5", "203.0.113.11")
	if n := tracked(); n != "3" {
		t.Errorf("%s flows are tracked, want one more", n)
	}
}

// A flow of a transparent address goes on when the tables are replaced, and when another
// process applies them.
func TestTransparentFlowsSurvive(t *testing.T) {
	l := newLab(t)
	l.hv.IP("route add 203.0.113.11/32 via 203.0.113.1 dev vm1 onlink")
	l.apply(t, spec())
	var server, client net.Conn
	accepted := make(chan net.Conn, 1)
	l.guest.Do(func() error {
		ln, err := net.Listen("tcp", ":80")
		if err != nil {
			return err
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			c, err := ln.Accept()
			if err == nil {
				accepted <- c
			}
		}()
		return nil
	})
	l.public.Do(func() (err error) {
		client, err = net.DialTimeout("tcp", "203.0.113.11:80", nstest.Patience)
		return err
	})
	defer client.Close()
	server = <-accepted
	defer server.Close()
	say := func(when string) {
		t.Helper()
		for _, dir := range [][2]net.Conn{{client, server}, {server, client}} {
			_, err := dir[0].Write([]byte("x"))
			_ = dir[1].SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err2 := dir[1].Read(make([]byte, 8)); err != nil || err2 != nil {
				t.Fatalf("%s: %v %v", when, err, err2)
			}
		}
	}
	say("begin")
	s := spec()
	s.LogRate = 0 // another set of rules
	l.apply(t, s)
	say("replaced")
	if err := New(l.hv.Path).Apply(spec()); err != nil {
		t.Fatal(err)
	}
	say("another process")
	s.Guests[0].Translations = nil
	l.apply(t, s)
	l.apply(t, spec())
	say("not translated for a moment")
}

// What changes in sets alone leaves rules, counters and other guests alone.
func TestGuestsComeAndGo(t *testing.T) {
	l := newLab(t)
	s := spec()
	first := s.Guests[:1]
	s.Guests = first
	l.apply(t, s)
	send(t, l.guest, "203.0.113.254:99")
	l.dropped(t, "guest-to-hypervisor", 1)
	list := func() string { return unremembered(l.hv.Exec("nft", "-s", "list", "ruleset")) }
	before := list()
	s.Guests = spec().Guests
	s.Guests[0].Neighbors = addrs("203.0.113.1", "203.0.113.17", "fe80::5254:33ff:fe00:7", "fe80::99")
	s.Guests[0].Prefixes = prefixes("203.0.113.1/32", "203.0.113.32/28", "2001:db8:7101::/64")
	l.apply(t, s)
	l.dropped(t, "guest-to-hypervisor", 1)
	if got := list(); !strings.Contains(got, `"vm1" . 203.0.113.32`) || !strings.Contains(got, "fe80::99") || !strings.Contains(got, `"vm2" . 2001:db8:7102::2`) {
		t.Errorf("the tables are\n%s", got)
	}
	s.Guests = spec().Guests[:1]
	l.apply(t, s)
	l.dropped(t, "guest-to-hypervisor", 1)
	if got := list(); got != before {
		t.Errorf("after a guest has come and gone the tables are\n%s\nwere\n%s", got, before)
	}
}

// The bridge of an overlay answers nobody and learns nothing.
func TestOverlayIsDeaf(t *testing.T) {
	l := newLab(t)
	member := nstest.New(t, "member")
	l.hv.IP("link add name br100 type bridge")
	l.hv.IP("link set dev br100 up")
	nstest.Veth(l.hv, "vm1.vx", "", member, "eth0", "192.168.5.1/24")
	l.hv.IP("link set vm1.vx master br100")
	s := l.scene(t).For(hardware(t, member, "eth0"), hardware(t, l.hv, "br100"))
	ask := func() int {
		var frames [][]byte
		for i, a := range []string{"172.22.2.1", "203.0.113.254", "198.51.100.101", "172.22.15.101"} {
			frames = append(frames, s.ARP(hostile.Station(uint32(i)), layers.ARPRequest, netip.AddrFrom4([4]byte{192, 168, 5, byte(i + 10)}), netip.MustParseAddr(a)))
		}
		return hears(t, member, "eth0", arpReply, func() { sends(t, member, "eth0", frames...) })
	}
	nstest.Wait(t, 5*time.Second, "an answer without the firewall", func() bool { return ask() > 0 })
	l.hv.IP("neigh flush dev br100")
	l.apply(t, spec())
	if n := ask(); n+l.neighbours("br100") > 0 {
		t.Errorf("%d answers, and learned:\n%s", n, l.hv.IP("neigh show dev br100"))
	}
}

// Once the table of connections is half full, an address that has more than its part gets
// no new flows; those that it has go on, and others get theirs.
func TestBalance(t *testing.T) {
	l := newLab(t)
	other := nstest.New(t, "other")
	nstest.Veth(l.hv, "vm2", "203.0.113.254/32", other, "eth0", "203.0.113.2/24")
	other.IP("route add default via 203.0.113.254")
	l.hv.IP("route add 203.0.113.2/32 dev vm2")
	l.hv.IP("route add 203.0.113.11/32 via 203.0.113.1 dev vm1 onlink")
	l.hv.IP("route add 203.0.113.12/32 via 203.0.113.2 dev vm2 onlink")
	s := spec()
	s.Guests[1].Translations = []Translation{{netip.MustParseAddr("203.0.113.12"), netip.MustParseAddr("203.0.113.2")}}
	l.apply(t, s)
	l.firewall.room = 200
	crowd, calm := listen(t, l.guest, "203.0.113.1:7"), listen(t, other, "203.0.113.2:7")
	for range 90 {
		send(t, l.public, "203.0.113.11:7")
		<-crowd
	}
	if over, err := l.firewall.balance(); len(over) > 0 || err != nil {
		t.Fatalf("held back before the table is half full: %v %v", over, err)
	}
	var old net.Conn
	l.public.Do(func() (err error) {
		old, err = net.Dial("udp", "203.0.113.11:7")
		return err
	})
	defer old.Close()
	say := func() {
		if _, err := old.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	say()
	arrived(t, crowd)
	for range 20 {
		send(t, l.public, "203.0.113.11:7")
		<-crowd
	}
	over, err := l.firewall.balance()
	if err != nil || len(over) != 1 || over[netip.MustParseAddr("203.0.113.11")] < 100 {
		t.Fatalf("held back: %v %v", over, err)
	}
	before := l.drops(t, "flow-flood")
	send(t, l.public, "203.0.113.11:7")
	l.dropped(t, "flow-flood", before+1)
	say()
	arrived(t, crowd)
	send(t, l.public, "203.0.113.12:7")
	arrived(t, calm)
	if len(crowd) > 0 {
		t.Error("a new flow of an address that is held back arrived")
	}
}

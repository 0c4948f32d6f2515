package edge

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/ndp"
)

// TestAbuseIsCounted has a guest claim what is not its own, ask for what nobody has, and flood,
// in each protocol: the counters of that protocol and reason say so, those of a guest that asks
// as it should say nothing, and they go with the guest.
func TestAbuseIsCounted(t *testing.T) {
	c := parse(t, `
edge: {gateway4: 203.0.113.254, arp: responder, mac: "02:00:00:00:00:fe", dhcp: {on: true}}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1], ipv6: ["2001:db8:1::7/128"]}
`)
	e := newEdgeTest(t, c)
	e.Target(netip.MustParsePrefix("203.0.113.3/32"), 0)
	e.Target(netip.MustParsePrefix("2001:db8:1::9/128"), 0)
	e.Arrive(c, e.port)
	e.Serve(c, e.port)
	e.hears("ARP 203.0.113.3 at 02:00:00:00:00:fe", e.ask4("203.0.113.3"))
	e.hears("NDP 2001:db8:1::9 at 02:00:00:00:00:fe", e.ask6("2001:db8:1::9"))
	e.vm.IP("route replace default dev eth0") // for broadcasts
	for _, a := range e.Abuse(e.port) {
		for reason, n := range a.Refused {
			if n > 0 {
				t.Errorf("%s: %d messages refused as %s before any abuse", a.Protocol, n, reason)
			}
		}
	}

	mac, other, stranger := arp.MAC(e.port.MAC), netip.MustParseAddr("203.0.113.3"), arp.MAC{2, 0, 0, 0, 0, 9}
	write4 := func(frames ...arp.Frame) func() { return func() { _, _ = e.arp.Write(frames) } }
	claim := arp.NewRequest(arp.MAC{2, 0, 0, 0, 0, 0xfe}, netip.MustParseAddr("203.0.113.1"), other).Answer(mac).On(e.link)
	claim.Dst = arp.Broadcast
	solicit := func(src, target string) ndp.Packet {
		to := netip.MustParseAddr(target)
		ns := ndp.NeighborSolicitation{Target: to, SourceLinkAddr: ndp.MAC(mac)}
		body, _ := ns.AppendBinary(nil)
		return ndp.Packet{IfIndex: e.link, SrcMAC: ndp.MAC(mac), DstMAC: ndp.GroupMAC(ndp.SolicitedNode(to)), HopLimit: 255,
			Src: netip.MustParseAddr(src), Dst: ndp.SolicitedNode(to), Body: body}
	}
	write6 := func(packets ...ndp.Packet) func() { return func() { _, _ = e.nd.Write(packets) } }
	discover := func(times int, change ...dhcpv4.Modifier) func() {
		m, err := dhcpv4.NewDiscovery(net.HardwareAddr(mac[:]), change...)
		if err != nil {
			t.Fatal(err)
		}
		b := m.ToBytes()
		return func() {
			for range times {
				e.broadcast(b)
			}
		}
	}
	for _, abuse := range []struct {
		protocol, reason string
		do               func()
	}{
		{"arp", "spoofed", write4(arp.NewAnnouncement(mac, other).On(e.link))},
		{"arp", "spoofed", write4(claim)},
		{"arp", "spoofed", write4(arp.NewRequest(stranger, netip.MustParseAddr("203.0.113.1"), other).On(e.link))},
		{"arp", "unallocated", e.ask4("203.0.113.77")},
		{"arp", "limited", write4(slices.Repeat([]arp.Frame{arp.NewRequest(mac, netip.MustParseAddr("203.0.113.1"), other).On(e.link)}, 3000)...)},
		{"arp", "", write4(slices.Repeat([]arp.Frame{arp.NewRequest(mac, netip.MustParseAddr("203.0.113.1"), other).On(e.link)}, 3000)...)},
		{"nd", "spoofed", write6(solicit("2001:db8:1::9", "2001:db8:1::9"))},
		{"nd", "unallocated", e.ask6("2001:db8:1::77")},
		{"nd", "limited", write6(slices.Repeat([]ndp.Packet{solicit("2001:db8:1::7", "2001:db8:1::9")}, 3000)...)},
		{"nd", "", write6(slices.Repeat([]ndp.Packet{solicit("2001:db8:1::7", "2001:db8:1::9")}, 3000)...)},
		{"dhcp", "spoofed", discover(1, dhcpv4.WithHwAddr(stranger[:]))},
		{"dhcp", "spoofed", discover(1, dhcpv4.WithGatewayIP(net.IPv4(192, 0, 2, 9)))},
		{"dhcp", "replied", discover(1, func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootReply })},
		{"dhcp", "not-leased", discover(1, dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(203, 0, 113, 3))))},
		{"dhcp", "other-server", discover(1, dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 9))))},
		{"dhcp", "malformed", func() { e.broadcast([]byte("not DHCP")) }},
		{"dhcp", "limited", discover(50)},
		{"dhcp", "", discover(500)},
	} {
		what := abuse.protocol + " " + abuse.reason
		if abuse.reason == "" {
			what = abuse.protocol + " silenced"
		}
		before := e.counted(abuse.protocol, abuse.reason)
		nstest.Wait(t, 30*time.Second, what+" to be counted", func() bool {
			abuse.do()
			time.Sleep(20 * time.Millisecond) // it is heard on another goroutine
			return e.counted(abuse.protocol, abuse.reason) > before
		})
	}
	e.Leave(e.port, true)
	if list := e.Abuse(e.port); len(list) > 0 {
		t.Errorf("of a guest that is gone: %v", list)
	}
}

// counted returns one counter of the guest; without a reason, how often it was silenced.
func (e *edgeTest) counted(protocol, reason string) uint64 {
	for _, a := range e.Abuse(e.port) {
		if a.Protocol == protocol && reason == "" {
			return a.Silenced
		} else if n, ok := a.Refused[reason]; ok && a.Protocol == protocol {
			return n
		}
	}
	e.t.Fatalf("%s %s is not counted", protocol, reason)
	return 0
}

// broadcast has the guest send from the port of clients to that of servers.
func (e *edgeTest) broadcast(b []byte) {
	e.vm.Do(func() error {
		c, err := net.ListenPacket("udp4", "0.0.0.0:68")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.WriteTo(b, &net.UDPAddr{IP: net.IPv4bcast, Port: 67})
		return err
	})
}

package dhcp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

var (
	mac   = net.HardwareAddr{0x50, 0x54, 0x33, 0, 0, 7}
	lease = Lease{
		Address: netip.MustParseAddr("203.0.113.1"), Gateway: netip.MustParseAddr("203.0.113.254"),
		MAC: mac, Length: 24, DNS: []netip.Addr{netip.MustParseAddr("8.8.8.8")}, HostName: "vm1", MTU: 1400,
	}
)

func request(t *testing.T, kind dhcpv4.MessageType, options ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(kind)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The cells of RFC 2131, Section 4.3: what is asked, and what is answered.
func TestAnswer(t *testing.T) {
	const none = dhcpv4.MessageTypeNone
	wants := func(s string) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(s)))
	}
	has := func(s string) dhcpv4.Modifier { return dhcpv4.WithClientIP(net.ParseIP(s)) }
	server := func(s string) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(s)))
	}
	tests := []struct {
		name    string
		request *dhcpv4.DHCPv4
		answer  dhcpv4.MessageType
	}{
		{"discover", request(t, dhcpv4.MessageTypeDiscover), dhcpv4.MessageTypeOffer},
		{"discover wants another address", request(t, dhcpv4.MessageTypeDiscover, wants("203.0.113.9")), dhcpv4.MessageTypeOffer},
		{"selecting us", request(t, dhcpv4.MessageTypeRequest, server("203.0.113.254"), wants("203.0.113.1")), dhcpv4.MessageTypeAck},
		{"selecting us, wrong address", request(t, dhcpv4.MessageTypeRequest, server("203.0.113.254"), wants("203.0.113.2")), dhcpv4.MessageTypeNak},
		{"selecting another server", request(t, dhcpv4.MessageTypeRequest, server("192.0.2.1"), wants("203.0.113.1")), none},
		{"init-reboot", request(t, dhcpv4.MessageTypeRequest, wants("203.0.113.1")), dhcpv4.MessageTypeAck},
		{"init-reboot on a foreign network", request(t, dhcpv4.MessageTypeRequest, wants("192.168.1.5")), dhcpv4.MessageTypeNak},
		{"renewing", request(t, dhcpv4.MessageTypeRequest, has("203.0.113.1")), dhcpv4.MessageTypeAck},
		{"renewing another's", request(t, dhcpv4.MessageTypeRequest, has("203.0.113.3")), dhcpv4.MessageTypeNak},
		{"request without any address", request(t, dhcpv4.MessageTypeRequest), dhcpv4.MessageTypeNak},
		{"inform", request(t, dhcpv4.MessageTypeInform, has("203.0.113.1")), dhcpv4.MessageTypeAck},
		{"decline", request(t, dhcpv4.MessageTypeDecline, wants("203.0.113.1")), none},
		{"release", request(t, dhcpv4.MessageTypeRelease, has("203.0.113.1")), none},
		{"another MAC", request(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 1})), none},
		{"a reply", request(t, dhcpv4.MessageTypeOffer, func(d *dhcpv4.DHCPv4) { d.OpCode = dhcpv4.OpcodeBootReply }), none},
	}
	for _, test := range tests {
		got := none
		if reply := Answer(test.request, lease); reply != nil {
			got = reply.MessageType()
			if reply.TransactionID != test.request.TransactionID {
				t.Errorf("%s: another transaction", test.name)
			}
		}
		if got != test.answer {
			t.Errorf("%s: answered %v, want %v", test.name, got, test.answer)
		}
	}
}

func TestWhatAGuestIsGiven(t *testing.T) {
	ack := Answer(request(t, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(ip(lease.Address)),
		dhcpv4.WithOption(dhcpv4.OptClientIdentifier([]byte{1, 2, 3}))), lease)
	for what, ok := range map[string]bool{
		"yiaddr":            ack.YourIPAddr.Equal(net.IPv4(203, 0, 113, 1)),
		"ciaddr":            ack.ClientIPAddr.Equal(net.IPv4(203, 0, 113, 1)),
		"mask":              ack.SubnetMask().String() == "ffffff00",
		"router":            ack.Router()[0].Equal(net.IPv4(203, 0, 113, 254)),
		"dns":               ack.DNS()[0].Equal(net.IPv4(8, 8, 8, 8)),
		"lease":             ack.IPAddressLeaseTime(0) == time.Hour,
		"T1":                ack.IPAddressRenewalTime(0) == 30*time.Minute,
		"host name":         ack.HostName() == "vm1",
		"mtu":               string(ack.Options.Get(dhcpv4.OptionInterfaceMTU)) == "\x05\x78",
		"client identifier": string(ack.Options.Get(dhcpv4.OptionClientIdentifier)) == "\x01\x02\x03",
		"no routes":         ack.ClasslessStaticRoute() == nil,
	} {
		if !ok {
			t.Errorf("%s is wrong in\n%s", what, ack.Summary())
		}
	}
}

func TestHostLeaseHasRoutes(t *testing.T) {
	host := lease
	host.Length = 32
	offer := Answer(request(t, dhcpv4.MessageTypeDiscover), host)
	routes := offer.ClasslessStaticRoute()
	if len(routes) != 2 || routes[0].String() != "route to 203.0.113.254/32 via 0.0.0.0" ||
		routes[1].String() != "route to 0.0.0.0/0 via 203.0.113.254" {
		t.Errorf("routes %v", routes)
	}
}

func TestRelay(t *testing.T) {
	giaddr := netip.MustParseAddr("172.22.2.1")
	p := forward(request(t, dhcpv4.MessageTypeDiscover), "vm1", lease, giaddr)
	info := p.RelayAgentInfo()
	if p.HopCount != 1 || !p.GatewayIPAddr.Equal(ip(giaddr)) || string(info.Get(dhcpv4.AgentCircuitIDSubOption)) != "vm1" {
		t.Fatalf("forwarded\n%s", p.Summary())
	}
	reply := Answer(p, lease)
	reply.UpdateOption(dhcpv4.OptRelayAgentInfo(dhcpv4.OptGeneric(dhcpv4.AgentCircuitIDSubOption, []byte("vm1"))))
	if name := backward(reply, giaddr); name != "vm1" || reply.RelayAgentInfo() != nil {
		t.Errorf("came back for %q with %v", name, reply.RelayAgentInfo())
	}
	if name := backward(reply, giaddr); name != "" {
		t.Errorf("a reply without relay information came back for %q", name)
	}
	if forward(p, "vm1", lease, giaddr) != nil {
		t.Error("a guest's own relay information was believed")
	}
	loop := request(t, dhcpv4.MessageTypeDiscover)
	loop.HopCount = maxHops
	if forward(loop, "vm1", lease, giaddr) != nil {
		t.Error("16 hops were not the end")
	}
}

func TestPacketAsGopacketSeesIt(t *testing.T) {
	for _, payload := range []string{"", "x", "odd", "even"} {
		b := appendPacket(nil, lease.Gateway, lease.Address, []byte(payload))
		p := gopacket.NewPacket(b, layers.LayerTypeIPv4, gopacket.Default)
		udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if udp == nil || udp.SrcPort != 67 || udp.DstPort != 68 || string(udp.Payload) != payload {
			t.Fatalf("%q: %v", payload, p)
		}
		again := gopacket.NewSerializeBuffer()
		network := p.NetworkLayer().(*layers.IPv4)
		if err := udp.SetNetworkLayerForChecksum(network); err != nil {
			t.Fatal(err)
		}
		err := gopacket.SerializeLayers(again, gopacket.SerializeOptions{ComputeChecksums: true, FixLengths: true},
			network, udp, gopacket.Payload(payload))
		if err != nil || string(again.Bytes()) != string(b) {
			t.Errorf("%q: gopacket writes\n%x, we\n%x (%v)", payload, again.Bytes(), b, err)
		}
	}
}

func TestBucket(t *testing.T) {
	var b bucket
	now := time.Unix(0, 0)
	taken := 0
	for range 1000 {
		if b.take(now) {
			taken++
		}
	}
	if taken != burst {
		t.Errorf("%d at once, want %d", taken, burst)
	}
	for range 10 { // a second, in steps
		now = now.Add(100 * time.Millisecond)
		if b.take(now) {
			taken++
		}
	}
	if taken != burst+rate {
		t.Errorf("%d after a second, want %d", taken, burst+rate)
	}
}

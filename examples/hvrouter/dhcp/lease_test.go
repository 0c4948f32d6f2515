package dhcp

import (
	"net"
	"net/netip"
	"strings"
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
		Others: []netip.Addr{netip.MustParseAddr("203.0.113.11")}, MAC: mac, Length: 24, DNS: []netip.Addr{netip.MustParseAddr("8.8.8.8")}, HostName: "vm1", MTU: 1400,
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
		{"inform from another address of the guest's", request(t, dhcpv4.MessageTypeInform, has("203.0.113.11")), dhcpv4.MessageTypeAck},
		{"inform from nowhere", request(t, dhcpv4.MessageTypeInform), none},
		{"inform from another's address", request(t, dhcpv4.MessageTypeInform, has("203.0.113.2")), none},
		{"inform from everywhere", request(t, dhcpv4.MessageTypeInform, has("255.255.255.255")), none},
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

// TestSizes: what a client does not take is left out, the least important first (RFC
// 2132, Section 9.10), and what it must have stays.
func TestSizes(t *testing.T) {
	big := lease
	big.Length = 32
	big.HostName = strings.Repeat("a", 63) + "." + strings.Repeat("b", 63)
	big.DNS = nil
	for i := range 63 {
		big.DNS = append(big.DNS, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	id := dhcpv4.WithOption(dhcpv4.OptClientIdentifier(make([]byte, 250)))
	takes := func(n uint16) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(n)) }
	for _, tc := range []struct {
		what    string
		options []dhcpv4.Modifier
		size    int // of the datagram, at most
		dns     int
		name    bool
	}{
		{"nothing", nil, 576, 62, false},
		{"less than is legal", []dhcpv4.Modifier{takes(100)}, 576, 62, false},
		{"a long client identifier", []dhcpv4.Modifier{id}, 576, 0, false},
		{"a little more", []dhcpv4.Modifier{takes(650)}, 650, 63, false},
		{"an Ethernet", []dhcpv4.Modifier{takes(1500)}, 1500, 63, true},
		{"more than an Ethernet", []dhcpv4.Modifier{takes(65535), id}, 1500, 63, true},
	} {
		offer := Answer(request(t, dhcpv4.MessageTypeDiscover, tc.options...), big)
		if n := len(appendPacket(nil, big.Gateway, big.Address, offer.ToBytes())); n > tc.size {
			t.Errorf("%s: %d octets", tc.what, n)
		}
		if n := len(offer.DNS()); n != tc.dns || offer.HostName() != "" != tc.name {
			t.Errorf("%s: %d DNS servers, host name %q", tc.what, n, offer.HostName())
		}
		if len(offer.ClasslessStaticRoute()) != 2 || offer.IPAddressLeaseTime(0) == 0 || offer.SubnetMask() == nil || offer.ServerIdentifier() == nil {
			t.Errorf("%s: what a client must have is missing in\n%s", tc.what, offer.Summary())
		}
		if tc.options == nil && offer.IPAddressRenewalTime(0) == 0 {
			t.Errorf("%s: left out more than it had to", tc.what)
		}
	}
}

func TestHostNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, ok := range map[string]bool{
		"vm1": true, "VM-1.example.org": true, "1": true, long: true, long + "." + long + "." + long + "." + long[:61]: true,
		"": false, "a b": false, "vm1;reboot": false, "$(reboot)": false, "vm_1": false, "@vnet0": false, "-a": false, "a-": false,
		".a": false, "a.": false, "a..b": false, "ä": false, "a\x00": false, long + "a": false, long + "." + long + "." + long + "." + long[:62]: false,
	} {
		l := lease
		l.HostName = name
		if got := Answer(request(t, dhcpv4.MessageTypeDiscover), l).HostName(); HostName(name) != ok || ok && got != name || !ok && got != "" {
			t.Errorf("%q: %v, the guest is given %q", name, HostName(name), got)
		}
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

package dhcp

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/hyperfib/hyperfib/internal/testing/captures"
)

// Whatever a guest or a server sends, nothing panics, and what is sent on because of it
// can be read again, and is for the guest that has the lease.
func FuzzMessage(f *testing.F) {
	for _, p := range captures.Read(f, "testdata/captures.txt") {
		f.Add(p.Data)
	}
	giaddr := netip.MustParseAddr("172.22.2.1")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, l := range []Lease{lease, {Address: lease.Address, Gateway: lease.Gateway, Length: 32}} {
			if p := parse(b); p != nil {
				if reply := Answer(p, l); reply != nil {
					checkAnswer(t, reply, l)
				}
			}
			p := parse(b)
			if p == nil {
				return
			}
			sent := forward(p, "vm1", l, giaddr)
			if sent == nil {
				continue
			}
			again := parse(sent.ToBytes())
			if again == nil || !again.GatewayIPAddr.Equal(ip(giaddr)) || again.HopCount == 0 || again.HopCount > maxHops {
				t.Fatalf("relayed as %v", sent.Summary())
			}
			again.OpCode = dhcpv4.OpcodeBootReply
			if name := backward(again, giaddr); name != "vm1" || again.Options.Has(dhcpv4.OptionRelayAgentInformation) {
				t.Fatalf("came back for %q: %v", name, again.Summary())
			}
		}
		if p := parse(b); p != nil {
			backward(p, giaddr)
		}
	})
}

func parse(b []byte) *dhcpv4.DHCPv4 {
	p, err := dhcpv4.FromBytes(bytes.Clone(b))
	if err != nil {
		return nil
	}
	return p
}

func checkAnswer(t *testing.T, reply *dhcpv4.DHCPv4, l Lease) {
	t.Helper()
	again := parse(reply.ToBytes())
	if again == nil || again.OpCode != dhcpv4.OpcodeBootReply || !again.ServerIdentifier().Equal(ip(l.Gateway)) {
		t.Fatalf("answered %v", reply.Summary())
	}
	if !l.belongsTo(again.ClientHWAddr) {
		t.Fatalf("answered %v, whose lease it is not", again.ClientHWAddr)
	}
	if y := again.YourIPAddr; !y.IsUnspecified() && !y.Equal(ip(l.Address)) {
		t.Fatalf("gave %v away", y)
	}
}

// Every capture is read, and what clients said is answered.
func TestCaptures(t *testing.T) {
	answered := 0
	for _, c := range captures.Read(t, "testdata/captures.txt") {
		p := parse(c.Data)
		if p == nil {
			t.Errorf("%s is not read", c.Name)
			continue
		}
		client := lease
		client.MAC = nil // each had its own
		if Answer(p, client) != nil {
			answered++
		}
	}
	if answered != 4 {
		t.Errorf("%d of 4 clients' messages are answered", answered)
	}
}

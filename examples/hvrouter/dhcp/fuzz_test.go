package dhcp

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/hyperfib/hyperfib/internal/testing/captures"
)

// Whatever a guest or a server sends, nothing panics, and what is sent on because of it
// can be read again, is for the guest that has the lease, and is what it asked for.
func FuzzMessage(f *testing.F) {
	for _, p := range captures.Read(f, "testdata/captures.txt") {
		f.Add(p.Data, p.Data)
	}
	giaddr := netip.MustParseAddr("172.22.2.1")
	f.Fuzz(func(t *testing.T, b, answer []byte) {
		now := time.Unix(0, 0)
		for _, l := range []Lease{lease, {Address: lease.Address, Gateway: lease.Gateway, Length: 32}} {
			c := newCore()
			c.set(7, "vm1", l)
			fx := c.fromGuest(now, bytes.Clone(b), 7)
			if fx.answer != nil {
				checkAnswer(t, fx.answer, l)
			}
			destinationOf(t, fx.answer)
			c.relay = Relay{[]netip.Addr{netip.MustParseAddr("192.0.2.2")}, giaddr}
			fx = c.fromGuest(now, bytes.Clone(b), 7)
			if fx.answer != nil {
				t.Fatalf("a relay answers %v", fx.answer.Summary())
			}
			if fx.toServers != nil {
				again := parse(fx.toServers.ToBytes())
				if again == nil || !again.GatewayIPAddr.Equal(ip(giaddr)) || again.HopCount == 0 || again.HopCount > maxHops {
					t.Fatalf("relayed as %v", fx.toServers.Summary())
				}
				again.OpCode = dhcpv4.OpcodeBootReply
				back := c.fromServer(now, again.ToBytes(), originOf("192.0.2.2", nil))
				if back.to == nil || back.answer.Options.Has(dhcpv4.OptionRelayAgentInformation) {
					t.Fatalf("did not come back: %v", again.Summary())
				}
				if p := parse(b); !bytes.Equal(p.Options.Get(dhcpv4.OptionClientIdentifier), back.answer.Options.Get(dhcpv4.OptionClientIdentifier)) {
					t.Fatalf("another client identifier: %v", back.answer.Summary())
				}
			}
			for _, leads := range []bool{true, false} {
				from := originOf("192.0.2.2", nil)
				from.leads = leads
				fx = c.fromServer(now, bytes.Clone(answer), from)
				if p := parse(b); fx.answer != nil && (!leads || p == nil || fx.answer.TransactionID != p.TransactionID) {
					t.Fatalf("nobody asked for %v", fx.answer.Summary())
				}
				destinationOf(t, fx.answer)
			}
		}
	})
}

// destinationOf checks that an answer goes to somewhere that can be.
func destinationOf(t *testing.T, p *dhcpv4.DHCPv4) {
	t.Helper()
	if p == nil {
		return
	}
	mac, to, ok := destination(p)
	if all := mac == [6]byte{255, 255, 255, 255, 255, 255}; ok && (!to.Is4() || to.IsUnspecified() || mac[0]&1 != 0 && !all) {
		t.Fatalf("sent to %v at %x: %v", to, mac, p.Summary())
	}
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

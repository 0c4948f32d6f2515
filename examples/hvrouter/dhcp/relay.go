package dhcp

import (
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	// maxHops ends loops of relays: RFC 1542, Section 4.1.1.
	maxHops = 16
	// mostAsked is how many requests of one guest may wait for their answers: a guest
	// says ten things at once, but waits for one or two.
	mostAsked = 8
	// answerTime is how long an answer may take. dnsmasq asks for 3 s whether an address
	// is in use.
	answerTime = 30 * time.Second
)

// transaction is a request that a server may answer.
type transaction struct {
	xid      dhcpv4.TransactionID
	clientID []byte // as the guest gave it; nil: not at all
	until    time.Time
}

// forward turns a guest's request into what a relay agent sends to the servers, and notes
// that it was sent; or returns nil. The circuit id names the interface; the server takes
// the guest's subnet from the link selection (RFC 3527, Section 3), and the guest keeps talking to
// the gateway, by the server identifier override (RFC 5107, Section 4).
//
// The client identifier becomes the guest's MAC. A server takes whoever has another
// identifier for another client (RFC 2131, Section 4.2): a guest that makes them up
// would get all addresses there are.
func (g *guest) forward(now time.Time, p *dhcpv4.DHCPv4, giaddr netip.Addr) *dhcpv4.DHCPv4 {
	if p.HopCount >= maxHops {
		return nil
	}
	g.ask(transaction{p.TransactionID, p.Options.Get(dhcpv4.OptionClientIdentifier), now.Add(answerTime)})
	p.HopCount++
	p.GatewayIPAddr = ip(giaddr)
	p.UpdateOption(dhcpv4.OptClientIdentifier(append([]byte{hardwareEthernet}, g.lease.MAC...)))
	gateway := g.lease.Gateway.AsSlice()
	p.UpdateOption(dhcpv4.OptRelayAgentInfo(
		dhcpv4.OptGeneric(dhcpv4.AgentCircuitIDSubOption, []byte(g.name)),
		dhcpv4.OptGeneric(dhcpv4.LinkSelectionSubOption, gateway),
		dhcpv4.OptGeneric(dhcpv4.ServerIdentifierOverrideSubOption, gateway),
	))
	return p
}

const hardwareEthernet = 1 // RFC 2132, Section 9.14; RFC 1700, "Number Hardware Type"

// ask notes a request, in the place of an earlier one with its number, or of the oldest.
func (g *guest) ask(t transaction) {
	for i := range g.asked {
		if g.asked[i].xid == t.xid {
			g.asked[i] = t
			return
		}
	}
	g.asked[g.next] = t
	g.next = (g.next + 1) % mostAsked
}

// backward turns a server's answer into what the guest gets, and returns the guest; nil if
// nobody has asked for it. Several servers may answer one request.
func (c *core) backward(now time.Time, p *dhcpv4.DHCPv4) *guest {
	if p.OpCode != dhcpv4.OpcodeBootReply || address(p.GatewayIPAddr) != c.relay.Address {
		return nil
	}
	circuit, told := []byte(nil), false
	if info := p.RelayAgentInfo(); info != nil { // a server may not know of it
		circuit = info.Get(dhcpv4.AgentCircuitIDSubOption)
		told = circuit != nil
	}
	for _, g := range c.guests {
		if told && string(circuit) != g.name || len(g.lease.MAC) == 0 || !g.lease.belongsTo(p.ClientHWAddr) {
			continue
		}
		for _, t := range g.asked {
			if t.xid == p.TransactionID && now.Before(t.until) {
				t.restore(p)
				return g
			}
		}
	}
	return nil
}

// restore makes of an answer to our request one to the guest's: its own client identifier
// (RFC 6842, Section 3), no relay agent information.
func (t transaction) restore(p *dhcpv4.DHCPv4) {
	p.Options.Del(dhcpv4.OptionRelayAgentInformation)
	if p.Options.Has(dhcpv4.OptionClientIdentifier) {
		p.Options.Del(dhcpv4.OptionClientIdentifier)
		if t.clientID != nil {
			p.UpdateOption(dhcpv4.OptClientIdentifier(t.clientID))
		}
	}
}

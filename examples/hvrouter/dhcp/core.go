package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/rate"
)

// core decides about every message of a namespace. It is pure: it has no socket and no
// clock. It is not safe for concurrent use.
type core struct {
	relay      Relay
	guests     map[int]*guest // by interface
	stats      Stats
	suspicious map[EventKind]*occasion // about answers of servers
}

// guest is the guest behind one interface.
type guest struct {
	link  int
	name  string // the interface's
	lease Lease
	allow rate.Bucket            // what it may say
	asked [mostAsked]transaction // a ring
	next  int                    // in it
	// refusals counts since the guest is served.
	refusals Refusals
	// declines are what a relay passes on: each makes a server set an address aside.
	declines rate.Bucket
	declined occasion
}

const (
	// A guest may say ten things at once and five a second: a client that boots says two.
	messageBurst = 10
	messageRate  = 5
	// A guest may decline three addresses at once, and one in ten minutes.
	declineBurst = 3
	declineRate  = 1. / 600
)

// Refusal says why a guest did not get what it asked for.
type Refusal uint8

// The refusals.
const (
	// Limited: the guest said more than it may. What is far beyond that the kernel drops, uncounted.
	Limited Refusal = iota
	// Malformed: it was no message of DHCP.
	Malformed
	// Spoofed: it came from another hardware address than the guest's, or as if through a relay.
	Spoofed
	// Replied: it was a message that servers send.
	Replied
	// OtherServer: the guest has chosen another server. With a relay that is not known.
	OtherServer
	// NotLeased: the guest asked for another address than its own, or from one. With a relay:
	// the guest has no MAC, so that no server is asked.
	NotLeased
	refusalCount
)

// String returns the reason in lower case, as a label of a metric.
func (r Refusal) String() string {
	return enum.String("Refusal", []string{Limited: "limited", Malformed: "malformed", Spoofed: "spoofed", Replied: "replied", OtherServer: "other-server", NotLeased: "not-leased"}, r)
}

// Refusals counts the refusals of one guest, indexed by Refusal.
type Refusals [refusalCount]uint64

// refuse counts a message that is of no use.
func (g *guest) refuse(why Refusal) effects {
	g.refusals[why]++
	return effects{refused: true}
}

// effects is what is to be done because of a message.
type effects struct {
	refused   bool           // it was of no use
	answer    *dhcpv4.DHCPv4 // to the guest; nil: none
	to        *guest         // of answer
	toServers *dhcpv4.DHCPv4 // nil: nothing
	event     *Event         // nil: none
}

// Event is what an operator should know of.
type Event struct {
	Kind      EventKind
	Interface string     // the guest's; "" if unknown
	Address   netip.Addr // that was declined, or of whoever has answered
	Count     int        // how often since the last event of this kind
}

// EventKind says what an Event is about.
type EventKind uint8

const (
	// Declined says that a guest has found its address in use by somebody else
	// (RFC 2131, Section 4.3.3): the inventory or the network is wrong.
	Declined EventKind = iota + 1
	// Unasked says that an answer of a relay's server was dropped, since no guest had
	// asked for it.
	Unasked
	// Stranger says the same of an answer from an address that is no server's. A server
	// with several addresses must answer from the one at which it is asked.
	Stranger
	// Astray says it of one that came over an interface that does not lead to the server,
	// or not from the port of servers.
	Astray
)

// String returns the kind in lower case.
func (k EventKind) String() string {
	return enum.String("EventKind", []string{Declined: "declined", Unasked: "unasked", Stranger: "stranger", Astray: "astray"}, k)
}

// occasion lets an event through once a minute, with a count.
type occasion struct {
	last  time.Time
	count int
}

func (o *occasion) happens(now time.Time) (count int, report bool) {
	o.count++
	if !o.last.IsZero() && now.Sub(o.last) < time.Minute {
		return 0, false
	}
	count, o.last, o.count = o.count, now, 0
	return count, true
}

func newCore() core {
	return core{guests: map[int]*guest{}, suspicious: map[EventKind]*occasion{Unasked: {}, Stranger: {}, Astray: {}}}
}

// set serves a guest, or changes what it is given. What it has asked for, and what it may
// say, stays.
func (c *core) set(link int, name string, lease Lease) {
	g := c.guests[link]
	if g == nil {
		g = &guest{link: link, allow: rate.Bucket{Rate: messageRate, Size: messageBurst}, declines: rate.Bucket{Rate: declineRate, Size: declineBurst}}
		c.guests[link] = g
	}
	g.name, g.lease = name, lease
}

// fromGuest takes a message that came in by a link.
func (c *core) fromGuest(now time.Time, b []byte, link int) effects {
	g := c.guests[link]
	if g == nil {
		return effects{refused: true}
	}
	if !g.allow.Take(now) {
		return g.refuse(Limited)
	}
	p, err := dhcpv4.FromBytes(b)
	switch {
	case err != nil:
		return g.refuse(Malformed)
	case p.OpCode == dhcpv4.OpcodeBootReply:
		return g.refuse(Replied)
	case p.OpCode != dhcpv4.OpcodeBootRequest:
		return g.refuse(Malformed)
	// A guest is no relay agent: it has no address to be answered at in giaddr (RFC
	// 2131, Section 4.1), and is not believed about circuits (RFC 3046, Section 2.1).
	case !p.GatewayIPAddr.IsUnspecified(), p.Options.Has(dhcpv4.OptionRelayAgentInformation), !g.lease.belongsTo(p.ClientHWAddr):
		return g.refuse(Spoofed)
	}
	c.stats.Requests++
	var fx effects
	if p.MessageType() == dhcpv4.MessageTypeDecline {
		fx.event = g.decline(now, p)
	}
	if len(c.relay.Servers) == 0 {
		if fx.answer = Answer(p, g.lease); fx.answer != nil {
			fx.to = g
		}
		g.judge(p, fx.answer)
		return fx
	}
	// What binds a server's address to the guest is its MAC.
	why := refusalCount
	switch {
	case len(g.lease.MAC) == 0:
		why = NotLeased
	case p.MessageType() == dhcpv4.MessageTypeDecline && !g.declines.Take(now):
		why = Limited
	default:
		if fx.toServers = g.forward(now, p, c.relay.Address); fx.toServers == nil {
			why = Spoofed // as from behind many relays
		}
	}
	if why != refusalCount {
		fx.refused = g.refuse(why).refused
	}
	return fx
}

// judge counts a well-formed request that the guest does not get what it wants for.
func (g *guest) judge(p, answer *dhcpv4.DHCPv4) {
	switch {
	case answer != nil && answer.MessageType() == dhcpv4.MessageTypeNak, answer == nil && p.MessageType() == dhcpv4.MessageTypeInform:
		g.refusals[NotLeased]++
	case answer == nil && p.MessageType() == dhcpv4.MessageTypeRequest:
		g.refusals[OtherServer]++
	}
}

// decline notes that the guest has found its address in use.
func (g *guest) decline(now time.Time, p *dhcpv4.DHCPv4) *Event {
	count, report := g.declined.happens(now)
	if !report {
		return nil
	}
	return &Event{Kind: Declined, Interface: g.name, Address: address(p.RequestedIPAddress()), Count: count}
}

// origin is where an answer of a server came from.
type origin struct {
	netip.AddrPort
	leads bool // the interface leads to that address
}

// fromServer takes a message that pretends to come from one of the relay's servers.
func (c *core) fromServer(now time.Time, b []byte, from origin) (fx effects) {
	if len(b) == 0 || b[0] != byte(dhcpv4.OpcodeBootReply) {
		return effects{refused: true} // what hosts on the underlay say to each other
	}
	kind := Unasked
	switch {
	case !c.isServer(from.Addr()):
		kind = Stranger
	case !from.leads, from.Port() != serverPort:
		kind = Astray
	default:
		if p, err := dhcpv4.FromBytes(b); err == nil {
			if fx.to = c.backward(now, p); fx.to != nil {
				fx.answer = p
				return fx
			}
		}
	}
	fx.refused = true
	switch kind {
	case Unasked:
		c.stats.Unasked++
	case Stranger:
		c.stats.Strangers++
	case Astray:
		c.stats.Astray++
	}
	if count, report := c.suspicious[kind].happens(now); report {
		fx.event = &Event{Kind: kind, Address: from.Addr(), Count: count}
	}
	return fx
}

func (c *core) isServer(a netip.Addr) bool { return slices.Contains(c.relay.Servers, a) }

// destination is where an answer goes (RFC 2131, Section 4.1): to the address that the
// guest has, to everybody if it asks for that, or to the address that it will have; to its
// MAC, since it may not answer ARP yet. ok is false if it has none.
func destination(p *dhcpv4.DHCPv4) (mac [6]byte, to netip.Addr, ok bool) {
	if len(p.ClientHWAddr) != len(mac) || p.ClientHWAddr[0]&1 != 0 {
		return mac, to, false
	}
	ciaddr, yiaddr := address(p.ClientIPAddr), address(p.YourIPAddr)
	switch {
	case p.MessageType() != dhcpv4.MessageTypeNak && ciaddr.IsValid() && !ciaddr.IsUnspecified():
		to = ciaddr
	case p.MessageType() != dhcpv4.MessageTypeNak && !p.IsBroadcast() && yiaddr.IsValid() && !yiaddr.IsUnspecified():
		to = yiaddr
	default:
		return [6]byte(bytes.Repeat([]byte{255}, 6)), broadcast, true
	}
	return [6]byte(p.ClientHWAddr), to, true
}

// address returns an IPv4 address; the zero Addr for anything else.
func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip.To4())
	return a
}

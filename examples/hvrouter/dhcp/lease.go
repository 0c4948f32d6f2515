package dhcp

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Lease is what one guest interface is given.
type Lease struct {
	// Address is the guest's, Gateway its router and our server identifier.
	// Both are IPv4 and required.
	Address, Gateway netip.Addr
	// MAC of the guest; requests of another hardware address are not answered.
	// nil answers any.
	MAC net.HardwareAddr
	// Length of the prefix that the guest believes to be its subnet: 24 in the
	// lab. 32 adds the classless routes of RFC 3442 that make such an address
	// usable: the gateway on the link, everything else through it.
	Length int
	// Time is the lease time; 0 is an hour. It is sent in seconds.
	Time time.Duration
	// DNS servers, host name and MTU; zero values are not sent.
	DNS      []netip.Addr
	HostName string
	MTU      uint16
}

// Answer returns what to send back for a request of the guest that has the lease,
// or nil for silence: RFC 2131, Section 4.3.
func Answer(request *dhcpv4.DHCPv4, lease Lease) *dhcpv4.DHCPv4 {
	if request.OpCode != dhcpv4.OpcodeBootRequest || !lease.belongsTo(request.ClientHWAddr) {
		return nil
	}
	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return lease.grant(request, dhcpv4.MessageTypeOffer)
	case dhcpv4.MessageTypeRequest:
		return lease.decide(request)
	case dhcpv4.MessageTypeInform:
		return lease.inform(request)
	}
	return nil // DECLINE and RELEASE change nothing: the address stays the guest's
}

func (l Lease) belongsTo(mac net.HardwareAddr) bool {
	return len(l.MAC) == 0 || mac.String() == l.MAC.String()
}

// decide answers a DHCPREQUEST: RFC 2131, Section 4.3.2.
func (l Lease) decide(request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	if id := request.ServerIdentifier(); id != nil && !id.Equal(ip(l.Gateway)) {
		return nil // SELECTING, and it selected another server
	}
	wanted := request.RequestedIPAddress() // SELECTING, INIT-REBOOT
	if wanted == nil {
		wanted = request.ClientIPAddr // RENEWING, REBINDING
	}
	if !wanted.Equal(ip(l.Address)) {
		return l.refuse(request)
	}
	return l.grant(request, dhcpv4.MessageTypeAck)
}

func (l Lease) grant(request *dhcpv4.DHCPv4, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	t := l.Time
	if t == 0 {
		t = time.Hour
	}
	reply := l.reply(request, kind)
	reply.YourIPAddr = ip(l.Address)
	if kind == dhcpv4.MessageTypeAck {
		reply.ClientIPAddr = request.ClientIPAddr
	}
	reply.UpdateOption(dhcpv4.OptIPAddressLeaseTime(t))
	reply.UpdateOption(dhcpv4.OptRenewTimeValue(t / 2))
	reply.UpdateOption(dhcpv4.OptRebindingTimeValue(t * 7 / 8))
	l.parameters(reply)
	return reply
}

// inform gives parameters to a client that has its address already: no lease
// times, no yiaddr (RFC 2131, Section 4.3.5).
func (l Lease) inform(request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	reply := l.reply(request, dhcpv4.MessageTypeAck)
	reply.ClientIPAddr = request.ClientIPAddr
	l.parameters(reply)
	return reply
}

func (l Lease) refuse(request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	reply := l.reply(request, dhcpv4.MessageTypeNak)
	reply.SetBroadcast()
	reply.UpdateOption(dhcpv4.OptMessage("not the address that is allocated to this interface"))
	return reply
}

// reply copies what every answer repeats. The client identifier goes back too:
// RFC 6842.
func (l Lease) reply(request *dhcpv4.DHCPv4, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	reply := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: request.HWType, TransactionID: request.TransactionID,
		Flags: request.Flags, GatewayIPAddr: request.GatewayIPAddr, ClientHWAddr: request.ClientHWAddr,
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero,
		Options: dhcpv4.Options{},
	}
	reply.UpdateOption(dhcpv4.OptMessageType(kind))
	reply.UpdateOption(dhcpv4.OptServerIdentifier(ip(l.Gateway)))
	if id := request.Options.Get(dhcpv4.OptionClientIdentifier); id != nil {
		reply.UpdateOption(dhcpv4.OptClientIdentifier(id))
	}
	return reply
}

func (l Lease) parameters(reply *dhcpv4.DHCPv4) {
	gateway := ip(l.Gateway)
	reply.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(l.Length, 32)))
	reply.UpdateOption(dhcpv4.OptRouter(gateway))
	if l.Length == 32 {
		reply.UpdateOption(dhcpv4.OptClasslessStaticRoute(
			&dhcpv4.Route{Dest: &net.IPNet{IP: gateway, Mask: net.CIDRMask(32, 32)}, Router: net.IPv4zero},
			&dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Router: gateway},
		))
	}
	if len(l.DNS) > 0 {
		var servers []net.IP
		for _, a := range l.DNS {
			servers = append(servers, ip(a))
		}
		reply.UpdateOption(dhcpv4.OptDNS(servers...))
	}
	if l.HostName != "" {
		reply.UpdateOption(dhcpv4.OptHostName(l.HostName))
	}
	if l.MTU != 0 {
		reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{byte(l.MTU >> 8), byte(l.MTU)}))
	}
}

func ip(a netip.Addr) net.IP { return net.IP(a.AsSlice()) }

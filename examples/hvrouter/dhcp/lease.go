package dhcp

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Lease is what one guest interface is given.
type Lease struct {
	// Address is the guest's, Gateway its router and our server identifier.
	// Both are IPv4 and required.
	Address, Gateway netip.Addr
	// Others are more IPv4 addresses of the guest, which it has from elsewhere and may
	// ask about (DHCPINFORM).
	Others []netip.Addr
	// MAC of the guest; requests of another hardware address are not answered.
	// nil answers any.
	MAC net.HardwareAddr
	// Length of the prefix that the guest believes to be its subnet: 24 in the
	// lab. 32 adds the classless routes of RFC 3442 that make such an address
	// usable: the gateway on the link, everything else through it.
	Length int
	// Time is the lease time; 0 is an hour. It is sent in seconds.
	Time time.Duration
	// DNS servers, host name and MTU; zero values are not sent, nor is a host name that
	// is none, see [HostName].
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
	var reply *dhcpv4.DHCPv4
	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		reply = lease.grant(request, dhcpv4.MessageTypeOffer)
	case dhcpv4.MessageTypeRequest:
		reply = lease.decide(request)
	case dhcpv4.MessageTypeInform:
		reply = lease.inform(request)
	}
	if reply == nil {
		return nil // DECLINE and RELEASE change nothing: the address stays the guest's
	}
	return fit(reply, largest(request))
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
	if kind == dhcpv4.MessageTypeAck && request.ClientIPAddr.Equal(ip(l.Address)) {
		reply.ClientIPAddr = request.ClientIPAddr
	}
	reply.UpdateOption(dhcpv4.OptIPAddressLeaseTime(t))
	reply.UpdateOption(dhcpv4.OptRenewTimeValue(t / 2))
	reply.UpdateOption(dhcpv4.OptRebindingTimeValue(t * 7 / 8))
	l.parameters(reply)
	return reply
}

// inform gives parameters to a client that has its address already: no lease
// times, no yiaddr (RFC 2131, Section 4.3.5). "The server ... SHOULD check the network
// address in the DHCPINFORM message for consistency": one that is not the guest's, or
// 0.0.0.0, is none that it can be answered at.
func (l Lease) inform(request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	if a := address(request.ClientIPAddr); a != l.Address && !slices.Contains(l.Others, a) {
		return nil
	}
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
// RFC 6842, Section 3.
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
	if HostName(l.HostName) {
		reply.UpdateOption(dhcpv4.OptHostName(l.HostName))
	}
	if l.MTU != 0 {
		reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{byte(l.MTU >> 8), byte(l.MTU)}))
	}
}

// HostName reports whether a name is one that DHCP may give to a host (RFC 2132, Section
// 3.14; RFC 1123, Section 2.1): labels of letters, digits and hyphens. Clients are known to
// run what else they get.
func HostName(name string) bool {
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, b := range []byte(label) {
			if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '-' {
				return false
			}
		}
	}
	return true
}

// leastSize is what every client takes: an IP datagram of 576 octets (RFC 2131, Section 2).
const leastSize = 576

// largest returns the size of the largest message that a client takes, without the headers
// of IP and UDP (RFC 2132, Section 9.10: less than 576 is not legal).
func largest(request *dhcpv4.DHCPv4) int {
	size := leastSize
	if o := request.Options.Get(dhcpv4.OptionMaximumDHCPMessageSize); len(o) == 2 {
		size = max(size, int(o[0])<<8|int(o[1]))
	}
	return min(size, ethernetMTU) - ipHeader - udpHeader
}

// fit leaves out of a message what a client can do without, until it is no larger than
// size.
func fit(p *dhcpv4.DHCPv4, size int) *dhcpv4.DHCPv4 {
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionHostName, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionDomainNameServer,
		dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue, dhcpv4.OptionClientIdentifier} {
		for len(p.ToBytes()) > size && p.Options.Has(code) {
			if servers := p.DNS(); code == dhcpv4.OptionDomainNameServer && len(servers) > 1 {
				p.UpdateOption(dhcpv4.OptDNS(servers[:len(servers)-1]...)) // the first is asked first
			} else {
				p.Options.Del(code)
			}
		}
	}
	return p
}

func ip(a netip.Addr) net.IP { return net.IP(a.AsSlice()) }

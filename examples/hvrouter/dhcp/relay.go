package dhcp

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// maxHops ends loops of relays: RFC 1542, Section 4.1.1.
const maxHops = 16

// forward turns a guest's request into what a relay agent sends to the server, or
// returns nil. The circuit id names the interface; the server takes the guest's
// subnet from the link selection (RFC 3527), and the guest keeps talking to the
// gateway, by the server identifier override (RFC 5107).
func forward(request *dhcpv4.DHCPv4, name string, lease Lease, giaddr netip.Addr) *dhcpv4.DHCPv4 {
	if request.OpCode != dhcpv4.OpcodeBootRequest || request.HopCount >= maxHops ||
		!lease.belongsTo(request.ClientHWAddr) {
		return nil
	}
	// A guest is no relay agent: what it says about circuits is not believed
	// (RFC 3046, Section 2.1).
	if !request.GatewayIPAddr.IsUnspecified() || request.Options.Has(dhcpv4.OptionRelayAgentInformation) {
		return nil
	}
	request.HopCount++
	request.GatewayIPAddr = ip(giaddr)
	gateway := lease.Gateway.AsSlice()
	request.UpdateOption(dhcpv4.OptRelayAgentInfo(
		dhcpv4.OptGeneric(dhcpv4.AgentCircuitIDSubOption, []byte(name)),
		dhcpv4.OptGeneric(dhcpv4.LinkSelectionSubOption, gateway),
		dhcpv4.OptGeneric(dhcpv4.ServerIdentifierOverrideSubOption, gateway),
	))
	return request
}

// backward turns a server's reply into what the guest gets, and tells the
// interface; "" if the reply is not one of ours.
func backward(reply *dhcpv4.DHCPv4, giaddr netip.Addr) (name string) {
	info := reply.RelayAgentInfo()
	if reply.OpCode != dhcpv4.OpcodeBootReply || info == nil || !reply.GatewayIPAddr.Equal(ip(giaddr)) {
		return ""
	}
	name = string(info.Get(dhcpv4.AgentCircuitIDSubOption))
	reply.Options.Del(dhcpv4.OptionRelayAgentInformation)
	return name
}

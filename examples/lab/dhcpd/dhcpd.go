// Package dhcpd is the DHCP server that relays talk to in the lab. It has no pool:
// it knows the guests of the plan, and answers where the relay wants it.
package dhcpd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/hyperfib/hyperfib/examples/hvrouter/dhcp"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Main serves on an address until it is told to stop.
//
//	dhcpd ADDRESS
func Main(args []string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, "dhcpd:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want an address, not %q", args)
	}
	addr, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 67)))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	b := make([]byte, 1<<16)
	for {
		n, _, err := conn.ReadFromUDPAddrPort(b)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if to, reply := answer(b[:n]); reply != nil {
			if _, err := conn.WriteToUDP(reply, to); err != nil {
				fmt.Fprintln(os.Stderr, "dhcpd:", err)
			}
		}
	}
}

// answer goes to the relay, with its own information back (RFC 3046, Section 2.2).
// Requests that came without a relay are not answered.
func answer(b []byte) (*net.UDPAddr, []byte) {
	request, err := dhcpv4.FromBytes(b)
	if err != nil || request.GatewayIPAddr.IsUnspecified() {
		return nil, nil
	}
	for _, g := range (plan.Lab{}).Guests() {
		reply := dhcp.Answer(request, dhcp.Lease{Address: g.IPv4, Gateway: plan.Gateway4, MAC: g.MAC, Length: plan.Subnet4.Bits()})
		if reply == nil {
			continue
		}
		if info := request.Options.Get(dhcpv4.OptionRelayAgentInformation); info != nil {
			reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, info))
		}
		return &net.UDPAddr{IP: request.GatewayIPAddr, Port: 67}, reply.ToBytes()
	}
	return nil, nil
}

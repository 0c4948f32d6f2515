package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Lease is what a DHCP server gave.
type Lease struct {
	Address netip.Prefix
	Gateway netip.Addr
}

// DHCP asks for an address on a link as a guest that boots does: from 0.0.0.0,
// once a second, until ctx ends.
func DHCP(ctx context.Context, ns, link string, mac net.HardwareAddr) (l Lease, err error) {
	var client *nclient4.Client
	err = netns.Do(ns, func() error {
		client, err = nclient4.New(link, nclient4.WithHWAddr(mac), nclient4.WithTimeout(time.Second), nclient4.WithRetry(10))
		return err
	})
	if err != nil {
		return l, err
	}
	defer client.Close()
	given, err := client.Request(ctx)
	if err != nil {
		return l, err
	}
	return lease(given.ACK)
}

func lease(ack *dhcpv4.DHCPv4) (l Lease, err error) {
	a, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	bits, _ := ack.SubnetMask().Size()
	routers := ack.Router()
	if !ok || len(routers) == 0 {
		return l, fmt.Errorf("incomplete: %v", ack)
	}
	l.Address = netip.PrefixFrom(a, bits)
	l.Gateway, _ = netip.AddrFromSlice(routers[0].To4())
	return l, nil
}

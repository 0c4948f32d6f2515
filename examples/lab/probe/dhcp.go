package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Lease is what a DHCP server gave.
type Lease struct {
	Address netip.Prefix
	Gateway netip.Addr
}

// DHCP asks for an address on a link as a guest that boots does. It asks again
// every second until ctx ends.
func DHCP(ctx context.Context, ns, link string, mac net.HardwareAddr) (l Lease, err error) {
	var conn net.PacketConn
	err = netns.Do(ns, func() error {
		conn, err = listenDHCP(ctx, link)
		return err
	})
	if err != nil {
		return l, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	// The reply has to be a broadcast: this socket has no address to hear it on.
	discover, err := dhcpv4.NewDiscovery(mac, dhcpv4.WithBroadcast(true))
	if err != nil {
		return l, err
	}
	offer, err := exchange(ctx, conn, discover, dhcpv4.MessageTypeOffer)
	if err != nil {
		return l, err
	}
	request, err := dhcpv4.NewRequestFromOffer(offer, dhcpv4.WithBroadcast(true))
	if err != nil {
		return l, err
	}
	ack, err := exchange(ctx, conn, request, dhcpv4.MessageTypeAck)
	if err != nil {
		return l, err
	}
	return lease(ack)
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

func listenDHCP(ctx context.Context, link string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		e := c.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
				unix.BindToDevice(int(fd), link))
		})
		return errors.Join(e, err)
	}}
	return lc.ListenPacket(ctx, "udp4", "0.0.0.0:68")
}

// exchange sends a message and waits for the answer to it.
func exchange(ctx context.Context, conn net.PacketConn, m *dhcpv4.DHCPv4, want dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	b := make([]byte, 1500)
	for ctx.Err() == nil {
		if _, err := conn.WriteTo(m.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 67}); err != nil {
			return nil, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return nil, err
		}
		for {
			n, _, err := conn.ReadFrom(b)
			if err != nil {
				break // nobody answered in time
			}
			p, err := dhcpv4.FromBytes(b[:n])
			if err == nil && p.TransactionID == m.TransactionID && p.MessageType() == want {
				return p, nil
			}
		}
	}
	return nil, fmt.Errorf("no answer to %v", m.MessageType())
}

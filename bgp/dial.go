package bgp

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// dialPeer opens a connection to peer with all its socket options.
func dialPeer(ctx context.Context, c *Config, peer *PeerConfig) (nc net.Conn, err error) {
	local := netip.AddrPort{}
	if peer.LocalAddr.IsValid() {
		local = netip.AddrPortFrom(peer.LocalAddr, 0)
	}
	remote := netip.AddrPortFrom(peer.Addr, peer.Port)
	if c.Dialer != nil {
		return c.Dialer(ctx, local, remote)
	}
	d := net.Dialer{
		KeepAlive: -1, // BGP has its own
		Control: func(_, _ string, rc syscall.RawConn) error {
			return rawControl(rc, func(fd int) error { return dialOptions(fd, c, peer) })
		},
	}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
	}
	err = netns.Do(c.NetNS, func() error {
		nc, err = d.DialContext(ctx, network(peer.Addr), remote.String())
		return err
	})
	return nc, err
}

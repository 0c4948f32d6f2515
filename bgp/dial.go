package bgp

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/internal/sock"
)

// dialPeer opens a connection to peer with all its socket options.
func dialPeer(ctx context.Context, c *Config, peer *PeerConfig) (nc net.Conn, err error) {
	if c.Dialer != nil {
		local := netip.AddrPort{}
		if peer.LocalAddr.IsValid() {
			local = netip.AddrPortFrom(peer.LocalAddr, 0)
		}
		return c.Dialer(ctx, local, netip.AddrPortFrom(peer.Addr, peer.Port))
	}
	d := net.Dialer{
		KeepAlive: -1, // see setProbes
		Control: func(_, _ string, rc syscall.RawConn) error {
			return rawControl(rc, func(fd int) error { return dialOptions(fd, c, peer) })
		},
	}
	err = netns.Do(c.NetNS, func() error {
		remote, err := sock.Numbered(peer.Addr)
		if err != nil {
			return err
		}
		if peer.LocalAddr.IsValid() {
			local, err := sock.Numbered(peer.LocalAddr)
			if err != nil {
				return err
			}
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
		}
		nc, err = d.DialContext(ctx, network(peer.Addr), netip.AddrPortFrom(remote, peer.Port).String())
		return err
	})
	return nc, err
}

package bgp

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// nextHops are our addresses as next hops of both families: what the peer's
// configuration says, else the session's local address for its own family. mixed
// says that the IPv6 one serves IPv4 as well (RFC 8950, Section 3).
func nextHops(c *PeerConfig, local netip.Addr, mixed bool) (v4, v6 wire.NextHop) {
	v4.Addr, v6.Addr = c.NextHop4, c.NextHop6
	bare := local.WithZone("")
	switch {
	case bare.Is4():
		v4.Addr = or(v4.Addr, bare)
	case bare.IsLinkLocalUnicast():
		v6.LinkLocal = bare
		v6.Addr = or(v6.Addr, bare)
	case bare.Is6():
		v6.Addr = or(v6.Addr, bare)
	}
	if c.LinkLocal.IsValid() {
		v6.LinkLocal = c.LinkLocal.WithZone("")
	}
	if mixed && !v4.Addr.IsValid() {
		v4 = v6
	}
	return v4, v6
}

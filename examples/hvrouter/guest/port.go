package guest

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
)

// Port is a guest that is present, with the interface it sits behind.
type Port struct {
	config.Guest
	Link fib.Link
	// Seeded are addresses that the guest was found to have before a restart.
	Seeded []netip.Addr
	// Heard are addresses that the guest asked for its gateway from, besides its own.
	Heard []netip.Addr
}

// AddressOf returns the first address of a guest in a family, which packets from it most likely have;
// of an IPv6 prefix it is the second address, since the first is that of the routers (RFC 4291,
// Section 2.6.1). The zero Addr: it has none.
func AddressOf(g config.Guest, six bool) netip.Addr {
	switch {
	case !six && len(g.IPv4) > 0:
		return g.IPv4[0].Addr
	case six && len(g.IPv6) > 0 && g.IPv6[0].IsSingleIP():
		return g.IPv6[0].Addr()
	case six && len(g.IPv6) > 0:
		return g.IPv6[0].Masked().Addr().Next()
	}
	return netip.Addr{}
}

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

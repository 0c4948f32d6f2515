package daemon

import (
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// probe tells the kernel at which MAC a guest is that has just come, or whose
// carrier has. It would find out by itself; but if its first question is lost, as it
// is while a virtual machine is on its way here, the second follows a second later.
// Permanent neighbours need no introduction.
func (r *router) probe(p guest.Port) {
	if domain.Permanent(p.Guest) || p.MAC.IsZero() {
		return
	}
	for _, a := range domain.GuestNeighbours(p.Guest) {
		r.home().Kernel().Probe(p.Link.IfIndex, a, p.MAC)
	}
}

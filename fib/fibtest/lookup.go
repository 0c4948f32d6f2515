package fibtest

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
)

// Packet is what a forwarding decision looks at.
type Packet struct {
	// Src and Dst are the addresses; Dst is required.
	Src, Dst netip.Addr
	// Interface is the name of the one that the packet came in by; "" is a packet of this
	// host.
	Interface string
	// Mark is the firewall mark.
	Mark uint32
}

// Decision is where a packet goes.
type Decision struct {
	// Type is fib.RouteUnicast (to NextHops), RouteLocal (to this host), RouteBlackhole,
	// RouteUnreachable or RouteProhibit. Without any route it is RouteUnreachable, and Table
	// is 0.
	Type fib.RouteType
	// Table and Prefix are those of the route; 0 and invalid if a rule decided.
	Table  uint32
	Prefix netip.Prefix
	// NextHops are all that the kernel chooses from by a hash of the packet. Without a
	// Gateway, the destination is on the link.
	NextHops []fib.NextHop

	names []string // of the interfaces
}

// String returns the decision in words, for example
// "10.1.0.0/16 table 90 via 10.0.0.2 dev eth0".
func (d Decision) String() string {
	s := ""
	if d.Type != fib.RouteUnicast {
		s = d.Type.String()
	}
	if d.Table != 0 {
		s += fmt.Sprintf(" %v table %d", d.Prefix, d.Table)
	}
	for i, h := range d.NextHops {
		if h.Gateway.IsValid() {
			s += fmt.Sprintf(" via %v", h.Gateway)
		}
		s += " dev " + d.names[i]
		if h.Weight > 1 {
			s += fmt.Sprintf(" weight %d", h.Weight)
		}
	}
	if s[0] == ' ' {
		return s[1:]
	}
	return s
}

// Lookup decides where a packet goes, as Linux does: the rules by priority, in their tables
// the longest prefix, of its routes the lowest metric. The addresses of the interfaces and
// their networks count as in Linux.
func (k *Kernel) Lookup(p Packet) (d Decision) {
	k.do(func(fake *fakekernel.Kernel) {
		found := fake.Lookup(fakekernel.Packet{Dst: p.Dst, Src: p.Src, Mark: p.Mark, IIF: fake.Index(p.Interface)})
		d = Decision{Type: fib.RouteType(found.Type), Table: found.Table, Prefix: found.Prefix, NextHops: nextHops(found.NextHops)}
		for _, h := range found.NextHops {
			d.names = append(d.names, fake.NameOf(h.IfIndex))
		}
	})
	return d
}

package fib

import "net/netip"

// Via returns next hops to gateways, each on the interface whose connected network the
// gateway is in: what the kernel does for `ip route add ... via GATEWAY` without dev. Of
// several networks the longest prefix counts, and of equal ones the lowest interface index.
// The zone of a link-local gateway names its interface. A gateway in no connected network
// is left out, as are all before Run has read the kernel (see [FIB.Flush]). It looks at
// every address of the namespace: not for the fast path of a host that has thousands.
func (f *FIB) Via(gateways ...netip.Addr) (hops []NextHop) {
	f.lock()
	defer f.unlock()
	for _, g := range gateways {
		if link := f.core.Connected(g); link != 0 {
			hops = append(hops, NextHop{Gateway: g.WithZone(""), IfIndex: link})
		}
	}
	return hops
}

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
		if link := f.connected(g); link != 0 {
			hops = append(hops, NextHop{Gateway: g.WithZone(""), IfIndex: link})
		}
	}
	return hops
}

// connected returns the index of the interface that a gateway is on; 0 is none.
func (c *core) connected(gateway netip.Addr) (link int) {
	if zone := gateway.Zone(); zone != "" {
		for _, l := range c.links {
			if l.Interface == zone {
				return l.IfIndex
			}
		}
		return 0
	}
	if gateway.IsLinkLocalUnicast() && gateway.Is6() {
		return 0 // every interface has that network
	}
	longest := -1
	for key, a := range c.addresses.have {
		network := key.prefix
		if key.peer.IsValid() { // point-to-point: the network is the other end
			network = netip.PrefixFrom(key.peer, key.peer.BitLen())
		}
		bits := network.Bits()
		if a.value.NoPrefixRoute || !network.Contains(gateway) || bits < longest || bits == longest && key.link > link {
			continue
		}
		longest, link = bits, key.link
	}
	return link
}

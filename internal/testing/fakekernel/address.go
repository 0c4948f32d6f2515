package fakekernel

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// Addresses and neighbours.

// AddAddress adds an address without a notification, as at the start of the machine. Its
// interface must be there.
func (k *Kernel) AddAddress(ifindex int, p netip.Prefix) {
	k.addrs = append(k.addrs, wire.KernelAddress{Address: wire.Address{IfIndex: ifindex, Prefix: p, Scope: wire.ScopeUniverse, NoDAD: p.Addr().Is6()}})
	k.changed(Change{Local: true})
}

// address adds, changes or deletes one.
func (k *Kernel) address(msg rtnl.Message) unix.Errno {
	var a wire.KernelAddress
	if a.Parse(msg.Body) != nil {
		return unix.EINVAL
	}
	if k.links[int32(a.IfIndex)] == nil {
		return unix.ENODEV
	}
	i := slices.IndexFunc(k.addrs, func(b wire.KernelAddress) bool { return b.Key() == a.Key() })
	switch {
	case msg.Type == rtnl.RTM_DELADDR && i < 0:
		return unix.EADDRNOTAVAIL
	case msg.Type == rtnl.RTM_DELADDR:
		k.deleteAddress(i)
	case i >= 0 && msg.Flags&rtnl.NLM_F_REPLACE == 0:
		return unix.EEXIST
	case i >= 0:
		old := k.addrs[i].Address
		k.addrs[i] = a
		if k.addrs[i].Scope = old.Scope; old.Prefix.Addr().Is4() {
			k.addrs[i].NoPrefixRoute = old.NoPrefixRoute
		}
		k.changed(Change{Local: true})
		k.notifyAddress(msg.Type, k.addrs[i])
	default:
		k.addrs = append(k.addrs, a)
		k.changed(Change{Local: true})
		k.notifyAddress(msg.Type, a)
	}
	return 0
}

// notifyAddress notifies a change of an address: of IPv6 the kernel does not say whose request it was
// (inet6_ifa_notify), so that who ignores its own port hears of its own, too.
func (k *Kernel) notifyAddress(typ uint16, a wire.KernelAddress) {
	port := k.port
	if a.Prefix.Addr().Is6() {
		port = 0
	}
	k.as(port, func() { k.notify(typ, 0, addressBody(a)) })
}

func addressBody(a wire.KernelAddress) []byte {
	return wire.AppendAddress(nil, rtnl.RTM_NEWADDR, 0, 0, a.Address, a.Protocol)[rtnl.SizeHeader:]
}

// deleteAddress takes an address away, and with the last IPv4 address of an interface
// its IPv4 routes (fib_disable_ip), without a notification.
func (k *Kernel) deleteAddress(i int) {
	a := k.addrs[i]
	k.addrs = slices.Delete(k.addrs, i, i+1)
	k.changed(Change{Local: true})
	k.notifyAddress(rtnl.RTM_DELADDR, a)
	link, addr := int32(a.IfIndex), a.Prefix.Addr()
	gone := !slices.ContainsFunc(k.addrs, func(b wire.KernelAddress) bool { return b.Prefix.Addr() == addr })
	if gone {
		k.sourceGone(addr)
	}
	last := !slices.ContainsFunc(k.addrs, func(b wire.KernelAddress) bool { return b.IfIndex == a.IfIndex && b.Prefix.Addr().Is4() })
	if addr.Is4() && last {
		k.disable(link, wire.FamilyIPv4)
	}
}

// downAddresses takes the IPv6 addresses of an interface away that goes down
// (addrconf_ifdown without keep_addr_on_down).
func (k *Kernel) downAddresses(index int32) {
	for i := 0; i < len(k.addrs); {
		if a := k.addrs[i]; int32(a.IfIndex) == index && a.Prefix.Addr().Is6() {
			k.deleteAddress(i)
		} else {
			i++
		}
	}
}

// Reaches reports whether a gateway is on-link at an interface: within the prefix of one of
// its addresses, or link-local.
func (k *Kernel) Reaches(gateway netip.Addr, ifindex int32) bool {
	if gateway.IsLinkLocalUnicast() {
		return true
	}
	return slices.ContainsFunc(k.addrs, func(a wire.KernelAddress) bool {
		return int32(a.IfIndex) == ifindex && !a.NoPrefixRoute && a.Prefix.Contains(gateway)
	})
}

func keyOf(n wire.Neighbor) wire.NeighborKey {
	return wire.NeighborKey{IfIndex: n.IfIndex, Addr: n.Addr, Proxy: n.Proxy}
}

// Neighbor returns the entry under a key, the zero value if there is none.
func (k *Kernel) Neighbor(key wire.NeighborKey) wire.KernelNeighbor { return k.neighbors[key] }

// neighbor adds, changes or deletes an entry that stays, or probes.
func (k *Kernel) neighbor(msg rtnl.Message) unix.Errno {
	var n wire.KernelNeighbor
	if n.Parse(msg.Body) != nil || !n.Addr.IsValid() {
		return unix.EINVAL
	}
	if k.links[int32(n.IfIndex)] == nil {
		return unix.ENODEV
	}
	key := keyOf(n.Neighbor)
	had, there := k.neighbors[key]
	switch {
	case msg.Type == rtnl.RTM_DELNEIGH && !there:
		return unix.ENOENT
	case msg.Type == rtnl.RTM_DELNEIGH:
		delete(k.neighbors, key)
		if !n.Proxy { // the kernel notifies nothing about those
			k.notify(rtnl.RTM_NEWNEIGH, 0, failed(had))
			k.as(0, func() { k.notify(rtnl.RTM_DELNEIGH, 0, failed(had)) })
		}
	case !n.Permanent && !n.Proxy: // a probe
	case there && msg.Flags&rtnl.NLM_F_REPLACE == 0 && !n.Proxy: // neigh_add knows no flags for those
		return unix.EEXIST
	default:
		k.neighbors[key] = n
		if !n.Proxy && (!there || had.MAC != n.MAC) {
			k.notify(msg.Type, 0, neighborBody(n))
		}
	}
	return 0
}

func neighborBody(n wire.KernelNeighbor) []byte {
	return wire.AppendNeighbor(nil, rtnl.RTM_NEWNEIGH, 0, 0, n.Neighbor, n.Protocol)[rtnl.SizeHeader:]
}

// failed is how a permanent neighbour is notified that is going (neigh_delete).
func failed(n wire.KernelNeighbor) []byte {
	b := wire.AppendNeighbor(nil, rtnl.RTM_DELNEIGH, 0, 0, n.Neighbor, n.Protocol)[rtnl.SizeHeader:]
	binary.NativeEndian.PutUint16(b[8:], rtnl.NUD_FAILED)
	return rtnl.AppendUint8(b, rtnl.NDA_PROTOCOL, n.Protocol)
}

// neighborsGone: neigh_ifdown takes away what is learned, and permanent entries, too.
func (k *Kernel) neighborsGone(index int32) {
	for _, n := range k.Neighbors() {
		if int32(n.IfIndex) != index {
			continue
		}
		delete(k.neighbors, keyOf(n.Neighbor))
		if !n.Proxy {
			k.notify(rtnl.RTM_DELNEIGH, 0, neighborBody(n))
		}
	}
}

package fakekernel

import (
	"encoding/binary"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// What the administrator and the cable do to interfaces. The kernel itself is the origin
// of the notifications (port 0).

func (k *Kernel) link(index int, name string) *wire.Link {
	l := &wire.Link{IfIndex: index, Interface: name, AdminUp: true, Carrier: true, MTU: 1500}
	k.links[int32(index)] = l
	k.changed(Change{Local: true})
	return l
}

// CreateLink makes an interface, up and with its carrier but without addresses. It reports
// false if there is one of that name or index.
func (k *Kernel) CreateLink(index int, name string) bool {
	if k.Index(name) != 0 || k.links[int32(index)] != nil {
		return false
	}
	l := k.link(index, name)
	k.as(0, func() { k.notify(rtnl.RTM_NEWLINK, 0, linkBody(*l)) })
	return true
}

// SetLink changes the state of an interface: admin is IFF_UP, and there is no carrier
// without it. It reports whether there is the interface.
func (k *Kernel) SetLink(name string, admin, carrier bool) bool {
	l := k.links[int32(k.Index(name))]
	if l == nil {
		return false
	}
	index, was := int32(l.IfIndex), *l
	l.AdminUp, l.Carrier = admin, carrier && admin
	k.changed(Change{Local: true})
	k.as(0, func() {
		if was.Up() && !l.Up() {
			k.flushHops(index)
		}
		if was.AdminUp && !admin {
			k.downAddresses(index)
			k.disable(index, wire.FamilyIPv4)
			k.disable(index, wire.FamilyIPv6)
			k.neighborsGone(index)
		}
		k.notify(rtnl.RTM_NEWLINK, 0, linkBody(*l))
	})
	return true
}

// DeleteLink removes an interface with everything on it. It reports whether there was one.
func (k *Kernel) DeleteLink(name string) bool {
	if !k.SetLink(name, false, false) {
		return false
	}
	l := k.links[int32(k.Index(name))]
	k.as(0, func() {
		for i := 0; i < len(k.addrs); {
			if k.addrs[i].IfIndex == l.IfIndex {
				k.deleteAddress(i)
			} else {
				i++
			}
		}
		k.neighborsGone(int32(l.IfIndex))
		k.unregister(int32(l.IfIndex))
		k.forgetSysctls(name)
		delete(k.links, int32(l.IfIndex))
		delete(k.tables, int32(l.IfIndex))
		k.changed(Change{Local: true})
		k.notify(rtnl.RTM_DELLINK, 0, linkBody(*l))
	})
	return true
}

// SetTable puts an interface into a VRF, of which there is nothing but its table: that of
// the connected and local routes of its addresses, and the one that rules with l3mdev look
// up. 0 takes it out.
func (k *Kernel) SetTable(ifindex int, table uint32) {
	if k.tables[int32(ifindex)] = table; table == 0 {
		delete(k.tables, int32(ifindex))
	}
	k.changed(Change{Local: true})
}

// linkBody is the body of a message about an interface.
func linkBody(l wire.Link) []byte {
	b := make([]byte, rtnl.SizeLink)
	binary.NativeEndian.PutUint32(b[4:], uint32(l.IfIndex))
	flags := uint32(0)
	if l.AdminUp {
		flags |= rtnl.IFF_UP
	}
	if l.Carrier {
		flags |= rtnl.IFF_LOWER_UP | rtnl.IFF_RUNNING
	}
	binary.NativeEndian.PutUint32(b[8:], flags)
	return rtnl.AppendUint32(rtnl.AppendString(b, rtnl.IFLA_IFNAME, l.Interface), rtnl.IFLA_MTU, uint32(l.MTU))
}

// NameOf returns the name of an interface, "?" if there is none.
func (k *Kernel) NameOf(ifindex int32) string {
	if l := k.links[ifindex]; l != nil {
		return l.Interface
	}
	return "?"
}

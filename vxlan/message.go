package vxlan

import (
	"encoding/binary"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

var native = binary.NativeEndian

// appendWrite appends the complete netlink message of w with its sequence number.
//
// Linux works on it in drivers/net/vxlan/vxlan_core.c, vxlan_fdb_add and vxlan_fdb_delete.
// An addition to the flood list is an append; a new MAC must not be there yet
// (NLM_F_EXCL), so that a foreign entry that came in meanwhile is not taken over.
func appendWrite(b []byte, w write, seq uint32, protocol uint8) []byte {
	switch w.Table {
	case TableBridge:
		return appendBridge(b, w, seq)
	case TableNeighbors:
		return appendNeighbor(b, w, seq, protocol)
	}
	start := len(b)
	typ, flags := uint16(rtnl.RTM_NEWNEIGH), uint16(rtnl.NLM_F_REQUEST)
	switch {
	case w.op == opDelete:
		typ = rtnl.RTM_DELNEIGH
	case w.op == opReplace:
		flags |= rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE
	case w.MAC.IsZero():
		flags |= rtnl.NLM_F_CREATE | rtnl.NLM_F_APPEND
	default:
		flags |= rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
	}
	b = rtnl.Begin(b, typ, flags, seq)
	b = append(b, rtnl.AF_BRIDGE, 0, 0, 0)
	b = native.AppendUint32(b, uint32(w.IfIndex))
	b = native.AppendUint16(b, rtnl.NUD_NOARP|rtnl.NUD_REACHABLE) // "static": does not age
	b = append(b, rtnl.NTF_SELF|rtnl.NTF_EXT_LEARNED, 0)
	b = rtnl.AppendBytes(b, rtnl.NDA_LLADDR, w.MAC[:])
	b = rtnl.AppendAddr(b, rtnl.NDA_DST, w.VTEP.Unmap())
	return rtnl.End(b, start)
}

// appendBridge is appendWrite for an entry of the bridge (net/bridge/br_fdb.c, br_fdb_add and br_fdb_delete).
// What is extern_learn takes the place of whatever the bridge has (br_fdb_external_learn_add), so that
// nothing of others is there must be known before. A deletion names the port: the entry of another stays.
func appendBridge(b []byte, w write, seq uint32) []byte {
	start := len(b)
	typ, flags := uint16(rtnl.RTM_NEWNEIGH), uint16(rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_REPLACE)
	if w.op == opDelete {
		typ, flags = rtnl.RTM_DELNEIGH, rtnl.NLM_F_REQUEST
	}
	b = rtnl.Begin(b, typ, flags, seq)
	b = append(b, rtnl.AF_BRIDGE, 0, 0, 0)
	b = native.AppendUint32(b, uint32(w.IfIndex))
	b = native.AppendUint16(b, rtnl.NUD_REACHABLE)
	b = append(b, rtnl.NTF_MASTER|rtnl.NTF_EXT_LEARNED, 0)
	b = rtnl.AppendBytes(b, rtnl.NDA_LLADDR, w.MAC[:])
	return rtnl.End(b, start)
}

// neighborState is that of the neighbours that are written: valid, and never probed.
const neighborState = rtnl.NUD_NOARP

// appendNeighbor is appendWrite for a neighbour (net/core/neighbour.c, neigh_add and neigh_delete).
func appendNeighbor(b []byte, w write, seq uint32, protocol uint8) []byte {
	start := len(b)
	typ, flags := uint16(rtnl.RTM_NEWNEIGH), uint16(rtnl.NLM_F_REQUEST)
	switch w.op {
	case opDelete:
		typ = rtnl.RTM_DELNEIGH
	case opReplace:
		flags |= rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE
	default:
		flags |= rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
	}
	family := byte(rtnl.AF_INET6)
	if w.Addr.Is4() {
		family = rtnl.AF_INET
	}
	b = rtnl.Begin(b, typ, flags, seq)
	b = append(b, family, 0, 0, 0)
	b = native.AppendUint32(b, uint32(w.IfIndex))
	b = native.AppendUint16(b, neighborState)
	b = append(b, rtnl.NTF_EXT_LEARNED, 0)
	b = rtnl.AppendAddr(b, rtnl.NDA_DST, w.Addr)
	if w.op != opDelete {
		b = rtnl.AppendBytes(b, rtnl.NDA_LLADDR, w.MAC[:])
		b = rtnl.AppendUint8(b, rtnl.NDA_PROTOCOL, protocol)
	}
	return rtnl.End(b, start)
}

// dumped is one entry as the kernel reports it.
type dumped struct {
	Entry
	origin origin
	plain  bool // port, VNI and interface are the device's own; a neighbour's state is neighborState
	master int  // interface index of the bridge, in TableBridge
	local  bool // in TableBridge: the host takes the frames in, whichever port it is of
}

// parseEntry reads the payload of RTM_NEWNEIGH: struct ndmsg and attributes. It reports
// false for what is neither a forwarding entry with a destination, nor one of a bridge outside of VLANs,
// nor a neighbour. protocol is that of our neighbours.
func parseEntry(b []byte, protocol uint8) (d dumped, ok bool) {
	if len(b) < rtnl.SizeNeighbor {
		return d, false
	}
	d.IfIndex, d.plain = int(int32(native.Uint32(b[4:]))), true
	state, flags := native.Uint16(b[8:]), b[10]
	switch b[0] {
	case rtnl.AF_BRIDGE:
	case rtnl.AF_INET, rtnl.AF_INET6:
		return d, flags&rtnl.NTF_PROXY == 0 && d.parseNeighbor(b[rtnl.SizeNeighbor:], state, flags, protocol)
	default:
		return d, false
	}
	mac, vlan := false, false
	for typ, v := range rtnl.Attributes(b[rtnl.SizeNeighbor:]) {
		switch typ {
		case rtnl.NDA_LLADDR:
			if len(v) == 6 {
				d.MAC, mac = MAC(v), true
			}
		case rtnl.NDA_DST:
			d.VTEP = v.Addr()
		case rtnl.NDA_PORT, rtnl.NDA_VNI, rtnl.NDA_IFINDEX, rtnl.NDA_SRC_VNI, rtnl.NDA_NH_ID:
			d.plain = false
		case rtnl.NDA_MASTER:
			d.master = int(v.Int32())
		case rtnl.NDA_VLAN:
			vlan = v.Uint16() != 0
		case rtnl.Malformed:
			return d, false
		}
	}
	if d.master != 0 && !d.VTEP.IsValid() {
		d.Table, d.origin, d.local = TableBridge, placeOriginOf(state, flags), state&rtnl.NUD_PERMANENT != 0
		return d, mac && !vlan
	}
	d.origin = originOf(state, flags, d.plain)
	return d, mac && d.VTEP.IsValid()
}

// originOf reads the mark; see the package documentation.
func originOf(state uint16, flags uint8, plain bool) origin {
	switch {
	case flags&rtnl.NTF_EXT_LEARNED != 0 && plain:
		return ours
	case state&(rtnl.NUD_NOARP|rtnl.NUD_PERMANENT) == 0 && flags&rtnl.NTF_EXT_LEARNED == 0:
		return learned
	}
	return foreign
}

// placeOriginOf reads the mark of a bridge's entry. A static one (NUD_NOARP) or a local one (NUD_PERMANENT) was
// made by hand, whatever a control plane has done to it since.
func placeOriginOf(state uint16, flags uint8) origin {
	switch {
	case state&(rtnl.NUD_NOARP|rtnl.NUD_PERMANENT) != 0:
		return foreign
	case flags&rtnl.NTF_EXT_LEARNED != 0:
		return ours
	}
	return learned
}

// parseNeighbor reads the attributes of a neighbour.
func (d *dumped) parseNeighbor(b []byte, state uint16, flags, protocol uint8) (ok bool) {
	d.Table, d.plain = TableNeighbors, state == neighborState
	by := uint8(0)
	for typ, v := range rtnl.Attributes(b) {
		switch typ {
		case rtnl.NDA_DST:
			d.Addr = v.Addr()
		case rtnl.NDA_LLADDR:
			if len(v) == 6 {
				d.MAC = MAC(v)
			}
		case rtnl.NDA_PROTOCOL:
			by = v.Uint8()
		case rtnl.Malformed:
			return false
		}
	}
	switch {
	case flags&rtnl.NTF_EXT_LEARNED != 0 && by == protocol:
		d.origin = ours
	case flags&rtnl.NTF_EXT_LEARNED != 0 || state&(rtnl.NUD_PERMANENT|rtnl.NUD_NOARP) != 0:
		d.origin = foreign
	default:
		d.origin = learned
	}
	return d.Addr.IsValid()
}

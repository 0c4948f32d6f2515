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
func appendWrite(b []byte, w write, seq uint32) []byte {
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

// dumped is one destination as the kernel reports it.
type dumped struct {
	Entry
	origin origin
	plain  bool // port, VNI and interface are the device's own
}

// parseEntry reads the payload of RTM_NEWNEIGH: struct ndmsg and attributes. It reports
// false for what is not a forwarding entry with a destination.
func parseEntry(b []byte) (d dumped, ok bool) {
	if len(b) < rtnl.SizeNeighbor || b[0] != rtnl.AF_BRIDGE {
		return d, false
	}
	d.IfIndex, d.plain = int(int32(native.Uint32(b[4:]))), true
	state, flags := native.Uint16(b[8:]), b[10]
	mac := false
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
		case rtnl.Malformed:
			return d, false
		}
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

package vxlan

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// Flags and states of struct ndmsg that matter in a VXLAN forwarding table.
const (
	ntfSelf       = unix.NTF_SELF
	ntfExtLearned = unix.NTF_EXT_LEARNED
	nudNoARP      = unix.NUD_NOARP
	nudPermanent  = unix.NUD_PERMANENT
	ndaNHID       = 13 // NDA_NH_ID, which x/sys lacks
)

// appendWrite appends the complete netlink message of w with its sequence number.
//
// An addition to the flood list is an append; a new MAC must not be there yet
// (NLM_F_EXCL), so that a foreign entry that came in meanwhile is not taken over.
func appendWrite(b []byte, w write, seq uint32, ack bool) []byte {
	start := len(b)
	typ, flags := uint16(unix.RTM_NEWNEIGH), uint16(unix.NLM_F_REQUEST)
	switch {
	case w.op == opDelete:
		typ = unix.RTM_DELNEIGH
	case w.op == opReplace:
		flags |= unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	case w.MAC.IsZero():
		flags |= unix.NLM_F_CREATE | unix.NLM_F_APPEND
	default:
		flags |= unix.NLM_F_CREATE | unix.NLM_F_EXCL
	}
	if ack {
		flags |= unix.NLM_F_ACK
	}
	b = native.AppendUint32(b, 0)
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	b = native.AppendUint32(b, 0)
	b = append(b, unix.AF_BRIDGE, 0, 0, 0)
	b = native.AppendUint32(b, uint32(w.IfIndex))
	b = native.AppendUint16(b, nudNoARP|unix.NUD_REACHABLE) // "static": does not age
	b = append(b, ntfSelf|ntfExtLearned, 0)
	b = appendAttr(b, unix.NDA_LLADDR, w.MAC[:])
	if v := w.VTEP.Unmap(); v.Is4() {
		a := v.As4()
		b = appendAttr(b, unix.NDA_DST, a[:])
	} else {
		a := v.As16()
		b = appendAttr(b, unix.NDA_DST, a[:])
	}
	native.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

func appendAttr(b []byte, typ uint16, data []byte) []byte {
	b = native.AppendUint16(b, uint16(4+len(data)))
	b = native.AppendUint16(b, typ)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// dumped is one destination as the kernel reports it.
type dumped struct {
	Entry
	owner owner
	plain bool // port, VNI and interface are the device's own
}

// parseEntry reads the payload of RTM_NEWNEIGH: struct ndmsg and attributes. It reports
// false for what is not a forwarding entry with a destination.
func parseEntry(b []byte) (d dumped, ok bool) {
	if len(b) < unix.SizeofNdMsg || b[0] != unix.AF_BRIDGE {
		return d, false
	}
	d.IfIndex, d.plain = int(int32(native.Uint32(b[4:]))), true
	state, flags := native.Uint16(b[8:]), b[10]
	mac := false
	for b = b[unix.SizeofNdMsg:]; len(b) >= 4; {
		n, typ := int(native.Uint16(b)), native.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)
		if n < 4 || n > len(b) {
			return d, false
		}
		data := b[4:n]
		b = b[min((n+3)&^3, len(b)):]
		switch typ {
		case unix.NDA_LLADDR:
			if len(data) == 6 {
				d.MAC, mac = MAC(data), true
			}
		case unix.NDA_DST:
			d.VTEP, _ = netip.AddrFromSlice(data)
		case unix.NDA_PORT, unix.NDA_VNI, unix.NDA_IFINDEX, unix.NDA_SRC_VNI, ndaNHID:
			d.plain = false
		}
	}
	d.owner = ownerOf(state, flags, d.plain)
	return d, mac && d.VTEP.IsValid()
}

// ownerOf reads the mark; see the package documentation.
func ownerOf(state uint16, flags uint8, plain bool) owner {
	switch {
	case flags&ntfExtLearned != 0 && plain:
		return ours
	case state&(nudNoARP|nudPermanent) == 0 && flags&ntfExtLearned == 0:
		return learned
	}
	return foreign
}

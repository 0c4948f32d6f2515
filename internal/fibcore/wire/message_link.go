package wire

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// ParseLink decodes RTM_NEWLINK or RTM_DELLINK.
func ParseLink(body []byte) (Link, error) {
	if len(body) < rtnl.SizeLink {
		return Link{}, rtnl.ErrMalformed
	}
	flags := native.Uint32(body[8:])
	l := Link{IfIndex: int(int32(native.Uint32(body[4:]))), AdminUp: flags&rtnl.IFF_UP != 0, Carrier: flags&rtnl.IFF_LOWER_UP != 0}
	for typ, v := range rtnl.Attributes(body[rtnl.SizeLink:]) {
		switch typ {
		case rtnl.IFLA_IFNAME:
			l.Interface = v.Text()
		case rtnl.IFLA_ADDRESS:
			if len(v) == 6 {
				l.MAC = [6]byte(v)
			}
		case rtnl.IFLA_MTU:
			l.MTU = int(v.Uint32())
		case rtnl.IFLA_MASTER:
			l.Master = int(v.Uint32())
		}
	}
	return l, nil
}

// KernelAddress is an address as the kernel has it.
type KernelAddress struct {
	Address
	Peer      netip.Addr // the other end's, if that is another; never made here
	Protocol  uint8
	Permanent bool // it has no lifetime
}

// Key is what makes the address one of its own in the kernel.
func (m *KernelAddress) Key() AddressKey {
	return AddressKey{IfIndex: m.IfIndex, Prefix: m.Prefix, Peer: m.Peer}
}

// Parse decodes the body of a message.
func (m *KernelAddress) Parse(body []byte) error {
	if len(body) < rtnl.SizeAddress {
		return rtnl.ErrMalformed
	}
	*m = KernelAddress{}
	m.IfIndex = int(int32(native.Uint32(body[4:])))
	bits, flags := int(body[1]), uint32(body[2])
	m.Scope = ScopeFromKernel(body[3])
	var local, addr netip.Addr
	for typ, v := range rtnl.Attributes(body[rtnl.SizeAddress:]) {
		switch typ {
		case rtnl.IFA_LOCAL:
			local = v.Addr()
		case rtnl.IFA_ADDRESS:
			addr = v.Addr()
		case rtnl.IFA_FLAGS:
			flags = v.Uint32()
		case rtnl.IFA_PROTO:
			m.Protocol = v.Uint8()
		}
	}
	switch {
	case !local.IsValid():
		local = addr
	case addr.IsValid() && addr != local:
		m.Peer = addr
	}
	if !local.IsValid() {
		return rtnl.ErrMalformed
	}
	m.Prefix = netip.PrefixFrom(local, bits)
	m.NoPrefixRoute = flags&rtnl.IFA_F_NOPREFIXROUTE != 0
	m.NoDAD = flags&rtnl.IFA_F_NODAD != 0
	m.Permanent = flags&rtnl.IFA_F_PERMANENT != 0
	return nil
}

// ScopeFromKernel is the scope of rtm_scope, whose 0 is ScopeUniverse.
func ScopeFromKernel(s uint8) Scope {
	if s == 0 {
		return ScopeUniverse
	}
	return Scope(s)
}

// Kernel is the rtm_scope of s.
func (s Scope) Kernel() uint8 {
	if s == ScopeUniverse {
		return 0
	}
	return uint8(s)
}

// AppendAddress appends a message that adds, changes or deletes an address.
func AppendAddress(b []byte, typ, flags uint16, seq uint32, a Address, proto uint8) []byte {
	start := len(b)
	b = rtnl.Begin(b, typ, flags, seq)
	b = append(b, byte(FamilyOf(a.Prefix.Addr())), byte(a.Prefix.Bits()), 0, a.Scope.Kernel())
	b = native.AppendUint32(b, uint32(a.IfIndex))
	b = rtnl.AppendAddr(b, rtnl.IFA_LOCAL, a.Prefix.Addr())
	b = rtnl.AppendAddr(b, rtnl.IFA_ADDRESS, a.Prefix.Addr())
	if typ == rtnl.RTM_NEWADDR {
		f := uint32(rtnl.IFA_F_PERMANENT)
		if a.NoPrefixRoute {
			f |= rtnl.IFA_F_NOPREFIXROUTE
		}
		if a.NoDAD {
			f |= rtnl.IFA_F_NODAD
		}
		b = rtnl.AppendUint32(b, rtnl.IFA_FLAGS, f)
		b = rtnl.AppendUint8(b, rtnl.IFA_PROTO, proto)
	}
	return rtnl.End(b, start)
}

// KernelNeighbor is a permanent or proxy neighbour as the kernel has it.
type KernelNeighbor struct {
	Neighbor
	Protocol  uint8
	Permanent bool
}

// Parse decodes the body of a message.
func (m *KernelNeighbor) Parse(body []byte) error {
	if len(body) < rtnl.SizeNeighbor {
		return rtnl.ErrMalformed
	}
	*m = KernelNeighbor{}
	m.IfIndex = int(int32(native.Uint32(body[4:])))
	m.Permanent = native.Uint16(body[8:])&rtnl.NUD_PERMANENT != 0
	m.Proxy = body[10]&rtnl.NTF_PROXY != 0
	for typ, v := range rtnl.Attributes(body[rtnl.SizeNeighbor:]) {
		switch typ {
		case rtnl.NDA_DST:
			m.Addr = v.Addr()
		case rtnl.NDA_LLADDR:
			if len(v) == 6 && !m.Proxy {
				m.MAC = [6]byte(v)
			}
		case rtnl.NDA_PROTOCOL:
			m.Protocol = v.Uint8()
		}
	}
	return nil
}

// AppendNeighbor appends a message that adds, changes or deletes a permanent or proxy neighbour.
func AppendNeighbor(b []byte, typ, flags uint16, seq uint32, n Neighbor, proto uint8) []byte {
	start := len(b)
	b = rtnl.Begin(b, typ, flags, seq)
	ntf := byte(0)
	if n.Proxy {
		ntf = rtnl.NTF_PROXY
	}
	b = append(b, byte(FamilyOf(n.Addr)), 0, 0, 0)
	b = native.AppendUint32(b, uint32(n.IfIndex))
	b = native.AppendUint16(b, rtnl.NUD_PERMANENT) // proxies, too, outlive the loss of the carrier
	b = append(b, ntf, 0)
	b = rtnl.AppendAddr(b, rtnl.NDA_DST, n.Addr)
	if typ == rtnl.RTM_NEWNEIGH {
		if !n.Proxy {
			b = rtnl.AppendBytes(b, rtnl.NDA_LLADDR, n.MAC[:])
		}
		b = rtnl.AppendUint8(b, rtnl.NDA_PROTOCOL, proto)
	}
	return rtnl.End(b, start)
}

// AppendProbe appends a message that has the kernel ask for a neighbour again: at once, or
// with a MAC when it next sends to it (NUD_STALE).
func AppendProbe(b []byte, seq uint32, n Neighbor) []byte {
	start := len(b)
	flags, state, ntf := uint16(rtnl.NLM_F_REQUEST), uint16(0), byte(rtnl.NTF_USE)
	if n.MAC != [6]byte{} {
		flags |= rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE
		state, ntf = rtnl.NUD_STALE, 0
	}
	b = rtnl.Begin(b, rtnl.RTM_NEWNEIGH, flags, seq)
	b = append(b, byte(FamilyOf(n.Addr)), 0, 0, 0)
	b = native.AppendUint32(b, uint32(n.IfIndex))
	b = native.AppendUint16(b, state)
	b = append(b, ntf, 0)
	b = rtnl.AppendAddr(b, rtnl.NDA_DST, n.Addr)
	if state != 0 {
		b = rtnl.AppendBytes(b, rtnl.NDA_LLADDR, n.MAC[:])
	}
	return rtnl.End(b, start)
}

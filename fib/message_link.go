package fib

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

func parseLink(body []byte) (Link, error) {
	if len(body) < sizeLink {
		return Link{}, errShort
	}
	flags := native.Uint32(body[8:])
	l := Link{IfIndex: int(int32(native.Uint32(body[4:]))), AdminUp: flags&unix.IFF_UP != 0, Carrier: flags&unix.IFF_LOWER_UP != 0}
	for typ, v, rest, ok := next(body[sizeLink:]); ok; typ, v, rest, ok = next(rest) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.Interface = text(v)
		case unix.IFLA_ADDRESS:
			if len(v) == 6 {
				l.MAC = [6]byte(v)
			}
		case unix.IFLA_MTU:
			l.MTU = int(u32(v))
		case unix.IFLA_MASTER:
			l.Master = int(u32(v))
		}
	}
	return l, nil
}

// kernelAddress is an address as the kernel has it.
type kernelAddress struct {
	Address
	peer      netip.Addr // the other end's, if that is another; never made here
	proto     uint8
	permanent bool // it has no lifetime
}

// key is what makes the address one of its own in the kernel.
func (m *kernelAddress) key() addressKey {
	return addressKey{link: m.IfIndex, prefix: m.Prefix, peer: m.peer}
}

func (m *kernelAddress) parse(body []byte) error {
	if len(body) < sizeAddr {
		return errShort
	}
	*m = kernelAddress{}
	m.IfIndex = int(int32(native.Uint32(body[4:])))
	bits, flags := int(body[1]), uint32(body[2])
	m.Scope = scopeFromKernel(body[3])
	var local, addr netip.Addr
	for typ, v, rest, ok := next(body[sizeAddr:]); ok; typ, v, rest, ok = next(rest) {
		switch typ {
		case unix.IFA_LOCAL:
			local = address(v)
		case unix.IFA_ADDRESS:
			addr = address(v)
		case unix.IFA_FLAGS:
			flags = u32(v)
		case attrIfaProto:
			m.proto = u8(v)
		}
	}
	switch {
	case !local.IsValid():
		local = addr
	case addr.IsValid() && addr != local:
		m.peer = addr
	}
	if !local.IsValid() {
		return errShort
	}
	m.Prefix = netip.PrefixFrom(local, bits)
	m.NoPrefixRoute = flags&unix.IFA_F_NOPREFIXROUTE != 0
	m.NoDAD = flags&unix.IFA_F_NODAD != 0
	m.permanent = flags&unix.IFA_F_PERMANENT != 0
	return nil
}

func scopeFromKernel(s uint8) Scope {
	if s == 0 {
		return ScopeUniverse
	}
	return Scope(s)
}

func (s Scope) kernel() uint8 {
	if s == ScopeUniverse {
		return 0
	}
	return uint8(s)
}

func appendAddress(b []byte, typ, flags uint16, seq uint32, a Address, proto uint8) []byte {
	start := len(b)
	b = begin(b, typ, flags, seq)
	b = append(b, byte(familyOf(a.Prefix.Addr())), byte(a.Prefix.Bits()), 0, a.Scope.kernel())
	b = native.AppendUint32(b, uint32(a.IfIndex))
	b = attrAddr(b, unix.IFA_LOCAL, a.Prefix.Addr())
	b = attrAddr(b, unix.IFA_ADDRESS, a.Prefix.Addr())
	if typ == unix.RTM_NEWADDR {
		f := uint32(unix.IFA_F_PERMANENT)
		if a.NoPrefixRoute {
			f |= unix.IFA_F_NOPREFIXROUTE
		}
		if a.NoDAD {
			f |= unix.IFA_F_NODAD
		}
		b = attr32(b, unix.IFA_FLAGS, f)
		b = attr8(b, attrIfaProto, proto)
	}
	return end(b, start)
}

const attrNeighProto = 12 // NDA_PROTOCOL

// kernelNeighbor is a permanent or proxy neighbour as the kernel has it.
type kernelNeighbor struct {
	Neighbor
	proto     uint8
	permanent bool
}

func (m *kernelNeighbor) parse(body []byte) error {
	if len(body) < sizeNeigh {
		return errShort
	}
	*m = kernelNeighbor{}
	m.IfIndex = int(int32(native.Uint32(body[4:])))
	m.permanent = native.Uint16(body[8:])&unix.NUD_PERMANENT != 0
	m.Proxy = body[10]&unix.NTF_PROXY != 0
	for typ, v, rest, ok := next(body[sizeNeigh:]); ok; typ, v, rest, ok = next(rest) {
		switch typ {
		case unix.NDA_DST:
			m.Addr = address(v)
		case unix.NDA_LLADDR:
			if len(v) == 6 && !m.Proxy {
				m.MAC = [6]byte(v)
			}
		case attrNeighProto:
			m.proto = u8(v)
		}
	}
	return nil
}

func appendNeighbor(b []byte, typ, flags uint16, seq uint32, n Neighbor, proto uint8) []byte {
	start := len(b)
	b = begin(b, typ, flags, seq)
	ntf := byte(0)
	if n.Proxy {
		ntf = unix.NTF_PROXY
	}
	b = append(b, byte(familyOf(n.Addr)), 0, 0, 0)
	b = native.AppendUint32(b, uint32(n.IfIndex))
	b = native.AppendUint16(b, unix.NUD_PERMANENT) // proxies, too, outlive the loss of the carrier
	b = append(b, ntf, 0)
	b = attrAddr(b, unix.NDA_DST, n.Addr)
	if typ == unix.RTM_NEWNEIGH {
		if !n.Proxy {
			b = attr(b, unix.NDA_LLADDR, n.MAC[:])
		}
		b = attr8(b, attrNeighProto, proto)
	}
	return end(b, start)
}

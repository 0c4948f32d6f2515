package lookup

import (
	"encoding/binary"
	"errors"
	"iter"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

var errMalformed = errors.New("malformed netlink message")

// Numbers that golang.org/x/sys/unix lacks (linux/rtnetlink.h, fib_rules.h, neighbour.h,
// nexthop.h, if_link.h).
const (
	rtmFibMatch    = 0x2000
	rtaNHID        = 30
	fraDSCP        = 25
	fraProtocol    = 21
	ndaProtocol    = 12
	nhaID          = 1
	nhaGroup       = 2
	nhaBlackhole   = 4
	nhaOIF         = 5
	nhaGateway     = 6
	rtmGetNextHop  = 106
	iflaVRFTable   = 1
	rtextSkipStats = 1 << 3
	nudNoARP       = 0x40
	sizeRule       = 12
	sizeNextHop    = 8
	sizeNeighbour  = 12
	lowerUp        = 0x10000
)

// request makes a netlink message; each attribute is its type and value.
func request(typ, flags uint16, header []byte, attributes ...attribute) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, 128)
	native.PutUint16(b[4:], typ)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	native.PutUint32(b[8:], 1) // its sequence number
	b = append(b, header...)
	for _, a := range attributes {
		b = native.AppendUint16(b, uint16(unix.SizeofNlAttr+len(a.value)))
		b = native.AppendUint16(b, a.typ)
		b = append(b, a.value...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	native.PutUint32(b, uint32(len(b)))
	return b
}

type attribute struct {
	typ   uint16
	value []byte
}

func number(typ uint16, v uint32) attribute { return attribute{typ, native.AppendUint32(nil, v)} }

// attributes yields those in b, without the flags of their types.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			size := int(native.Uint16(b))
			if size < unix.SizeofNlAttr || size > len(b) || !yield(native.Uint16(b[2:])&0x3fff, b[unix.SizeofNlAttr:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

func word(v []byte) uint32 {
	switch {
	case len(v) >= 4:
		return native.Uint32(v)
	case len(v) >= 2:
		return uint32(native.Uint16(v))
	case len(v) == 1:
		return uint32(v[0])
	}
	return 0
}

func text(v []byte) string { return strings.TrimRight(string(v), "\x00") }

func address(v []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(v)
	return a
}

// via is struct rtvia: a family, then the address.
func via(v []byte) netip.Addr {
	if len(v) < 2 {
		return netip.Addr{}
	}
	return address(v[2:])
}

func unspecified(six bool) netip.Addr {
	if six {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// parseRoute reads struct rtmsg and its attributes.
func parseRoute(b []byte) (r Route, err error) {
	if len(b) < unix.SizeofRtMsg {
		return r, errMalformed
	}
	dst := unspecified(b[0] == unix.AF_INET6)
	bits := int(b[1])
	r = Route{TOS: b[3], Table: uint32(b[4]), Protocol: b[5], Type: RouteType(b[7])}
	flags := native.Uint32(b[8:])
	one := Hop{Weight: 1, OnLink: flags&unix.RTNH_F_ONLINK != 0, Flags: uint8(flags & (flagDead | flagLinkDown))}
	for typ, v := range attributes(b[unix.SizeofRtMsg:]) {
		switch typ {
		case unix.RTA_DST:
			dst = address(v)
		case unix.RTA_TABLE:
			r.Table = word(v)
		case unix.RTA_PRIORITY:
			r.Metric = word(v)
		case unix.RTA_PREFSRC:
			r.PrefSrc = address(v)
		case unix.RTA_GATEWAY:
			one.Gateway = address(v)
		case unix.RTA_VIA:
			one.Gateway = via(v)
		case unix.RTA_OIF:
			one.IfIndex = int(word(v))
		case rtaNHID:
			r.NextHop = word(v)
		case unix.RTA_MULTIPATH:
			r.Hops = parseHops(v)
		}
	}
	r.Prefix = netip.PrefixFrom(dst, bits)
	if r.Hops == nil && one.IfIndex != 0 {
		r.Hops = []Hop{one}
	}
	return r, nil
}

// parseHops reads a list of struct rtnexthop.
func parseHops(v []byte) (list []Hop) {
	for len(v) >= unix.SizeofRtNexthop {
		n := int(native.Uint16(v))
		if n < unix.SizeofRtNexthop || n > len(v) {
			break
		}
		h := Hop{Weight: int(v[3]) + 1, OnLink: v[2]&unix.RTNH_F_ONLINK != 0, Flags: v[2] & (flagDead | flagLinkDown), IfIndex: int(native.Uint32(v[4:]))}
		for typ, a := range attributes(v[unix.SizeofRtNexthop:n]) {
			switch typ {
			case unix.RTA_GATEWAY:
				h.Gateway = address(a)
			case unix.RTA_VIA:
				h.Gateway = via(a)
			}
		}
		list = append(list, h)
		v = v[min((n+3)&^3, len(v)):]
	}
	return list
}

// parseRule reads struct fib_rule_hdr and its attributes.
func parseRule(b []byte) (r Rule, err error) {
	if len(b) < sizeRule {
		return r, errMalformed
	}
	r = Rule{DSCP: b[3], Table: uint32(b[4]), Action: Action(b[7]), Suppress: -1, Not: native.Uint32(b[8:])&unix.FIB_RULE_INVERT != 0}
	to, from := int(b[1]), int(b[2])
	for typ, v := range attributes(b[sizeRule:]) {
		r.attribute(typ, v, to, from)
	}
	if r.Action != ActionTable || r.L3MDev {
		r.Table = 0
	}
	return r, nil
}

func (r *Rule) attribute(typ uint16, v []byte, to, from int) {
	switch typ {
	case unix.FRA_DST:
		r.To = netip.PrefixFrom(address(v), to)
	case unix.FRA_SRC:
		r.From = netip.PrefixFrom(address(v), from)
	case unix.FRA_IIFNAME:
		r.IIF = text(v)
	case unix.FRA_OIFNAME:
		r.OIF = text(v)
	case unix.FRA_GOTO:
		r.Target = word(v)
	case unix.FRA_PRIORITY:
		r.Priority = word(v)
	case unix.FRA_FWMARK:
		r.Mark = word(v)
	case unix.FRA_FWMASK:
		r.Mask = word(v)
	case unix.FRA_TABLE:
		r.Table = word(v)
	case unix.FRA_SUPPRESS_PREFIXLEN:
		r.Suppress = int(int32(word(v)))
	case unix.FRA_SUPPRESS_IFGROUP:
		r.SuppressGroup = int32(word(v)) >= 0
	case unix.FRA_L3MDEV:
		r.L3MDev = word(v) != 0
	case unix.FRA_UID_RANGE:
		if r.UIDs = len(v) >= 8; r.UIDs {
			r.UIDLow, r.UIDHigh = word(v), word(v[4:])
		}
	case fraProtocol:
		r.Protocol = uint8(word(v))
	case unix.FRA_IP_PROTO:
		r.IPProto = uint8(word(v))
	case unix.FRA_SPORT_RANGE, unix.FRA_DPORT_RANGE:
		r.Ports = true
	case fraDSCP:
		r.DSCP = uint8(word(v)) << 2
	case unix.FRA_FLOW, unix.FRA_TUN_ID: // a realm, which is no selector; a tunnel's key, which is
		r.Other = r.Other || typ == unix.FRA_TUN_ID && len(v) == 8 && native.Uint64(v) != 0
	}
}

// parseNeighbour reads struct ndmsg and its attributes.
func parseNeighbour(b []byte) (n Neighbour, err error) {
	if len(b) < sizeNeighbour {
		return n, errMalformed
	}
	n = Neighbour{IfIndex: int(native.Uint32(b[4:])), State: stateName(native.Uint16(b[8:])), Proxy: b[10]&unix.NTF_PROXY != 0}
	for typ, v := range attributes(b[sizeNeighbour:]) {
		switch typ {
		case unix.NDA_DST:
			n.Addr = address(v)
		case unix.NDA_LLADDR:
			n.MAC = net.HardwareAddr(v)
		case ndaProtocol:
			n.Protocol = uint8(word(v))
		}
	}
	return n, nil
}

// stateName names the state of a neighbour (NUD_*) as iproute2 does.
func stateName(s uint16) string {
	for _, one := range []struct {
		bit  uint16
		name string
	}{{1, "incomplete"}, {2, "reachable"}, {4, "stale"}, {8, "delay"}, {16, "probe"}, {32, "failed"}, {nudNoARP, "noarp"}, {128, "permanent"}} {
		if s&one.bit != 0 {
			return one.name
		}
	}
	return "none"
}

// parseNextHop reads struct nhmsg and its attributes.
func parseNextHop(b []byte) (n NextHopObject, err error) {
	if len(b) < sizeNextHop {
		return n, errMalformed
	}
	n = NextHopObject{Protocol: b[2], Hop: Hop{Weight: 1}}
	if flags := native.Uint32(b[4:]); flags != 0 {
		n.Hop.OnLink, n.Hop.Flags = flags&unix.RTNH_F_ONLINK != 0, uint8(flags&(flagDead|flagLinkDown))
	}
	for typ, v := range attributes(b[sizeNextHop:]) {
		switch typ {
		case nhaID:
			n.ID = word(v)
		case nhaBlackhole:
			n.Blackhole = true
		case nhaOIF:
			n.Hop.IfIndex = int(word(v))
		case nhaGateway:
			n.Hop.Gateway = address(v)
		case nhaGroup: // struct nexthop_grp: an id, a weight less one
			for ; len(v) >= 8; v = v[8:] {
				n.Members = append(n.Members, native.Uint32(v))
				n.Weights = append(n.Weights, uint16(v[4])+1)
			}
		}
	}
	return n, nil
}

// parseLink reads struct ifinfomsg and its attributes.
func parseLink(b []byte) (l Link, err error) {
	if len(b) < unix.SizeofIfInfomsg {
		return l, errMalformed
	}
	flags := native.Uint32(b[8:])
	l = Link{Index: int(native.Uint32(b[4:])), Up: flags&unix.IFF_UP != 0, Carrier: flags&lowerUp != 0}
	elsewhere := false
	for typ, v := range attributes(b[unix.SizeofIfInfomsg:]) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.Name = text(v)
		case unix.IFLA_MASTER:
			l.Master = int(word(v))
		case unix.IFLA_LINK:
			l.Lower = int(word(v))
		case unix.IFLA_LINK_NETNSID: // the other one is in another namespace
			elsewhere = true
		case unix.IFLA_LINKINFO:
			l.info(v)
		}
	}
	if elsewhere || l.Lower == l.Index { // a tunnel's and lo's own
		l.Lower = 0
	}
	return l, nil
}

// info reads what an interface is: a bridge, a VRF's device and its table, a VXLAN device and its VNI.
func (l *Link) info(v []byte) {
	kind := ""
	for typ, a := range attributes(v) {
		switch typ {
		case unix.IFLA_INFO_KIND:
			kind = text(a)
			l.Bridge = kind == "bridge"
		case unix.IFLA_INFO_DATA:
			for typ, d := range attributes(a) {
				switch {
				case kind == "vrf" && typ == iflaVRFTable:
					l.Table = word(d)
				case kind == "vxlan" && typ == unix.IFLA_VXLAN_ID:
					l.VNI = word(d)
				}
			}
		}
	}
}

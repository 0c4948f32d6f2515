package fakekernel

import (
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// get answers a request for one object: the route of a packet (RTM_GETROUTE, always with what
// RTM_F_FIB_MATCH returns), or a neighbour.
func (s *Socket) get(request rtnl.Message) {
	var typ uint16
	var body []byte
	errno := unix.EOPNOTSUPP
	switch request.Type {
	case rtnl.RTM_GETROUTE:
		typ = rtnl.RTM_NEWROUTE
		body, errno = s.kernel.match(request.Body)
	case rtnl.RTM_GETNEIGH:
		typ = rtnl.RTM_NEWNEIGH
		body, errno = s.kernel.getNeighbor(request.Body)
	}
	if errno != 0 {
		s.answer(request, errno)
		return
	}
	s.queue = append(s.queue, queued{datagram: datagram(typ, 0, request.Seq, s.port, body)})
}

// match is inet_rtm_getroute and inet6_rtm_getroute with RTM_F_FIB_MATCH.
func (k *Kernel) match(body []byte) ([]byte, unix.Errno) {
	if len(body) < rtnl.SizeRoute {
		return nil, unix.EINVAL
	}
	var p Packet
	for typ, v := range rtnl.Attributes(body[rtnl.SizeRoute:]) {
		switch typ {
		case rtnl.RTA_DST:
			p.Dst = v.Addr()
		case rtnl.RTA_SRC:
			p.Src = v.Addr()
		case rtnl.RTA_IIF:
			p.IIF = int(v.Uint32())
		case rtnl.RTA_MARK:
			p.Mark = v.Uint32()
		}
	}
	d := k.Lookup(p)
	switch {
	case d.Table == 0 && d.Type == wire.RouteUnreachable:
		return nil, unix.ENETUNREACH
	case d.Type == wire.RouteUnreachable:
		return nil, unix.EHOSTUNREACH
	case d.Type == wire.RouteProhibit:
		return nil, unix.EACCES
	case d.Type == wire.RouteBlackhole:
		return nil, unix.EINVAL
	case d.Route != nil:
		return k.shown(d.Route), 0
	}
	own := wire.RouteMessage{Table: d.Table, Metric: d.Metric, Bits: uint8(d.Prefix.Bits()), NextHops: d.NextHops}
	own.Family, own.Type, own.Protocol = wire.FamilyOf(p.Dst), d.Type, rtnl.RTPROT_KERNEL
	own.Hi, own.Lo = wire.PackAddr(d.Prefix.Addr())
	return wire.AppendRoute(nil, rtnl.RTM_NEWROUTE, 0, 0, &own, true)[rtnl.SizeHeader:], 0
}

// getNeighbor is neigh_get.
func (k *Kernel) getNeighbor(body []byte) ([]byte, unix.Errno) {
	var n wire.KernelNeighbor
	if n.Parse(body) != nil || !n.Addr.IsValid() {
		return nil, unix.EINVAL
	}
	found, ok := k.neighbors[keyOf(n.Neighbor)]
	if !ok {
		return nil, unix.ENOENT
	}
	return neighborBody(found), 0
}

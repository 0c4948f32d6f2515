package bfd

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// rtnl is a small rtnetlink socket for the emergency failover: blocking calls on
// the thread that owns it, one buffer, no goroutines.
type rtnl struct {
	fd  int
	seq uint32
	buf []byte
	out []byte
}

// rtnlTimeout is how long an answer may take: the kernel's RTNL lock can be held
// by bulk route writes for 100 ms.
var rtnlTimeout = unix.Timeval{Sec: 2}

// rtnlBuffer holds the largest part of a dump that the kernel sends at once.
const rtnlBuffer = 1 << 16

func newRTNL(path string) (*rtnl, error) {
	r := &rtnl{buf: make([]byte, rtnlBuffer)}
	err := netns.Do(path, func() (err error) {
		r.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	_ = unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &rtnlTimeout)
	return r, nil
}

func (r *rtnl) close() { unix.Close(r.fd) }

// nexthop is a next-hop object as the kernel has it.
type nexthop struct {
	id      uint32
	link    int
	gateway netip.Addr
	group   []byte // array of struct nexthop_grp; nil: not a group
	kind    uint16 // NHA_GROUP_TYPE; 0: plain multipath
	proto   uint8  // who made it
}

// members calls f for every member of a group.
func (n *nexthop) members(f func(id uint32)) {
	for b := n.group; len(b) >= 8; b = b[8:] {
		f(binary.NativeEndian.Uint32(b))
	}
}

// nexthop attributes (linux/nexthop.h).
const (
	nhaID      = 1
	nhaGroup   = 2
	nhaType    = 3
	nhaOIF     = 5
	nhaGateway = 6
	nhaGroups  = 9
	nhmsgLen   = 8
)

// request starts a next-hop message.
func (r *rtnl) request(typ uint16, flags uint16) {
	r.begin(typ, flags, nhmsgLen)
}

// begin starts a message with n zero octets after the header.
func (r *rtnl) begin(typ, flags uint16, n int) {
	r.seq++
	r.out = r.out[:0]
	r.out = binary.NativeEndian.AppendUint32(r.out, 0)
	r.out = binary.NativeEndian.AppendUint16(r.out, typ)
	r.out = binary.NativeEndian.AppendUint16(r.out, flags|unix.NLM_F_REQUEST)
	r.out = binary.NativeEndian.AppendUint32(r.out, r.seq)
	r.out = append(r.out, 0, 0, 0, 0)
	r.out = append(r.out, make([]byte, n)...)
}

func (r *rtnl) attr(typ uint16, data []byte) {
	r.out = binary.NativeEndian.AppendUint16(r.out, uint16(4+len(data)))
	r.out = binary.NativeEndian.AppendUint16(r.out, typ)
	r.out = append(r.out, data...)
	for len(r.out)%4 != 0 {
		r.out = append(r.out, 0)
	}
}

// exchange sends the request and calls f for each message of the answer, until it
// is complete.
func (r *rtnl) exchange(f func(typ uint16, body []byte)) error {
	binary.NativeEndian.PutUint32(r.out, uint32(len(r.out)))
	if err := unix.Sendto(r.fd, r.out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		n, _, err := unix.Recvfrom(r.fd, r.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if done, err := r.answer(r.buf[:n], f); done || err != nil {
			return err
		}
	}
}

// answer walks over one datagram.
func (r *rtnl) answer(b []byte, f func(typ uint16, body []byte)) (done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		h := (*unix.NlMsghdr)(unsafe.Pointer(&b[0]))
		n := int(h.Len)
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return true, unix.EBADMSG
		}
		body := b[unix.SizeofNlMsghdr:n]
		b = b[min(len(b), (n+3)&^3):]
		if h.Seq != r.seq {
			continue // late answer to a request that timed out
		}
		switch h.Type {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return true, unix.EBADMSG
			}
			if errno := -int32(binary.NativeEndian.Uint32(body)); errno != 0 {
				return true, unix.Errno(errno)
			}
			return true, nil
		}
		f(h.Type, body)
		if h.Flags&unix.NLM_F_MULTI == 0 {
			return true, nil
		}
	}
	return false, nil
}

// get returns one next-hop object.
func (r *rtnl) get(id uint32) (n nexthop, err error) {
	r.request(unix.RTM_GETNEXTHOP, 0)
	r.attr(nhaID, binary.NativeEndian.AppendUint32(nil, id))
	err = r.exchange(func(_ uint16, body []byte) { n = parseNexthop(body) })
	return n, err
}

// groups returns every group of next-hop objects.
func (r *rtnl) groups() (list []nexthop, err error) {
	r.request(unix.RTM_GETNEXTHOP, unix.NLM_F_DUMP)
	r.attr(nhaGroups, nil)
	err = r.exchange(func(_ uint16, body []byte) {
		if n := parseNexthop(body); n.group != nil {
			n.group = slices.Clone(n.group)
			list = append(list, n)
		}
	})
	return list, err
}

// remove deletes one next-hop object, and with it its memberships.
func (r *rtnl) remove(id uint32) error {
	r.request(unix.RTM_DELNEXTHOP, unix.NLM_F_ACK)
	r.attr(nhaID, binary.NativeEndian.AppendUint32(nil, id))
	return r.exchange(func(uint16, []byte) {})
}

// shrink replaces a group by one with other members.
func (r *rtnl) shrink(g *nexthop, members []byte) error {
	r.begin(unix.RTM_NEWNEXTHOP, unix.NLM_F_ACK|unix.NLM_F_REPLACE, nhmsgLen)
	r.out[unix.SizeofNlMsghdr+2] = g.proto
	r.attr(nhaID, binary.NativeEndian.AppendUint32(nil, g.id))
	r.attr(nhaGroup, members)
	return r.exchange(func(uint16, []byte) {})
}

// parseNexthop reads the attributes after struct nhmsg; the group aliases b.
func parseNexthop(b []byte) (n nexthop) {
	if len(b) < nhmsgLen {
		return n
	}
	n.proto = b[2]
	attributes(b[nhmsgLen:], func(typ uint16, data []byte) {
		switch {
		case typ == nhaType && len(data) == 2:
			n.kind = binary.NativeEndian.Uint16(data)
		case typ == nhaID && len(data) == 4:
			n.id = binary.NativeEndian.Uint32(data)
		case typ == nhaOIF && len(data) == 4:
			n.link = int(binary.NativeEndian.Uint32(data))
		case typ == nhaGateway:
			n.gateway, _ = netip.AddrFromSlice(data)
		case typ == nhaGroup:
			n.group = data
		}
	})
	return n
}

// attributes calls f for each attribute in b.
func attributes(b []byte, f func(typ uint16, data []byte)) {
	for len(b) >= 4 {
		size, typ := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < 4 || size > len(b) {
			return
		}
		f(typ, b[4:size])
		b = b[min(len(b), (size+3)&^3):]
	}
}

// neighbor returns the link-layer address of an IP address, nil if the kernel
// does not know one.
func (r *rtnl) neighbor(ifindex int, addr netip.Addr) (mac []byte) {
	r.begin(unix.RTM_GETNEIGH, 0, unix.SizeofNdMsg)
	m := r.out[unix.SizeofNlMsghdr:]
	m[0] = byte(family(addr.Is6()))
	binary.NativeEndian.PutUint32(m[4:], uint32(ifindex))
	r.attr(unix.NDA_DST, addr.AsSlice())
	const usable = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT | unix.NUD_NOARP
	_ = r.exchange(func(_ uint16, body []byte) { // no such neighbour, most likely
		if len(body) < unix.SizeofNdMsg || binary.NativeEndian.Uint16(body[8:])&usable == 0 {
			return
		}
		attributes(body[unix.SizeofNdMsg:], func(typ uint16, data []byte) {
			if typ == unix.NDA_LLADDR {
				mac = slices.Clone(data)
			}
		})
	})
	return mac
}

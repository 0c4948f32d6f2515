package bfd

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// rtnl is a small rtnetlink socket: blocking calls of one goroutine at a time, one buffer.
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

func newRTNL() (r *rtnl, err error) {
	r = &rtnl{buf: make([]byte, rtnlBuffer)}
	if r.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err != nil {
		return nil, os.NewSyscallError("netlink socket", err)
	}
	_ = unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &rtnlTimeout)
	return r, nil
}

func (r *rtnl) close() { unix.Close(r.fd) }

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

// NextHop implements [bfdcore.Kernel].
func (r *rtnl) NextHop(id uint32) (n bfdcore.NextHop, err error) {
	r.request(unix.RTM_GETNEXTHOP, 0)
	r.attr(nhaID, binary.NativeEndian.AppendUint32(nil, id))
	err = r.exchange(func(_ uint16, body []byte) { n = parseNextHop(body) })
	if err == unix.ENOENT {
		err = bfdcore.ErrNoNextHop
	}
	return n, err
}

// Groups implements [bfdcore.Kernel].
func (r *rtnl) Groups() (list []bfdcore.NextHop, err error) {
	r.request(unix.RTM_GETNEXTHOP, unix.NLM_F_DUMP)
	r.attr(nhaGroups, nil)
	err = r.exchange(func(_ uint16, body []byte) {
		if n := parseNextHop(body); n.Group != nil {
			list = append(list, n)
		}
	})
	return list, err
}

// Delete implements [bfdcore.Kernel]: it deletes an object, and with it its memberships.
func (r *rtnl) Delete(id uint32) error {
	r.request(unix.RTM_DELNEXTHOP, unix.NLM_F_ACK)
	r.attr(nhaID, binary.NativeEndian.AppendUint32(nil, id))
	return r.exchange(func(uint16, []byte) {})
}

// Replace implements [bfdcore.Kernel].
func (r *rtnl) Replace(g bfdcore.NextHop) error {
	r.request(unix.RTM_NEWNEXTHOP, unix.NLM_F_ACK|unix.NLM_F_REPLACE)
	r.out[unix.SizeofNlMsghdr+2] = g.Proto
	r.attr(nhaID, binary.NativeEndian.AppendUint32(nil, g.ID))
	var members []byte
	for _, m := range g.Group {
		members = binary.NativeEndian.AppendUint32(members, m.ID)
		members = append(members, byte(m.Weight), byte(m.Weight>>8), 0, 0)
	}
	r.attr(nhaGroup, members)
	return r.exchange(func(uint16, []byte) {})
}

// parseNextHop reads the attributes after struct nhmsg.
func parseNextHop(b []byte) (n bfdcore.NextHop) {
	if len(b) < nhmsgLen {
		return n
	}
	n.Proto = b[2]
	attributes(b[nhmsgLen:], func(typ uint16, data []byte) {
		switch {
		case typ == nhaType && len(data) == 2:
			n.Kind = binary.NativeEndian.Uint16(data)
		case typ == nhaID && len(data) == 4:
			n.ID = binary.NativeEndian.Uint32(data)
		case typ == nhaOIF && len(data) == 4:
			n.Link = int(binary.NativeEndian.Uint32(data))
		case typ == nhaGateway:
			n.Gateway, _ = netip.AddrFromSlice(data)
		case typ == nhaGroup:
			n.Group = parseMembers(data)
		}
	})
	return n
}

// parseMembers reads an array of struct nexthop_grp: the id, and the weight in two parts
// (the upper one since Linux 6.12).
func parseMembers(b []byte) []bfdcore.Member {
	list := make([]bfdcore.Member, 0, len(b)/8)
	for ; len(b) >= 8; b = b[8:] {
		list = append(list, bfdcore.Member{ID: binary.NativeEndian.Uint32(b), Weight: uint16(b[4]) | uint16(b[5])<<8})
	}
	return list
}

// find looks an interface up by name.
func (r *rtnl) find(name string) (l device, err error) {
	i, err := r.link(0, name)
	if err != nil {
		return l, fmt.Errorf("interface %s: %w", name, err)
	}
	l.index = i.index
	switch {
	case i.kind == "vrf":
		l.vrf, l.isVRF = i.index, true
	case i.master != 0:
		if master, err := r.link(i.master, ""); err == nil && master.kind == "vrf" {
			l.vrf = i.master
		}
	}
	return l, nil
}

// linkInfo is what the kernel says about an interface.
type linkInfo struct {
	index, master int
	kind          string // "vrf", for example
}

// link asks for one interface, by index or by name.
func (r *rtnl) link(index int, name string) (i linkInfo, err error) {
	r.begin(unix.RTM_GETLINK, 0, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(r.out[unix.SizeofNlMsghdr+4:], uint32(index))
	if name != "" {
		r.attr(unix.IFLA_IFNAME, append([]byte(name), 0))
	}
	err = r.exchange(func(_ uint16, body []byte) { i = parseLink(body) })
	return i, err
}

func parseLink(b []byte) (i linkInfo) {
	if len(b) < unix.SizeofIfInfomsg {
		return i
	}
	i.index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	attributes(b[unix.SizeofIfInfomsg:], func(typ uint16, data []byte) {
		switch {
		case typ == unix.IFLA_MASTER && len(data) == 4:
			i.master = int(binary.NativeEndian.Uint32(data))
		case typ&^unix.NLA_F_NESTED == unix.IFLA_LINKINFO:
			attributes(data, func(typ uint16, data []byte) {
				if typ == unix.IFLA_INFO_KIND {
					i.kind = unix.ByteSliceToString(data)
				}
			})
		}
	})
	return i
}

// isLocal reports whether the kernel delivers packets to an address to the host itself.
func (r *rtnl) isLocal(addr netip.Addr) (yes bool) {
	r.begin(unix.RTM_GETROUTE, 0, unix.SizeofRtMsg)
	m := r.out[unix.SizeofNlMsghdr:]
	m[0], m[1] = byte(family(addr.Is6())), byte(addr.BitLen())
	r.attr(unix.RTA_DST, addr.AsSlice())
	_ = r.exchange(func(_ uint16, body []byte) { // no route: then not to itself
		yes = len(body) >= unix.SizeofRtMsg && body[7] == unix.RTN_LOCAL
	})
	return yes
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

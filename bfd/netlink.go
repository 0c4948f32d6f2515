package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// netlink asks one namespace's kernel for interfaces, neighbours and next-hop objects, and
// changes the latter. One goroutine uses it at a time.
type netlink struct {
	conn   netlinkConn // a NETLINK_ROUTE socket of the namespace
	seq    uint32      // of the last request
	out    []byte      // the request
	buffer []byte      // its answer
}

// netlinkConn is rtnl.Socket, or in tests a model of the kernel.
type netlinkConn interface {
	rtnl.Conn
	Close() error
}

// netlinkTimeout is how long an answer may take: the kernel's RTNL lock can be held
// by bulk route writes for 100 ms.
const netlinkTimeout = 2 * time.Second

// openNetlink opens a socket in the namespace of the calling thread.
func openNetlink() (*netlink, error) {
	s, err := rtnl.Open(rtnl.Config{Timeout: netlinkTimeout})
	if err != nil {
		return nil, err
	}
	return newNetlink(s), nil
}

func newNetlink(c netlinkConn) *netlink {
	return &netlink{conn: c, buffer: make([]byte, rtnl.DatagramSize)}
}

func (n *netlink) close() { n.conn.Close() }

// begin begins a request whose fixed header has size octets, and returns that, which is
// zero, to be filled in before anything is appended to n.out.
func (n *netlink) begin(typ, flags uint16, size int) (header []byte) {
	n.seq++
	n.out = rtnl.Begin(n.out[:0], typ, flags|rtnl.NLM_F_REQUEST, n.seq)
	n.out = append(n.out, make([]byte, size)...)
	return n.out[rtnl.SizeHeader:]
}

// exchange sends the request and calls f, if that is not nil, for each message of the
// answer.
func (n *netlink) exchange(f func(rtnl.Message)) error {
	return rtnl.Exchange(n.conn, rtnl.End(n.out, 0), n.buffer, f)
}

// NextHop implements [bfdcore.Kernel].
func (n *netlink) NextHop(id uint32) (h bfdcore.NextHop, err error) {
	n.begin(rtnl.RTM_GETNEXTHOP, 0, rtnl.SizeNextHop)
	n.out = rtnl.AppendUint32(n.out, rtnl.NHA_ID, id)
	err = n.exchange(func(m rtnl.Message) { h = parseNextHop(m.Body) })
	if errors.Is(err, unix.ENOENT) {
		err = bfdcore.ErrNoNextHop
	}
	return h, err
}

// Groups implements [bfdcore.Kernel]. The kernel walks the objects by id and resumes by
// id (net/ipv4/nexthop.c, rtm_dump_walk_nexthops): a dump that it marks as interrupted lacks
// nothing that was there all the time.
func (n *netlink) Groups() (list []bfdcore.NextHop, err error) {
	n.begin(rtnl.RTM_GETNEXTHOP, rtnl.NLM_F_DUMP, rtnl.SizeNextHop)
	n.out = rtnl.AppendBytes(n.out, rtnl.NHA_GROUPS, nil)
	err = n.exchange(func(m rtnl.Message) {
		if h := parseNextHop(m.Body); h.Group != nil {
			list = append(list, h)
		}
	})
	if errors.Is(err, rtnl.ErrInterrupted) {
		err = nil
	}
	return list, err
}

// Delete implements [bfdcore.Kernel]: it deletes an object, and with it its memberships.
func (n *netlink) Delete(id uint32) error {
	n.begin(rtnl.RTM_DELNEXTHOP, rtnl.NLM_F_ACK, rtnl.SizeNextHop)
	n.out = rtnl.AppendUint32(n.out, rtnl.NHA_ID, id)
	return n.exchange(nil)
}

// Replace implements [bfdcore.Kernel].
func (n *netlink) Replace(g bfdcore.NextHop) error {
	n.begin(rtnl.RTM_NEWNEXTHOP, rtnl.NLM_F_ACK|rtnl.NLM_F_REPLACE, rtnl.SizeNextHop)[2] = g.Proto
	n.out = rtnl.AppendUint32(n.out, rtnl.NHA_ID, g.ID)
	at := len(n.out)
	n.out = rtnl.Nest(n.out, rtnl.NHA_GROUP)
	for _, m := range g.Group {
		n.out = binary.NativeEndian.AppendUint32(n.out, m.ID)
		n.out = append(n.out, byte(m.Weight), byte(m.Weight>>8), 0, 0)
	}
	n.out = rtnl.Unnest(n.out, at)
	return n.exchange(nil)
}

// parseNextHop reads struct nhmsg and its attributes:
//
//	+---------------+---------------+---------------+---------------+
//	|   nh_family   |   nh_scope    |  nh_protocol  |     resvd     |
//	+---------------+---------------+---------------+---------------+
//	|                           nh_flags                            |
//	+---------------------------------------------------------------+
func parseNextHop(b []byte) (n bfdcore.NextHop) {
	if len(b) < rtnl.SizeNextHop {
		return n
	}
	n.Proto = b[2]
	for typ, v := range rtnl.Attributes(b[rtnl.SizeNextHop:]) {
		switch typ {
		case rtnl.NHA_GROUP_TYPE:
			n.Kind = v.Uint16()
		case rtnl.NHA_ID:
			n.ID = v.Uint32()
		case rtnl.NHA_OIF:
			n.Link = int(v.Uint32())
		case rtnl.NHA_GATEWAY:
			n.Gateway = v.Addr()
		case rtnl.NHA_GROUP:
			n.Group = parseMembers(v)
		}
	}
	return n
}

// parseMembers reads an array of struct nexthop_grp: the id, and the weight in two parts
// (the upper one since Linux 6.12).
func parseMembers(b []byte) []bfdcore.Member {
	list := make([]bfdcore.Member, 0, len(b)/rtnl.SizeMember)
	for ; len(b) >= rtnl.SizeMember; b = b[rtnl.SizeMember:] {
		list = append(list, bfdcore.Member{ID: binary.NativeEndian.Uint32(b), Weight: uint16(b[4]) | uint16(b[5])<<8})
	}
	return list
}

// find looks an interface up by name.
func (n *netlink) find(name string) (l device, err error) {
	i, err := n.link(0, name)
	if err != nil {
		return l, fmt.Errorf("interface %s: %w", name, err)
	}
	l.index = i.index
	switch {
	case i.kind == "vrf":
		l.vrf, l.isVRF = i.index, true
	case i.master != 0:
		if master, err := n.link(i.master, ""); err == nil && master.kind == "vrf" {
			l.vrf = i.master
		}
	}
	return l, nil
}

// linkInfo is what the kernel says about an interface.
type linkInfo struct {
	index  int    // of the interface
	master int    // index of the bridge, VRF or bond that it belongs to; 0: none
	kind   string // "vrf", for example
}

// link asks for one interface, by index or by name.
func (n *netlink) link(index int, name string) (i linkInfo, err error) {
	h := n.begin(rtnl.RTM_GETLINK, 0, rtnl.SizeLink)
	binary.NativeEndian.PutUint32(h[4:], uint32(index))
	if name != "" {
		n.out = rtnl.AppendString(n.out, rtnl.IFLA_IFNAME, name)
	}
	err = n.exchange(func(m rtnl.Message) { i = parseLink(m.Body) })
	return i, err
}

func parseLink(b []byte) (i linkInfo) {
	if len(b) < rtnl.SizeLink {
		return i
	}
	i.index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	for typ, v := range rtnl.Attributes(b[rtnl.SizeLink:]) {
		switch typ {
		case rtnl.IFLA_MASTER:
			i.master = int(v.Uint32())
		case rtnl.IFLA_LINKINFO:
			for typ, v := range v.Attributes() {
				if typ == rtnl.IFLA_INFO_KIND {
					i.kind = v.Text()
				}
			}
		}
	}
	return i
}

// isLocal reports whether the kernel delivers packets to an address to the host itself.
func (n *netlink) isLocal(addr netip.Addr) (yes bool) {
	h := n.begin(rtnl.RTM_GETROUTE, 0, rtnl.SizeRoute)
	h[0], h[1] = rtnl.FamilyOf(addr), byte(addr.BitLen())
	n.out = rtnl.AppendAddr(n.out, rtnl.RTA_DST, addr)
	_ = n.exchange(func(m rtnl.Message) { // no route: then not to itself
		yes = len(m.Body) >= rtnl.SizeRoute && m.Body[7] == rtnl.RTN_LOCAL
	})
	return yes
}

// neighbor returns the link-layer address of an IP address, nil if the kernel
// does not know one.
func (n *netlink) neighbor(ifindex int, addr netip.Addr) (mac []byte) {
	h := n.begin(rtnl.RTM_GETNEIGH, 0, rtnl.SizeNeighbor)
	h[0] = rtnl.FamilyOf(addr)
	binary.NativeEndian.PutUint32(h[4:], uint32(ifindex))
	n.out = rtnl.AppendAddr(n.out, rtnl.NDA_DST, addr)
	const usable = rtnl.NUD_REACHABLE | rtnl.NUD_STALE | rtnl.NUD_DELAY | rtnl.NUD_PROBE | rtnl.NUD_PERMANENT | rtnl.NUD_NOARP
	_ = n.exchange(func(m rtnl.Message) { // no such neighbour, most likely
		if len(m.Body) < rtnl.SizeNeighbor || binary.NativeEndian.Uint16(m.Body[8:])&usable == 0 {
			return
		}
		for typ, v := range rtnl.Attributes(m.Body[rtnl.SizeNeighbor:]) {
			if typ == rtnl.NDA_LLADDR {
				mac = slices.Clone(v)
			}
		}
	})
	return mac
}

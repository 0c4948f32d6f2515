package lookup

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Conn is a connection to a kernel.
type Conn interface {
	// Dump sends a request and calls f with the type and body of each message of the answer.
	// body is valid until f returns.
	Dump(request []byte, f func(typ uint16, body []byte)) error
	// Ask sends a request that has one message for an answer. An error of the kernel's is a
	// [unix.Errno].
	Ask(request []byte) (body []byte, err error)
	// Sysctl returns a value below /proc/sys; ok is false if there is none.
	Sysctl(path string) (value string, ok bool)
}

// Kernel is the tables of a namespace, read when they are needed and then remembered: it is of
// one moment. It is not safe for concurrent use.
type Kernel struct {
	conn     Conn
	links    map[int]Link
	nexthops map[uint32]NextHopObject
	rules    map[bool][]Rule
	covering map[coveringKey][]Route
}

type coveringKey struct {
	table uint32
	dst   netip.Addr
}

var _ Tables = (*Kernel)(nil)

// NewKernel reads the interfaces and next-hop objects of a namespace.
func NewKernel(c Conn) (*Kernel, error) {
	k := &Kernel{conn: c, links: map[int]Link{}, nexthops: map[uint32]NextHopObject{}, rules: map[bool][]Rule{}, covering: map[coveringKey][]Route{}}
	header := make([]byte, unix.SizeofIfInfomsg)
	err := dump(c, request(unix.RTM_GETLINK, unix.NLM_F_DUMP, header, number(unix.IFLA_EXT_MASK, rtextSkipStats)), func() { clear(k.links) }, func(body []byte) {
		if l, err := parseLink(body); err == nil {
			k.links[l.Index] = l
		}
	})
	if err != nil {
		return nil, err
	}
	err = dump(c, request(rtmGetNextHop, unix.NLM_F_DUMP, make([]byte, sizeNextHop)), func() { clear(k.nexthops) }, func(body []byte) {
		if n, err := parseNextHop(body); err == nil {
			n.Hop.Link = k.links[n.Hop.IfIndex].Name
			k.nexthops[n.ID] = n
		}
	})
	// Linux before 5.3 has none. The kernel goes on with this dump by id: an interrupted one lacks nothing that was there
	// all the time.
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, errInterrupted) {
		err = nil
	}
	return k, err
}

// errInterrupted says that what the kernel had to dump changed meanwhile (NLM_F_DUMP_INTR): entries may be missing that
// were there all the time.
var errInterrupted = errors.New("the kernel's tables changed each time that they were read")

// passes is how often a dump is made that is interrupted.
const passes = 8

// dump calls f with each entry of a dump. If it is interrupted, begin is called, which drops what f has taken and may be nil,
// and the dump is made again.
func dump(c Conn, request []byte, begin func(), f func(body []byte)) (err error) {
	for range passes {
		if begin != nil {
			begin()
		}
		if err = c.Dump(request, func(_ uint16, body []byte) { f(body) }); !errors.Is(err, errInterrupted) {
			break
		}
	}
	return err
}

func familyOf(six bool) byte {
	if six {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// Rules implements [Tables].
func (k *Kernel) Rules(six bool) ([]Rule, error) {
	if list, ok := k.rules[six]; ok {
		return list, nil
	}
	list := []Rule{}
	header := make([]byte, sizeRule)
	header[0] = familyOf(six)
	err := dump(k.conn, request(unix.RTM_GETRULE, unix.NLM_F_DUMP, header), func() { list = list[:0] }, func(body []byte) {
		if r, err := parseRule(body); err == nil && body[0] == header[0] {
			list = append(list, r)
		}
	})
	if err == nil {
		k.rules[six] = list
	}
	return list, err
}

// Covering implements [Tables]. The kernel has no request for the routes that cover an address
// in a table: it dumps the table, of which only those are kept.
func (k *Kernel) Covering(table uint32, p Packet) (list []Route, err error) {
	if table == 0 {
		return nil, nil
	}
	key := coveringKey{table, p.Dst}
	if list, ok := k.covering[key]; ok {
		return slices.Clone(list), nil
	}
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = familyOf(p.Dst.Is6())
	dst := p.Dst.AsSlice()
	err = dump(k.conn, request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, header, number(unix.RTA_TABLE, table)), func() { list = list[:0] }, func(body []byte) {
		if !covers(body, dst) {
			return
		}
		r, err := parseRoute(body)
		if err == nil && r.Table == table && native.Uint32(body[8:])&unix.RTM_F_CLONED == 0 {
			list = append(list, k.resolve(r))
		}
	})
	if errors.Is(err, unix.ENOENT) { // there is no such table yet
		err = nil
	}
	if err == nil {
		k.covering[key] = list
	}
	return slices.Clone(list), err
}

// Foreign calls f with each route of a table that is neither hvrouter's nor the kernel's. The table is
// dumped; of a million routes of ours nothing but the protocol is read.
func (k *Kernel) Foreign(table uint32, six bool, f func(Route)) error {
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = familyOf(six)
	var list []Route // of others: few
	err := dump(k.conn, request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, header, number(unix.RTA_TABLE, table)), func() { list = list[:0] }, func(body []byte) {
		const protocol, flags = 5, 8 // of struct rtmsg
		if len(body) < unix.SizeofRtMsg || body[0] != header[0] || !Foreign(body[protocol]) || native.Uint32(body[flags:])&unix.RTM_F_CLONED != 0 {
			return
		}
		if r, err := parseRoute(body); err == nil && r.Table == table {
			list = append(list, k.resolve(r))
		}
	})
	if errors.Is(err, unix.ENOENT) { // there is no such table yet
		return nil
	}
	for _, r := range list {
		f(r)
	}
	return err
}

// OwnTables returns the tables of the namespace at path that have routes of hvrouter's, ascending; ""
// is the process's own.
func OwnTables(path string) ([]uint32, error) {
	c, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	have := map[uint32]bool{}
	for _, six := range []bool{false, true} {
		for _, protocol := range []uint8{Ours, OursPersistent} {
			header := make([]byte, unix.SizeofRtMsg)
			header[0], header[5] = familyOf(six), protocol // rtm_family, rtm_protocol
			err := dump(c, request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, header), nil, func(body []byte) {
				if len(body) < unix.SizeofRtMsg || body[0] != header[0] || body[5] != protocol {
					return // a kernel without strict checking dumps all
				}
				table := uint32(body[4]) // rtm_table, for a number below 256
				for typ, v := range attributes(body[unix.SizeofRtMsg:]) {
					if typ == unix.RTA_TABLE && len(v) == 4 {
						table = native.Uint32(v)
					}
				}
				have[table] = true
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return slices.Sorted(maps.Keys(have)), nil
}

// covers reports whether a route's prefix has an address in it, before anything else of the
// message is read: a table may have a million of them.
func covers(body, dst []byte) bool {
	if len(body) < unix.SizeofRtMsg || body[0] == unix.AF_INET6 != (len(dst) == 16) {
		return false
	}
	bits := int(body[1])
	if bits == 0 {
		return true
	}
	for typ, v := range attributes(body[unix.SizeofRtMsg:]) {
		if typ == unix.RTA_DST {
			return samePrefix(v, dst, bits)
		}
	}
	return false
}

func samePrefix(a, b []byte, bits int) bool {
	if len(a) != len(b) || bits > 8*len(a) {
		return false
	}
	for i := range bits / 8 {
		if a[i] != b[i] {
			return false
		}
	}
	rest := bits % 8
	return rest == 0 || (a[bits/8]^b[bits/8])>>(8-rest) == 0
}

// resolve gives a route the next hops of its object, and names to their interfaces.
func (k *Kernel) resolve(r Route) Route {
	if object, ok := k.nexthops[r.NextHop]; ok {
		if r.Hops = k.hopsOf(object); object.Blackhole {
			r.Type = Blackhole
		}
	}
	for i := range r.Hops {
		r.Hops[i].Link = k.links[r.Hops[i].IfIndex].Name
	}
	return r
}

// hopsOf returns the next hops of an object, or of the members of a group.
func (k *Kernel) hopsOf(n NextHopObject) (list []Hop) {
	if n.Members == nil {
		n.Hop.Object = n.ID
		return []Hop{n.Hop}
	}
	for i, id := range n.Members {
		if member, ok := k.nexthops[id]; ok {
			h := member.Hop
			h.Object, h.Weight = id, int(n.Weights[i])
			list = append(list, h)
		}
	}
	return list
}

// Link implements [Tables].
func (k *Kernel) Link(ifindex int) Link { return k.links[ifindex] }

// Links returns the interfaces, by their indices.
func (k *Kernel) Links() []Link {
	return slices.SortedFunc(maps.Values(k.links), func(a, b Link) int { return a.Index - b.Index })
}

// ByName returns an interface by its name.
func (k *Kernel) ByName(name string) (Link, bool) {
	for _, l := range k.links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}

// NextHop returns a next-hop object or group.
func (k *Kernel) NextHop(id uint32) (NextHopObject, bool) {
	n, ok := k.nexthops[id]
	return n, ok
}

// IgnoresLinkDown implements [Tables].
func (k *Kernel) IgnoresLinkDown(ifindex int, six bool) bool {
	value, _ := k.conn.Sysctl(confPath(six, k.links[ifindex].Name, "ignore_routes_with_linkdown"))
	return value == "1"
}

func confPath(six bool, name, key string) string {
	if six {
		return "net/ipv6/conf/" + name + "/" + key
	}
	return "net/ipv4/conf/" + name + "/" + key
}

// Ask asks the kernel itself for the route of a packet. Errno is what it answers instead of one.
func (k *Kernel) Ask(p Packet) (r Route, errno unix.Errno, err error) {
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1] = familyOf(p.Dst.Is6()), byte(p.Dst.BitLen())
	flags := uint32(rtmFibMatch) // IPv6 says the table anyway, and refuses other flags
	if p.Dst.Is4() {
		flags |= unix.RTM_F_LOOKUP_TABLE
	}
	native.PutUint32(header[8:], flags)
	list := []attribute{{unix.RTA_DST, p.Dst.AsSlice()}}
	if p.Src.IsValid() {
		header[2] = byte(p.Src.BitLen())
		list = append(list, attribute{unix.RTA_SRC, p.Src.AsSlice()})
	}
	if p.IIF.Index != 0 {
		list = append(list, number(unix.RTA_IIF, uint32(p.IIF.Index)))
	}
	if p.OIF.Index != 0 && p.IIF.Index == 0 {
		list = append(list, number(unix.RTA_OIF, uint32(p.OIF.Index)))
	}
	if p.Mark != 0 {
		list = append(list, number(unix.RTA_MARK, p.Mark))
	}
	list = append(list, attribute{unix.RTA_IP_PROTO, []byte{protoOf(p)}})
	body, err := k.conn.Ask(request(unix.RTM_GETROUTE, 0, header, list...))
	if errors.As(err, &errno) {
		return r, errno, nil
	}
	if err != nil {
		return r, 0, err
	}
	r, err = parseRoute(body)
	return k.resolve(r), 0, err
}

// Neighbour returns the entry of an address on an interface, or who answers for it there; ok
// is false if there is none.
func (k *Kernel) Neighbour(a netip.Addr, ifindex int, proxy bool) (n Neighbour, ok bool, err error) {
	header := make([]byte, sizeNeighbour)
	header[0] = familyOf(a.Is6())
	native.PutUint32(header[4:], uint32(ifindex))
	if proxy {
		header[10] = unix.NTF_PROXY
	}
	body, err := k.conn.Ask(request(unix.RTM_GETNEIGH, 0, header, attribute{unix.NDA_DST, a.AsSlice()}))
	if errors.Is(err, unix.ENOENT) {
		return n, false, nil
	}
	if err != nil {
		return n, false, err
	}
	n, err = parseNeighbour(body)
	return n, err == nil, err
}

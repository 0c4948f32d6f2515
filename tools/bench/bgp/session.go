package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// session is one BGP session with the reflector, as a feeder, a sink or both.
type session struct {
	conn    *net.TCPConn
	id      netip.Addr
	have    []uint64     // prefixes heard and not withdrawn, by number
	routes  atomic.Int64 // of have
	nlri    atomic.Int64 // announcements
	updates atomic.Int64 // messages with announcements
	first   atomic.Int64 // time of the first of them, unix nanoseconds
	last    atomic.Int64 // of the latest message that changed have
	changed chan struct{}
	want    atomic.Int64 // tells changed when routes reaches it
	failed  atomic.Pointer[error]
	addPath wire.FamilySet
	paths   map[wire.NLRI]bool // with ADD-PATH: what routes counts instead of have
	many    atomic.Int64       // of these, paths to manyPrefix
}

var reflectorAddr = netip.MustParseAddrPort("10.77.0.1:179")

// clientAddr is the address of client n: 0 to 7999.
func clientAddr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, 16 + byte(n/250), byte(n%250 + 2)})
}

// connect brings a session up from client n's address. silent sessions never read
// once they are up.
func connect(n, prefixes int, silent bool) (*session, error) {
	return connectWith(n, prefixes, silent, 0)
}

// connectWith is connect with ADD-PATH in both directions for some families.
func connectWith(n, prefixes int, silent bool, addPath wire.FamilySet) (*session, error) {
	src := clientAddr(n)
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, 0)), Timeout: 60 * time.Second}
	c, err := d.Dial("tcp", reflectorAddr.String())
	if err != nil {
		return nil, err
	}
	s := &session{conn: c.(*net.TCPConn), id: src, have: make([]uint64, prefixes/64+1), changed: make(chan struct{}, 1),
		addPath: addPath, paths: map[wire.NLRI]bool{}}
	s.want.Store(-1)
	open := wire.Open{AS: 65000, HoldTime: 240 * time.Second, ID: src,
		Capabilities: wire.Capabilities{Families: []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}, AS4: true, RouteRefresh: true}}
	if family == wire.L2VPNEVPN {
		open.Capabilities.Families = append(open.Capabilities.Families, family)
	}
	for _, f := range addPath.Slice() {
		open.Capabilities.AddPath = append(open.Capabilities.AddPath, wire.AddPath{Family: f, Receive: true, Send: true})
	}
	_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
	r := &framer{conn: c, buf: make([]byte, 1<<18)}
	if addPath != 0 { // BIRD 2.0.12 forgets ADD-PATH if it gets an OPEN before it has sent its own
		if _, _, err := r.next(); err != nil {
			return nil, err
		}
	}
	if _, err := c.Write(wire.AppendKeepalive(open.Append(nil))); err != nil {
		return nil, err
	}
	for up := false; !up; {
		t, body, err := r.next()
		if err != nil {
			return nil, fmt.Errorf("before Established: %w", err)
		}
		if t == wire.TypeNotification {
			n, _ := wire.ParseNotification(body)
			return nil, errors.New(n.String())
		}
		up = t == wire.TypeKeepalive
	}
	_ = c.SetReadDeadline(time.Time{})
	if !silent {
		go s.read(r)
	}
	return s, nil
}

// framer cuts messages out of a connection.
type framer struct {
	conn       io.Reader
	buf        []byte
	start, end int
}

func (r *framer) next() (wire.MessageType, []byte, error) {
	for {
		if r.end-r.start >= wire.HeaderLen {
			n := int(binary.BigEndian.Uint16(r.buf[r.start+16:]))
			if r.end-r.start >= n {
				m := r.buf[r.start : r.start+n]
				r.start += n
				return wire.MessageType(m[18]), m[wire.HeaderLen:], nil
			}
		}
		if r.start > 0 {
			r.end = copy(r.buf, r.buf[r.start:r.end])
			r.start = 0
		}
		n, err := r.conn.Read(r.buf[r.end:])
		r.end += n
		if err != nil {
			return 0, nil, err
		}
	}
}

func (s *session) read(r *framer) {
	var u wire.Update
	for {
		t, body, err := r.next()
		if err == nil && t == wire.TypeNotification {
			n, _ := wire.ParseNotification(body)
			err = errors.New(n.String())
		}
		if err != nil {
			s.failed.Store(&err)
			return
		}
		if t != wire.TypeUpdate {
			continue
		}
		if err := u.Parse(body, wire.Options{AS4: true, IBGP: true, AddPath: s.addPath}); err != nil {
			s.failed.Store(&err)
			return
		}
		s.count(&u)
	}
}

// count keeps track of what an UPDATE changes.
func (s *session) count(u *wire.Update) {
	change := s.changePrefix
	if s.addPath != 0 {
		change = s.changePath
	}
	delta, n := 0, 0
	for p := range u.Unreach(family) {
		delta += change(p, false)
	}
	for p := range u.Reach(family) {
		n++
		delta += change(p, true)
	}
	for r := range u.MPUnreach.EVPN() {
		if i, ok := macNumber(r); ok {
			delta += s.change(i, false)
		}
	}
	for r := range u.MPReach.EVPN() {
		n++
		if i, ok := macNumber(r); ok {
			delta += s.change(i, true)
		}
	}
	now := time.Now().UnixNano()
	if n > 0 {
		s.nlri.Add(int64(n))
		if s.updates.Add(1) == 1 {
			s.first.Store(now)
		}
	}
	s.last.Store(now)
	s.routes.Add(int64(delta))
	if want := s.want.Load(); want >= 0 && s.has(want) {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
}

// changePrefix notes that a prefix is there or gone, and returns how many more there are now.
func (s *session) changePrefix(p wire.NLRI, there bool) int {
	if i, ok := number(p.Prefix); ok {
		return s.change(i, there)
	}
	return 0
}

// change is changePrefix for a prefix or a MAC address by its number.
func (s *session) change(i int, there bool) int {
	if i>>6 >= len(s.have) {
		return 0
	}
	word, bit := &s.have[i>>6], uint64(1)<<(i&63)
	switch {
	case there && *word&bit == 0:
		atomic.OrUint64(word, bit)
		return 1
	case !there && *word&bit != 0:
		atomic.AndUint64(word, ^bit)
		return -1
	}
	return 0
}

// changePath is changePrefix for a path of a prefix.
func (s *session) changePath(p wire.NLRI, there bool) int {
	before := len(s.paths)
	if there {
		s.paths[p] = true
	} else {
		delete(s.paths, p)
	}
	d := len(s.paths) - before
	if p.Prefix == manyPrefix {
		s.many.Add(int64(d))
	}
	return d
}

// hasPrefix reports whether prefix number i was heard, and is there.
func (s *session) hasPrefix(i int) bool { return atomic.LoadUint64(&s.have[i>>6])&(1<<(i&63)) != 0 }

// has reports whether the session has n routes: none if n is 0, else at least n. (Some
// reflectors send a client its own routes.)
func (s *session) has(n int64) bool {
	have := s.routes.Load()
	return have == n || n > 0 && have > n
}

// await waits until the session has n routes.
func (s *session) await(n int, limit time.Duration) error {
	s.want.Store(int64(n))
	if s.has(int64(n)) {
		return nil
	}
	timeout := time.After(limit)
	for {
		select {
		case <-s.changed:
		case <-time.After(time.Second):
		case <-timeout:
			return fmt.Errorf("%v has %d of %d routes after %v", s.id, s.routes.Load(), n, limit)
		}
		if s.has(int64(n)) {
			return nil
		}
		if err := s.failed.Load(); err != nil {
			return fmt.Errorf("%v: %w", s.id, *err)
		}
	}
}

// unsent is the number of octets that the reflector has not acknowledged.
func (s *session) unsent() int {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) })
	return n
}

// family is that of the row under way.
var family = wire.IPv4Unicast

// prefix is prefix number i: /24s from 20.0.0.0 on, or /48s from 2a00:: on.
func prefix(i int) netip.Prefix {
	if family == wire.IPv6Unicast {
		a := [16]byte{0x2a}
		binary.BigEndian.PutUint32(a[2:], uint32(i))
		return netip.PrefixFrom(netip.AddrFrom16(a), 48)
	}
	v := 20<<24 + uint32(i)<<8
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), 0}), 24)
}

// number is the reverse of prefix.
func number(p netip.Prefix) (int, bool) {
	switch a := p.Addr().AsSlice(); {
	case p.Bits() == 24 && len(a) == 4:
		return int(binary.BigEndian.Uint32(a)-20<<24) >> 8, true
	case p.Bits() == 48 && len(a) == 16:
		return int(binary.BigEndian.Uint32(a[2:])), true
	}
	return 0, false
}

// nextHop is what client from announces its routes with.
func nextHop(from netip.Addr) wire.NextHop {
	if family == wire.IPv6Unicast {
		a := from.As4()
		return wire.NextHop{Addr: netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0x77, 15: a[3]})}
	}
	return wire.NextHop{Addr: from}
}

// table encodes the announcement of n prefixes from number base on. Each set of
// attributes is shared by per prefixes; packed puts as many as fit into an UPDATE,
// otherwise each has one of its own.
func table(from netip.Addr, base, n, per int, packed bool) (stream []byte) {
	if family == wire.L2VPNEVPN {
		return overlayTable(from, base, n, per, packed)
	}
	b := wire.Builder{AS4: true}
	pref := uint32(100)
	for i := 0; i < n; {
		set := i / per
		attrs := (&wire.PathAttrs{ASPath: []uint32{64512, uint32(4200000000 + set)}, LocalPref: &pref,
			Communities:      []wire.Community{wire.NewCommunity(65000, uint16(set)), wire.NewCommunity(65000, uint16(set>>16))},
			LargeCommunities: []wire.LargeCommunity{{Global: 65000, Local1: 1, Local2: uint32(set)}}}).Append(nil)
		for end := min(n, (set+1)*per); i < end; {
			b.Reach(stream, family, attrs, nextHop(from))
			for i < end && b.Add(wire.NLRI{Prefix: prefix(base + i)}) {
				if i++; !packed {
					break
				}
			}
			stream = b.Finish()
		}
	}
	return stream
}

// withdrawal encodes the packed withdrawal of n prefixes.
func withdrawal(base, n int) (stream []byte) {
	var b wire.Builder
	for i := 0; i < n; {
		b.Unreach(stream, family)
		for i < n && b.Add(wire.NLRI{Prefix: prefix(base + i)}) {
			i++
		}
		stream = b.Finish()
	}
	return stream
}

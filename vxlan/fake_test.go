package vxlan

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

func addrOf(s string) netip.Addr { return netip.MustParseAddr(s) }

func macOf(tb testing.TB, s string) (m MAC) {
	tb.Helper()
	if err := m.UnmarshalText([]byte(s)); err != nil {
		tb.Fatal(err)
	}
	return m
}

func ensure(t testing.TB, f *FDB, d Device) int {
	t.Helper()
	link, _, err := f.Ensure(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func flush(t testing.TB, f *FDB, want Result) {
	t.Helper()
	if got, err := f.Flush(t.Context()); err != nil || got != want {
		t.Fatalf("Flush: %+v, %v; want %+v", got, err, want)
	}
}

func reconcile(t testing.TB, f *FDB, want Result) {
	t.Helper()
	if got, err := f.Reconcile(t.Context()); err != nil || got != want {
		t.Fatalf("Reconcile: %+v, %v; want %+v", got, err, want)
	}
}

var vx100 = Device{Interface: "vx100", VNI: 100, Local: netip.MustParseAddr("172.22.2.1")}

// fake is the kernel as this package sees it: it understands the very bytes that go into
// the sockets and answers as drivers/net/vxlan/vxlan_core.c and net/core/rtnetlink.c do.
type fake struct {
	mu      sync.Mutex
	links   []*fakeLink
	next    int // the next interface's index
	sockets []*fakeSocket

	// What goes wrong.
	refuse      map[MAC]unix.Errno // the answer to changes of a MAC
	lost        int                // so many answers are lost
	interrupted int                // so many dumps are marked as interrupted
	changes     int                // so many were asked for
	muted       bool               // nothing is notified
	stalled     bool               // nobody reads the sockets that hear of neighbours
	broken      error              // of the next send
	done        map[uint16]func()  // is called after the next request of a type, before its answer is there
}

type fakeLink struct {
	found
	entries   []fakeEntry // in the kernel's order: appended ones behind
	bridged   []fakeEntry // of a bridge: IfIndex is the port's
	neighbors []fakeNeighbor
}

type fakeNeighbor struct {
	Entry
	state    uint16
	flags    uint8
	protocol uint8
}

// fakeEntry is one destination.
type fakeEntry struct {
	Entry
	state uint16
	flags uint8
	port  bool // it has a port of its own
}

func newFake() *fake { return &fake{next: 2, refuse: map[MAC]unix.Errno{}, done: map[uint16]func(){}} }

// fdb returns an FDB over the fake that does not run yet.
func (k *fake) fdb(t testing.TB, cfg Config) *FDB {
	t.Helper()
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.open = k.open
	return f
}

// running returns an FDB over the fake that runs, and what ends it and returns the result of Run.
func (k *fake) running(t testing.TB, cfg Config) (f *FDB, end func() error) {
	t.Helper()
	f = k.fdb(t, cfg)
	return f, start(t, f)
}

// start lets f run until the test ends, or end is called, which returns the result of Run.
func start(t testing.TB, f *FDB) (end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	end = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = end() })
	return end
}

// events returns the events that w has now.
func events(t testing.TB, w *Watcher) (all []Event) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	buf := make([]Event, 7)
	for {
		n, err := w.Next(ctx, buf)
		if err != nil {
			return all
		}
		all = append(all, buf[:n]...)
	}
}

// expect fails the test unless w has these events now, in any order.
func expect(t testing.TB, w *Watcher, want ...string) {
	t.Helper()
	var got []string
	for _, e := range events(t, w) {
		got = append(got, e.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("events:\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (k *fake) open(netns string, groups ...uint32) (socket, error) {
	if netns == "/nowhere" {
		return nil, os.ErrNotExist
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s := &fakeSocket{fake: k, port: uint32(len(k.sockets) + 1), hears: slices.Contains(groups, rtnl.RTNLGRP_NEIGH), hearsLinks: slices.Contains(groups, rtnl.RTNLGRP_LINK), ready: make(chan struct{}, 1)}
	k.sockets = append(k.sockets, s)
	return s, nil
}

// fakeSocket is a socket with its receive queue: datagrams and errors.
type fakeSocket struct {
	*fake
	port       uint32
	hears      bool // notifications about neighbours
	hearsLinks bool
	ignored    []uint32
	queue      []any
	ready      chan struct{}
	closed     bool
}

func (s *fakeSocket) Port() uint32 { return s.port }

func (s *fakeSocket) Ignore(ports ...uint32) error {
	s.ignored = ports
	return nil
}

func (s *fakeSocket) add(what any) {
	s.queue = append(s.queue, what)
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *fakeSocket) Receive(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	if len(s.queue) == 0 || s.stalled && s.hears {
		return 0, unix.EAGAIN
	}
	x := s.queue[0]
	s.queue = s.queue[1:]
	if err, ok := x.(error); ok {
		return 0, err
	}
	return copy(b, x.([]byte)), nil
}

func (s *fakeSocket) Wait() error {
	for {
		s.mu.Lock()
		closed, n := s.closed, len(s.queue)
		if s.stalled && s.hears {
			n = 0
		}
		s.mu.Unlock()
		switch {
		case closed:
			return os.ErrClosed
		case n > 0:
			return nil
		}
		<-s.ready
	}
}

func (s *fakeSocket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	select {
	case s.ready <- struct{}{}:
	default:
	}
	return nil
}

func (s *fakeSocket) Send(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.broken; err != nil {
		s.broken = nil
		return err
	}
	for m := range rtnl.Messages(b) {
		err := s.carryOut(m)
		if then := s.done[m.Type]; then != nil {
			delete(s.done, m.Type)
			s.mu.Unlock()
			then()
			s.mu.Lock()
		}
		e := &rtnl.Error{}
		errors.As(err, &e)
		if err == nil && m.Flags&(rtnl.NLM_F_ACK) == 0 {
			continue
		}
		if s.lost > 0 {
			s.lost--
			s.add(unix.ENOBUFS)
			continue
		}
		s.reply(answer(m.Seq, e))
	}
	return nil
}

// reply adds an answer, which has the port of who has asked.
func (s *fakeSocket) reply(b []byte) {
	native.PutUint32(b[12:], s.port)
	s.add(b)
}

// answer makes an NLMSG_ERROR.
func answer(seq uint32, e *rtnl.Error) []byte {
	flags := uint16(rtnl.NLM_F_CAPPED)
	if e.Text != "" {
		flags |= rtnl.NLM_F_ACK_TLVS
	}
	b := rtnl.Begin(nil, rtnl.NLMSG_ERROR, flags, seq)
	b = native.AppendUint32(b, uint32(-int32(e.Errno)))
	b = append(b, make([]byte, rtnl.SizeHeader)...)
	if e.Text != "" {
		b = rtnl.AppendString(b, rtnl.NLMSGERR_ATTR_MSG, e.Text)
	}
	return rtnl.End(b, 0)
}

func refusalOf(errno unix.Errno, text ...string) error {
	return &rtnl.Error{Errno: errno, Text: strings.Join(text, "")}
}

// carryOut does what one message asks for. What it asks to be told goes into the queue.
func (s *fakeSocket) carryOut(m rtnl.Message) error {
	switch m.Type {
	case rtnl.RTM_GETLINK:
		want, _ := parseDevice(m.Body)
		l := s.link(want.Interface)
		if want.Interface == "" {
			l = s.byIndex(want.index)
		}
		if l == nil {
			return refusalOf(unix.ENODEV)
		}
		s.reply(rtnl.End(append(rtnl.Begin(nil, rtnl.RTM_NEWLINK, 0, m.Seq), l.body()...), 0))
	case rtnl.RTM_NEWLINK:
		return s.newLink(m)
	case rtnl.RTM_DELLINK:
		s.unlink(int(native.Uint32(m.Body[4:])))
	case rtnl.RTM_GETNSID:
		id := int32(noNSID)
		for _, l := range s.links {
			if l.linkNSID >= 0 {
				id = l.linkNSID
			}
		}
		b := append(rtnl.Begin(nil, rtnl.RTM_NEWNSID, 0, m.Seq), 0, 0, 0, 0)
		s.add(rtnl.End(rtnl.AppendUint32(b, rtnl.NETNSA_NSID, uint32(id)), 0))
	case rtnl.RTM_GETNEIGH:
		return s.dumpEntries(m)
	case rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH:
		return s.change(m)
	}
	return nil
}

func (k *fake) link(name string) *fakeLink {
	i := slices.IndexFunc(k.links, func(l *fakeLink) bool { return l.Interface == name })
	if i < 0 {
		return nil
	}
	return k.links[i]
}

// other makes a device of another kind.
func (k *fake) other(name, kind string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.links = append(k.links, &fakeLink{found: found{Device: Device{Interface: name, Local: addrOf("192.0.2.1")}, index: k.next, kind: kind, linkNSID: noNSID}})
	k.next++
	return k.next - 1
}

// newLink is rtnl_newlink, vxlan_newlink and vxlan_config_validate.
func (s *fakeSocket) newLink(m rtnl.Message) error {
	d, err := parseDevice(m.Body)
	if err != nil {
		return refusalOf(unix.EINVAL)
	}
	if d.Bridge != 0 && !slices.ContainsFunc(s.links, func(l *fakeLink) bool { return l.index == d.Bridge && l.kind == "bridge" }) {
		return refusalOf(unix.ENODEV, "Master device does not exist")
	}
	if m.Flags&rtnl.NLM_F_CREATE == 0 {
		l := s.links[slices.IndexFunc(s.links, func(l *fakeLink) bool { return l.index == d.index })]
		l.up, l.Bridge = d.up, d.Bridge
		l.port = d.Bridge != 0
		defer s.tellLink(l, rtnl.RTM_NEWLINK)
		if d.MTU != 0 {
			l.MTU = d.MTU
		}
		if !d.MAC.IsZero() {
			l.MAC = d.MAC
		}
		return nil
	}
	for _, l := range s.links {
		if l.kind == "vxlan" && l.VNI == d.VNI && l.Port == d.Port {
			return refusalOf(unix.EEXIST, "A VXLAN device with the specified VNI already exists")
		}
	}
	d.index = s.next
	s.next++
	for typ := range rtnl.Attributes(m.Body[rtnl.SizeLink:]) {
		if typ == rtnl.IFLA_NET_NS_FD { // asked from where its packets shall travel
			d.linkNSID = 7
		}
	}
	d.port = d.Bridge != 0
	s.links = append(s.links, &fakeLink{found: *d})
	s.tellLink(s.links[len(s.links)-1], rtnl.RTM_NEWLINK)
	return nil
}

// unlink removes a device, and what depends on it.
func (k *fake) unlink(index int) {
	l := k.byIndex(index)
	if l == nil {
		return
	}
	k.links = slices.DeleteFunc(k.links, func(l *fakeLink) bool { return l.index == index })
	for _, other := range k.links {
		other.bridged = slices.DeleteFunc(other.bridged, func(e fakeEntry) bool { return e.IfIndex == index })
		if other.Bridge == index {
			other.Bridge, other.port = 0, false
			k.tellLink(other, rtnl.RTM_NEWLINK)
		}
	}
	k.tellLink(l, rtnl.RTM_DELLINK)
}

// tellLink notifies of a device.
func (k *fake) tellLink(l *fakeLink, typ uint16) {
	for _, s := range k.sockets {
		if s.hearsLinks && !s.closed && !k.muted {
			s.add(rtnl.End(append(rtnl.Begin(nil, typ, 0, 0), l.body()...), 0))
		}
	}
}

// enslave makes a device a port of a bridge, or of none.
func (k *fake) enslave(name string, bridge int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.link(name)
	if old := k.byIndex(l.Bridge); old != nil {
		old.bridged = slices.DeleteFunc(old.bridged, func(e fakeEntry) bool { return e.IfIndex == l.index })
	}
	l.Bridge, l.port = bridge, bridge != 0
	k.tellLink(l, rtnl.RTM_NEWLINK)
}

// body is rtnl_fill_ifinfo.
func (l *fakeLink) body() []byte {
	flags := uint32(0)
	if l.up {
		flags = rtnl.IFF_UP
	}
	b := ifinfo(l.index, flags, 0)
	b = rtnl.AppendString(b, rtnl.IFLA_IFNAME, l.Interface)
	b = rtnl.AppendUint32(b, rtnl.IFLA_MTU, l.MTU)
	b = rtnl.AppendBytes(b, rtnl.IFLA_ADDRESS, l.MAC[:])
	if l.Bridge != 0 {
		b = rtnl.AppendUint32(b, rtnl.IFLA_MASTER, uint32(l.Bridge))
	}
	if l.linkNSID >= 0 {
		b = rtnl.AppendUint32(b, rtnl.IFLA_LINK_NETNSID, uint32(l.linkNSID))
	}
	at := len(b)
	b = rtnl.AppendString(rtnl.Nest(b, rtnl.IFLA_LINKINFO), rtnl.IFLA_INFO_KIND, l.kind)
	if l.port {
		b = rtnl.AppendString(b, rtnl.IFLA_INFO_SLAVE_KIND, "bridge")
	}
	data := len(b)
	b = rtnl.Unnest(appendData(rtnl.Nest(b, rtnl.IFLA_INFO_DATA), &l.Device), data)
	return rtnl.Unnest(b, at)
}

// dumpEntries is rtnl_fdb_dump and neigh_dump_info: a datagram an entry, and the end.
func (s *fakeSocket) dumpEntries(m rtnl.Message) error {
	flags := uint16(rtnl.NLM_F_MULTI)
	if s.interrupted > 0 {
		s.interrupted--
		flags |= rtnl.NLM_F_DUMP_INTR
	}
	master, on := 0, 0
	for typ, v := range rtnl.Attributes(m.Body[rtnl.SizeNeighbor:]) {
		switch typ {
		case rtnl.NDA_MASTER:
			master = int(v.Uint32())
		case rtnl.NDA_IFINDEX:
			on = int(v.Uint32())
		}
	}
	index := int(native.Uint32(m.Body[4:]))
	for _, l := range s.links {
		for _, e := range l.entries {
			if m.Body[0] == rtnl.AF_BRIDGE && (l.index == index || master != 0 && l.Bridge == master) {
				s.add(e.message(rtnl.RTM_NEWNEIGH, flags, m.Seq))
			}
		}
		for _, e := range l.bridged {
			if m.Body[0] == rtnl.AF_BRIDGE && (e.IfIndex == index || l.index == master) {
				s.add(e.bridgeMessage(rtnl.RTM_NEWNEIGH, flags, m.Seq, l.index))
			}
		}
		for _, e := range l.neighbors {
			if m.Body[0] != rtnl.AF_BRIDGE && e.IfIndex == on {
				s.add(e.message(rtnl.RTM_NEWNEIGH, flags, m.Seq))
			}
		}
	}
	s.add(rtnl.End(append(rtnl.Begin(nil, rtnl.NLMSG_DONE, flags, m.Seq), 0, 0, 0, 0), 0))
	return nil
}

// bridgeMessage is br_fdb.c's fdb_fill_info.
func (e *fakeEntry) bridgeMessage(typ, flags uint16, seq uint32, master int) []byte {
	b := rtnl.Begin(nil, typ, flags, seq)
	b = append(b, rtnl.AF_BRIDGE, 0, 0, 0)
	b = native.AppendUint32(b, uint32(e.IfIndex))
	b = native.AppendUint16(b, e.state)
	b = append(b, e.flags, 0)
	b = rtnl.AppendBytes(b, rtnl.NDA_LLADDR, e.MAC[:])
	return rtnl.End(rtnl.AppendUint32(b, rtnl.NDA_MASTER, uint32(master)), 0)
}

// message is neigh_fill_info.
func (e *fakeNeighbor) message(typ, flags uint16, seq uint32) []byte {
	b := appendNeighbor(nil, write{op: opAdd, Entry: e.Entry}, seq, e.protocol)
	native.PutUint16(b[4:], typ)
	native.PutUint16(b[6:], flags)
	native.PutUint16(b[rtnl.SizeHeader+8:], e.state)
	b[rtnl.SizeHeader+10] = e.flags
	return b
}

// tellAll sends a notification to who hears of neighbours, but not those who ignore by. That is 0 with
// forwarding entries: vxlan_fdb_notify and br_fdb.c's fdb_notify do not say whose request it was.
func (k *fake) tellAll(by uint32, b []byte) {
	for _, other := range k.sockets {
		if other.hears && !other.closed && !k.muted && !slices.Contains(other.ignored, by) {
			other.add(b)
		}
	}
}

// changeBridge is br_fdb_add and br_fdb_delete.
func (s *fakeSocket) changeBridge(m rtnl.Message) error {
	e := fakeEntry{state: native.Uint16(m.Body[8:]), flags: m.Body[10] & rtnl.NTF_EXT_LEARNED}
	e.IfIndex, e.Table = int(native.Uint32(m.Body[4:])), TableBridge
	for typ, v := range rtnl.Attributes(m.Body[rtnl.SizeNeighbor:]) {
		if typ == rtnl.NDA_LLADDR {
			e.MAC = MAC(v)
		}
	}
	port := s.byIndex(e.IfIndex)
	switch {
	case port == nil:
		return refusalOf(unix.ENODEV)
	case !port.port:
		return refusalOf(unix.EOPNOTSUPP)
	case s.refuse[e.MAC] != 0:
		return refusalOf(s.refuse[e.MAC], "no")
	}
	l := s.byIndex(port.Bridge)
	i := slices.IndexFunc(l.bridged, func(x fakeEntry) bool { return x.MAC == e.MAC })
	switch {
	case m.Type == rtnl.RTM_DELNEIGH && (i < 0 || l.bridged[i].IfIndex != e.IfIndex):
		return refusalOf(unix.ENOENT)
	case m.Type == rtnl.RTM_DELNEIGH:
		l.bridged = slices.Delete(l.bridged, i, i+1)
	case i >= 0:
		l.bridged[i] = e
	default:
		l.bridged = append(l.bridged, e)
	}
	s.tellAll(0, e.bridgeMessage(m.Type, 0, 0, l.index))
	return nil
}

// changeNeighbor is neigh_add and neigh_delete.
func (s *fakeSocket) changeNeighbor(m rtnl.Message) error {
	e := fakeNeighbor{state: native.Uint16(m.Body[8:]), flags: m.Body[10]}
	e.IfIndex, e.Table = int(native.Uint32(m.Body[4:])), TableNeighbors
	for typ, v := range rtnl.Attributes(m.Body[rtnl.SizeNeighbor:]) {
		switch typ {
		case rtnl.NDA_DST:
			e.Addr = v.Addr()
		case rtnl.NDA_LLADDR:
			e.MAC = MAC(v)
		case rtnl.NDA_PROTOCOL:
			e.protocol = v.Uint8()
		}
	}
	l := s.byIndex(e.IfIndex)
	switch {
	case l == nil:
		return refusalOf(unix.ENODEV)
	case s.refuse[e.MAC] != 0:
		return refusalOf(s.refuse[e.MAC], "no")
	}
	i := slices.IndexFunc(l.neighbors, func(x fakeNeighbor) bool { return x.Addr == e.Addr })
	switch {
	case m.Type == rtnl.RTM_DELNEIGH && i < 0:
		return refusalOf(unix.ENOENT)
	case m.Type == rtnl.RTM_DELNEIGH:
		l.neighbors = slices.Delete(l.neighbors, i, i+1)
	case i >= 0 && m.Flags&rtnl.NLM_F_EXCL != 0:
		return refusalOf(unix.EEXIST)
	case i >= 0:
		l.neighbors[i] = e
	default:
		l.neighbors = append(l.neighbors, e)
	}
	s.tellAll(s.port, e.message(m.Type, 0, 0))
	return nil
}

func (k *fake) byIndex(index int) *fakeLink {
	i := slices.IndexFunc(k.links, func(l *fakeLink) bool { return l.index == index })
	if i < 0 {
		return nil
	}
	return k.links[i]
}

// message is vxlan_fdb_info.
func (e *fakeEntry) message(typ, flags uint16, seq uint32) []byte {
	b := rtnl.Begin(nil, typ, flags, seq)
	b = append(b, rtnl.AF_BRIDGE, 0, 0, 0)
	b = native.AppendUint32(b, uint32(e.IfIndex))
	b = native.AppendUint16(b, e.state)
	b = append(b, e.flags, 0)
	b = rtnl.AppendBytes(b, rtnl.NDA_LLADDR, e.MAC[:])
	b = rtnl.AppendAddr(b, rtnl.NDA_DST, e.VTEP)
	if e.port {
		b = rtnl.AppendBytes(b, rtnl.NDA_PORT, []byte{0, 9})
	}
	return rtnl.End(b, 0)
}

// change is vxlan_fdb_add and vxlan_fdb_delete.
func (s *fakeSocket) change(m rtnl.Message) error {
	s.changes++
	switch {
	case m.Body[0] != rtnl.AF_BRIDGE:
		return s.changeNeighbor(m)
	case m.Body[10]&rtnl.NTF_MASTER != 0:
		return s.changeBridge(m)
	}
	d, ok := parseEntry(m.Body, DefaultProtocol)
	if !ok {
		return refusalOf(unix.EINVAL)
	}
	e := fakeEntry{Entry: d.Entry, state: native.Uint16(m.Body[8:]), flags: m.Body[10], port: !d.plain}
	l := s.byIndex(e.IfIndex)
	switch errno := s.refuse[e.MAC]; {
	case l == nil:
		return refusalOf(unix.ENODEV)
	case errno != 0:
		return refusalOf(errno, "no")
	case e.VTEP.Is4() != l.Local.Is4():
		return refusalOf(unix.EAFNOSUPPORT)
	}
	same := func(x fakeEntry) bool { return x.MAC == e.MAC && (!e.MAC.IsZero() || x.VTEP == e.VTEP) }
	i := slices.IndexFunc(l.entries, same)
	if mac := slices.IndexFunc(l.entries, func(x fakeEntry) bool { return x.MAC == e.MAC }); mac >= 0 {
		// A control plane does not take over what the administrator has made, or added to
		// (vxlan_fdb_update_existing, NTF_VXLAN_ADDED_BY_USER).
		if had := l.entries[mac]; e.flags&rtnl.NTF_EXT_LEARNED != 0 && had.flags&rtnl.NTF_EXT_LEARNED == 0 && had.state&rtnl.NUD_PERMANENT != 0 {
			e.state, e.flags = had.state, had.flags
		}
	}
	switch {
	case m.Type == rtnl.RTM_DELNEIGH:
		if i < 0 || l.entries[i].VTEP != e.VTEP {
			return refusalOf(unix.ENOENT)
		}
		l.entries = slices.Delete(l.entries, i, i+1)
	case i >= 0 && m.Flags&rtnl.NLM_F_EXCL != 0:
		return refusalOf(unix.EEXIST)
	case m.Flags&rtnl.NLM_F_REPLACE != 0 && e.MAC.IsZero():
		return refusalOf(unix.EOPNOTSUPP, "Cannot replace non-unicast fdb entries")
	case i >= 0:
		l.entries[i] = e
	default:
		l.entries = append(l.entries, e)
	}
	if m.Type == rtnl.RTM_NEWNEIGH { // state and flags are the MAC's
		for i := range l.entries {
			if x := &l.entries[i]; x.MAC == e.MAC {
				x.state, x.flags = e.state, e.flags
			}
		}
	}
	s.tellAll(0, e.message(m.Type, 0, 0))
	return nil
}

// by lets others change an entry: verb is add, replace or del, and ours says whether it
// has the mark of a control plane.
func (k *fake) by(t testing.TB, verb string, e Entry, ours bool) {
	t.Helper()
	w := write{op: map[string]op{"add": opAdd, "replace": opReplace, "del": opDelete}[verb], Entry: e}
	b := appendWrite(nil, w, 1, DefaultProtocol)
	if !ours {
		b[rtnl.SizeHeader+10] &^= rtnl.NTF_EXT_LEARNED
		native.PutUint16(b[rtnl.SizeHeader+8:], rtnl.NUD_PERMANENT)
	}
	s, _ := k.open("")
	defer s.Close()
	if err := s.Send(b); err != nil {
		t.Fatal(err)
	}
	n, err := s.Receive(make([]byte, 1024))
	if !errors.Is(err, unix.EAGAIN) {
		t.Fatalf("%s %v was refused (%d octets)", verb, e, n)
	}
}

// stall has nobody read the sockets that hear of neighbours, or goes on with it.
func (k *fake) stall(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stalled = on
	for _, s := range k.sockets {
		select {
		case s.ready <- struct{}{}:
		default:
		}
	}
}

// tell gives an error to the sockets that hear of neighbours.
func (k *fake) tell(err error) {
	for _, s := range k.sockets {
		if s.hears {
			s.add(err)
		}
	}
}

// has reports whether the kernel has an entry.
func (k *fake) has(e Entry) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.byIndex(e.IfIndex)
	switch {
	case l == nil:
		return false
	case e.Table == TableNeighbors:
		return slices.ContainsFunc(l.neighbors, func(x fakeNeighbor) bool { return x.Entry == e })
	case e.Table == TableBridge:
		b := k.byIndex(l.Bridge)
		return b != nil && slices.ContainsFunc(b.bridged, func(x fakeEntry) bool { return x.Entry == e })
	}
	return slices.ContainsFunc(l.entries, func(x fakeEntry) bool { return x.Entry == e })
}

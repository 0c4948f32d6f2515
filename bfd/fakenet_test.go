package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// fakeNet is a network of namespaces, in the memory of a test and in virtual time, for
// pollers and hosts that are none of Linux. It is safe for concurrent use.
type fakeNet struct {
	mu    sync.Mutex
	paths map[string]*fakeNS // what a path leads to at the moment
	files map[string]*fakeListener
	links int           // interface indexes given out
	slow  time.Duration // netlink, before it answers
	fail  map[string]*fault
	sent  []sighting // which process sent for which session, last
	wrong []error    // what may never happen
	lag   time.Duration
	mono  time.Duration // CLOCK_MONOTONIC at scenario.Epoch
}

// fault is an error that the kernel returns from some call.
type fault struct {
	errno unix.Errno
	left  int // so many times
}

// sighting says which process sent packets with a discriminator.
type sighting struct {
	discr uint32
	procs []*fakeProc
}

// fakeNS is a network namespace.
type fakeNS struct {
	net     *fakeNet
	name    string
	links   map[string]*fakeLink
	sockets map[*fakeSocket]bool
	taken   map[uint16]bool // ports of other programs
	forward bool
	hops    map[uint32]bfdcore.NextHop
}

// fakeLink is one end of a cable, or "lo".
type fakeLink struct {
	ns     *fakeNS
	name   string
	index  int
	addrs  []netip.Addr
	far    *fakeLink
	cut    bool // what goes out by it is lost
	jitter uint32
	last   time.Time // arrival of what left by it last: nothing overtakes
}

// fakeSocket is what a descriptor of a socket is for.
type fakeSocket struct {
	ns     *fakeNS
	to     rxKey
	sender bool
	large  bool // its send buffer
	deaf   bool // to packets of its own host
	queue  []fakePacket
	refs   int
	polled map[*fakePoller]bool
}

// fakePacket is an IP packet that has arrived.
type fakePacket struct {
	ip   []byte
	link int
	at   time.Time
}

func newFakeNet() *fakeNet {
	n := &fakeNet{paths: map[string]*fakeNS{}, files: map[string]*fakeListener{}, fail: map[string]*fault{}, lag: time.Millisecond, mono: time.Hour}
	n.paths[""] = n.namespace("home")
	return n
}

func (n *fakeNet) namespace(name string) *fakeNS {
	n.links++
	ns := &fakeNS{net: n, name: name, links: map[string]*fakeLink{}, sockets: map[*fakeSocket]bool{}, taken: map[uint16]bool{}, hops: map[uint32]bfdcore.NextHop{}}
	ns.links["lo"] = &fakeLink{ns: ns, name: "lo", index: 1}
	ns.links["lo"].far = ns.links["lo"]
	return ns
}

// cable joins two namespaces by an interface of the same name in each.
func (n *fakeNet) cable(a, b *fakeNS, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links += 2
	x := &fakeLink{ns: a, name: name, index: n.links}
	y := &fakeLink{ns: b, name: name, index: n.links + 1, far: x}
	x.far = y
	a.links[name], b.links[name] = x, y
}

// failing reports the error that a call is to return; 0: none. The lock is held.
func (n *fakeNet) failing(call string) unix.Errno {
	f := n.fail[call]
	if f == nil || f.left == 0 {
		return 0
	}
	f.left--
	return f.errno
}

func (n *fakeNet) failed(call string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if errno := n.failing(call); errno != 0 {
		return fmt.Errorf("%s: %w", call, errno)
	}
	return nil
}

func (ns *fakeNS) local(a netip.Addr) bool {
	for _, l := range ns.links {
		for _, have := range l.addrs {
			if have == a {
				return true
			}
		}
	}
	return false
}

// route returns the link by which a packet leaves.
func (ns *fakeNS) route(to netip.Addr) *fakeLink {
	if ns.local(to) {
		return ns.links["lo"]
	}
	bits := 24
	if to.Is6() {
		bits = 64
	}
	p, _ := to.Prefix(bits)
	for _, l := range ns.links {
		for _, a := range l.addrs {
			if p.Contains(a) && l.name != "lo" {
				return l
			}
		}
	}
	return nil
}

// saw notes that a process sends for a session. Two that are alive must not take turns.
func (n *fakeNet) saw(discr uint32, p *fakeProc) {
	for i := range n.sent {
		s := &n.sent[i]
		if s.discr != discr {
			continue
		}
		last := s.procs[len(s.procs)-1]
		if last == p {
			return
		}
		for _, before := range s.procs {
			if before == p && !last.dead {
				n.wrong = append(n.wrong, fmt.Errorf("%s sends for a session that %s has taken over", p.name, last.name))
			}
		}
		s.procs = append(s.procs, p)
		return
	}
	n.sent = append(n.sent, sighting{discr, []*fakeProc{p}})
}

// transmit sends an IP packet out by a link. The lock is held.
func (n *fakeNet) transmit(l *fakeLink, ip []byte) {
	if l.cut || l.far == nil || l.far.ns.links[l.far.name] != l.far {
		return
	}
	l.jitter = xorshift(l.jitter + uint32(l.index))
	at := time.Now().Add(n.lag + time.Duration(l.jitter%97)*time.Microsecond)
	if !at.After(l.last) {
		at = l.last.Add(time.Microsecond)
	}
	l.last = at
	time.AfterFunc(time.Until(at), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		l.far.ns.input(l.far, ip)
	})
}

// addresses are those of an IP packet, with its TTL and UDP payload.
func addresses(ip []byte) (src, dst netip.Addr, ttl *byte, udp []byte) {
	if ip[0]>>4 == 4 {
		return netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:])), &ip[8], ip[20:]
	}
	return netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:])), &ip[7], ip[40:]
}

// input takes a packet that has come in by a link. The lock is held.
func (ns *fakeNS) input(l *fakeLink, ip []byte) {
	if ns.links[l.name] != l {
		return // the interface was deleted meanwhile
	}
	src, dst, ttl, udp := addresses(ip)
	port := binary.BigEndian.Uint16(udp[2:])
	p := fakePacket{ip: ip, link: l.index, at: time.Now()}
	if port == EchoPort && ns.deliver(p, rxKey{ipv6: dst.Is6(), port: port, ifindex: l.index}) {
		return
	}
	if ns.local(dst) {
		for _, bound := range []rxKey{{local: dst, ifindex: l.index}, {local: dst}, {}} {
			bound.ipv6, bound.port = dst.Is6(), port
			if ns.deliver(p, bound) {
				return
			}
		}
		return
	}
	if ns.forward && *ttl > 1 {
		*ttl--
		out := ns.route(dst)
		if port == EchoPort && src == dst {
			out = l
		}
		if out != nil {
			ns.net.transmit(out, ip)
		}
	}
}

func (ns *fakeNS) deliver(p fakePacket, to rxKey) bool {
	for s := range ns.sockets {
		if s.sender || s.to != to || s.refs == 0 {
			continue
		}
		if s.deaf && p.link == 1 || len(s.queue) > 10000 {
			return true
		}
		s.queue = append(s.queue, p)
		for poller := range s.polled {
			poller.ring()
		}
		return true
	}
	return false
}

// fakeNamespace is an open fakeNS.
type fakeNamespace struct {
	proc *fakeProc
	ns   *fakeNS
}

func (f *fakeNamespace) close() {}

func (f *fakeNamespace) at(path string) (same, exists bool) {
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	there := f.ns.net.paths[path]
	return there == f.ns, there != nil
}

func (f *fakeNamespace) link(name string) (device, error) {
	if err := f.ns.net.failed("link"); err != nil {
		return device{}, err
	}
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	l := f.ns.links[name]
	if l == nil {
		return device{}, fmt.Errorf("interface %s: %w", name, unix.ENODEV)
	}
	return device{index: l.index}, nil
}

func (f *fakeNamespace) source(k Key) (netip.Addr, error) {
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	if l := f.ns.route(k.Peer); l != nil {
		for _, a := range l.addrs {
			if a.Is4() == k.Peer.Is4() {
				return a, nil
			}
		}
	}
	return netip.Addr{}, unix.ENETUNREACH
}

func (f *fakeNamespace) isLocal(a netip.Addr) bool {
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	return f.ns.local(a)
}

// open makes a socket of the namespace.
func (f *fakeNamespace) open(call string, s *fakeSocket) (int, error) {
	if err := f.ns.net.failed(call); err != nil {
		return -1, err
	}
	s.ns, s.polled = f.ns, map[*fakePoller]bool{}
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	f.ns.sockets[s] = true
	return f.proc.install(s)
}

func (f *fakeNamespace) sender(ipv6 bool) (int, error, error) {
	fd, err := f.open("sender", &fakeSocket{sender: true, large: true, to: rxKey{ipv6: ipv6}})
	return fd, nil, err
}

func (f *fakeNamespace) enlarge(fd int) {
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	if s, ok := f.proc.fds[fd].(*fakeSocket); ok {
		s.large = true
	}
}

func (f *fakeNamespace) receiver(to rxKey) (int, error) {
	f.ns.net.mu.Lock()
	busy := f.ns.taken[to.port] && !to.local.IsValid()
	for s := range f.ns.sockets {
		busy = busy || !s.sender && s.to == to && s.refs > 0 && !to.local.IsValid()
	}
	f.ns.net.mu.Unlock()
	if busy {
		return -1, fmt.Errorf("port %d: %w", to.port, unix.EADDRINUSE)
	}
	return f.open("receiver", &fakeSocket{to: to})
}

func (f *fakeNamespace) echo(ipv6 bool, ifindex int) (int, error) {
	return f.open("echo", &fakeSocket{to: rxKey{ipv6: ipv6, port: EchoPort, ifindex: ifindex}})
}

func (f *fakeNamespace) fromSelf(fd int, take bool) error {
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	if s, ok := f.proc.fds[fd].(*fakeSocket); ok {
		s.deaf = !take
	}
	return nil
}

func (f *fakeNamespace) neighbor(ifindex int, addr netip.Addr) []byte {
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	for _, l := range f.ns.links {
		if l.index == ifindex && l.far != nil && l.far.ns.local(addr) {
			return []byte{2, 0, 0, 0, 0, byte(l.far.index)}
		}
	}
	return nil
}

func (f *fakeNamespace) poke(Key) {}

func (f *fakeNamespace) nextHops() (nextHops, error) {
	if err := f.ns.net.failed("netlink"); err != nil {
		return nil, err
	}
	f.ns.net.mu.Lock()
	slow := f.ns.net.slow
	f.ns.net.mu.Unlock()
	time.Sleep(slow)
	return fakeHops{f.ns}, nil
}

// fakeHops are the next-hop objects of a namespace.
type fakeHops struct{ ns *fakeNS }

func (f fakeHops) close() {}

func (f fakeHops) NextHop(id uint32) (bfdcore.NextHop, error) {
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	n, ok := f.ns.hops[id]
	if !ok {
		return n, bfdcore.ErrNoNextHop
	}
	return n, nil
}

func (f fakeHops) Groups() (list []bfdcore.NextHop, err error) {
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	for _, n := range f.ns.hops {
		if n.Group != nil {
			list = append(list, n)
		}
	}
	return list, nil
}

func (f fakeHops) Delete(id uint32) error {
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	delete(f.ns.hops, id)
	for _, g := range f.ns.hops { // net/ipv4/nexthop.c, remove_nexthop_from_groups
		g.Group = slices.DeleteFunc(g.Group, func(m bfdcore.Member) bool { return m.ID == id })
		if f.ns.hops[g.ID] = g; g.Group != nil && len(g.Group) == 0 {
			delete(f.ns.hops, g.ID)
		}
	}
	return nil
}

func (f fakeHops) Replace(g bfdcore.NextHop) error {
	f.ns.net.mu.Lock()
	defer f.ns.net.mu.Unlock()
	f.ns.hops[g.ID] = g
	return nil
}

// fakePoller is the poller of a fakeProc.
type fakePoller struct {
	proc    *fakeProc
	bell    chan struct{}
	woken   bool
	watched []int
}

func (p *fakePoller) begin(c *Config) ([]error, error) {
	if err := p.proc.net.failed("begin"); err != nil {
		return []error{err}, err
	}
	return nil, nil
}

func (p *fakePoller) quiet() {}

func (p *fakePoller) watch(fd int) error {
	if err := p.proc.net.failed("watch"); err != nil {
		return err
	}
	p.proc.net.mu.Lock()
	defer p.proc.net.mu.Unlock()
	s, ok := p.proc.fds[fd].(*fakeSocket)
	if !ok {
		return unix.EBADF
	}
	s.polled[p] = true
	p.watched = append(p.watched, fd)
	p.ring()
	return nil
}

func (p *fakePoller) ring() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

func (p *fakePoller) wake() {
	p.proc.net.mu.Lock()
	defer p.proc.net.mu.Unlock()
	p.woken = true
	p.ring()
}

func (p *fakePoller) poll(ready []int, d time.Duration) (int, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		if n, err := p.look(ready); n > 0 || d <= 0 || err != nil {
			return n, err
		}
		select {
		case <-p.bell:
		case <-timer.C:
			d = 0
		}
	}
}

var errDead = errors.New("the process is dead")

func (p *fakePoller) look(ready []int) (n int, err error) {
	p.proc.net.mu.Lock()
	defer p.proc.net.mu.Unlock()
	if p.proc.dead {
		return 0, errDead
	}
	if p.woken {
		p.woken = false
		ready[n], n = -1, n+1
	}
	for _, fd := range p.watched {
		if s, ok := p.proc.fds[fd].(*fakeSocket); ok && len(s.queue) > 0 && n < len(ready) {
			ready[n], n = fd, n+1
		}
	}
	return n, nil
}

func (p *fakePoller) rest(d time.Duration) { time.Sleep(d) }

func (p *fakePoller) close() {}

// receive fills messages as recvmmsg(2) does.
func (p *fakePoller) receive(fd int, m []mmsghdr) (int, unix.Errno) {
	p.proc.net.mu.Lock()
	defer p.proc.net.mu.Unlock()
	s, ok := p.proc.fds[fd].(*fakeSocket)
	if !ok || p.proc.dead {
		return 0, unix.EBADF
	}
	n := min(len(m), len(s.queue))
	for i, packet := range s.queue[:n] {
		s.fill(&m[i], packet)
	}
	s.queue = s.queue[n:]
	if n == 0 {
		return 0, unix.EAGAIN
	}
	return n, 0
}

func (s *fakeSocket) fill(m *mmsghdr, p fakePacket) {
	src, dst, ttl, udp := addresses(p.ip)
	payload := udp[8:]
	if s.to.port == EchoPort {
		payload = p.ip
	}
	m.n = uint32(copy(unsafe.Slice(m.hdr.Iov.Base, int(m.hdr.Iov.Len)), payload))
	var c []byte
	add := func(level, typ int, data []byte) {
		c = binary.NativeEndian.AppendUint64(c, uint64(16+len(data)))
		c = binary.NativeEndian.AppendUint32(c, uint32(level))
		c = binary.NativeEndian.AppendUint32(c, uint32(typ))
		c = append(c, data...)
		for len(c)%8 != 0 {
			c = append(c, 0)
		}
	}
	stamp := binary.NativeEndian.AppendUint64(nil, uint64(p.at.Unix()))
	add(unix.SOL_SOCKET, soTimestampNS, binary.NativeEndian.AppendUint64(stamp, uint64(p.at.Nanosecond())))
	link, hops := binary.NativeEndian.AppendUint32(nil, uint32(p.link)), binary.NativeEndian.AppendUint32(nil, uint32(*ttl))
	if dst.Is6() {
		*(*unix.RawSockaddrInet6)(unsafe.Pointer(m.hdr.Name)) = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: src.As16()}
		add(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, append(dst.AsSlice(), link...))
		add(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, hops)
	} else {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(m.hdr.Name)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: src.As4()}
		add(unix.IPPROTO_IP, unix.IP_PKTINFO, append(append(link, dst.AsSlice()...), dst.AsSlice()...))
		add(unix.IPPROTO_IP, unix.IP_TTL, hops)
	}
	m.hdr.SetControllen(copy(unsafe.Slice(m.hdr.Control, int(m.hdr.Controllen)), c))
}

// send takes messages as sendmmsg(2) does.
func (p *fakePoller) send(fd int, m []mmsghdr) (int, unix.Errno) {
	p.proc.net.mu.Lock()
	defer p.proc.net.mu.Unlock()
	s, ok := p.proc.fds[fd].(*fakeSocket)
	if !ok || p.proc.dead {
		return 0, unix.EBADF
	}
	for i := range m {
		errno := p.proc.net.failing("send")
		if errno == 0 {
			errno = s.output(p.proc, &m[i])
		}
		if errno != 0 {
			if i > 0 {
				return i, 0
			}
			return 0, errno
		}
	}
	return len(m), 0
}

// output sends one message.
func (s *fakeSocket) output(p *fakeProc, m *mmsghdr) unix.Errno {
	ip := append([]byte(nil), unsafe.Slice(m.hdr.Iov.Base, int(m.hdr.Iov.Len))...)
	_, dst, _, udp := addresses(ip)
	index := 0
	if s.to.port == EchoPort {
		index = int((*sockaddrLL)(unsafe.Pointer(m.hdr.Name)).ifindex)
	} else {
		data := unsafe.Slice(m.hdr.Control, int(m.hdr.Controllen))[unix.SizeofCmsghdr:]
		if dst.Is6() {
			data = data[16:]
		}
		index = int(binary.NativeEndian.Uint32(data))
	}
	p.net.saw(binary.BigEndian.Uint32(udp[12:]), p)
	out := s.ns.route(dst)
	if index != 0 {
		out = nil
		for _, l := range s.ns.links {
			if l.index == index {
				out = l
			}
		}
	}
	if out == nil {
		return unix.ENODEV
	}
	p.net.transmit(out, ip)
	return 0
}

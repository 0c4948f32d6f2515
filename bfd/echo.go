package bfd

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Unaffiliated echo (RFC 9747) watches a next hop that speaks no BFD. We send
// packets that are addressed to ourselves to the next hop's link-layer address; it
// forwards them back like any other traffic, with a TTL of 254. The same states
// are passed through as with a real peer, Down, Init and Up, only that both ends
// are we, and the interval needs no negotiation.
//
// Such packets can be neither sent nor received by the IP stack: it would deliver
// them to ourselves, and drops what comes from our own address. So packet sockets
// are used, and the link-layer address is looked up by a goroutine, see resolver.

// echoTTL is the TTL of our packets when they come back: one hop.
const echoTTL = 254

// receiveEcho takes one of our own packets that came back.
func (s *Session) receiveEcho(now time.Duration, p *Packet) Effects {
	if s.state == AdminDown {
		return 0
	}
	s.recv++
	s.lastRx = now
	s.remoteDiscr, s.remoteState, s.remoteMult, s.remoteTx = p.MyDiscr, p.State, s.mult, s.advertisedTx()
	switch {
	case s.state == Down && p.State == Down:
		return s.enter(now, Init, DiagNone, ReasonNone)
	case s.state == Down && p.State == Init, s.state == Init && p.State >= Init:
		e := s.enter(now, Up, DiagNone, ReasonNone)
		s.remoteTx = s.cfgTx
		return e
	}
	return 0
}

// echoSocket returns the packet socket for echo on an interface: it receives
// echo packets only, and sends whole IP packets.
func (sp *space) echoSocket(k Key) (tx *txSocket, made *rxSocket, err error) {
	link, err := net.InterfaceByName(k.Interface)
	if err != nil {
		return nil, nil, fmt.Errorf("bfd: echo: %w", err)
	}
	key := rxKey{ipv6: k.Peer.Is6(), port: EchoPort, ifindex: link.Index}
	if tx := sp.echo[key]; tx != nil {
		return tx, nil, nil
	}
	protocol := uint16(unix.ETH_P_IP)
	if key.ipv6 {
		protocol = unix.ETH_P_IPV6
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("bfd: echo: %w", os.NewSyscallError("socket", err))
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 7)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	filter := echoFilter(key.ipv6)
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(protocol), Ifindex: link.Index})
	}
	if err != nil {
		unix.Close(fd)
		return nil, nil, fmt.Errorf("bfd: echo: %w", err)
	}
	made = sp.addEcho(key, fd)
	return sp.echo[key], made, nil
}

// addEcho takes a packet socket into use, for both directions.
func (sp *space) addEcho(key rxKey, fd int) *rxSocket {
	if sp.echo == nil {
		sp.echo = map[rxKey]*txSocket{}
	}
	sp.echo[key] = newSender(fd, key.ipv6)
	sp.rx[key] = &rxSocket{fd: fd, space: sp, rxKey: key}
	return sp.rx[key]
}

// echoFilter passes UDP to port 3785 without IP options.
func echoFilter(ipv6 bool) []unix.SockFilter {
	proto, port := uint32(9), uint32(22)
	if ipv6 {
		proto, port = 6, 42
	}
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: proto},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: port},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: EchoPort, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// echoed takes message i of the ring as an echo packet: from us, to us, one hop
// away, with our discriminator in both places.
func (o *owner) echoed(s *rxSocket, i int) {
	ip := o.ring.payload[i][:min(o.ring.msgs[i].n, rxPayload)]
	header, ttl, src, dst := 20, 8, 12, 16
	if s.ipv6 {
		header, ttl, src, dst = 40, 7, 8, 24
	}
	if len(ip) < header+8 || ip[ttl] != echoTTL {
		o.discarded++
		return
	}
	p, err := Parse(ip[header+8:])
	if err != nil || p.MyDiscr != p.YourDiscr {
		o.discarded++
		return
	}
	e := o.byDiscr[p.MyDiscr]
	size := dst - src
	if e == nil || !e.echo || e.space != s.space || string(ip[src:src+size]) != string(ip[dst:dst+size]) || string(e.frame.b[src:src+size]) != string(ip[src:src+size]) {
		o.discarded++
		return
	}
	m := o.ring.meta(i)
	if f := e.receiveEcho(o.now, &p); f != 0 {
		o.effects(e, f)
	}
	e.lastRx = o.arrival(m.stamp)
	o.requeue(e)
}

// setNeighbor tells an echo session the next hop's link-layer address; zero
// length: unknown, nothing can be sent.
func (e *entry) setNeighbor(ifindex int, mac []byte) {
	protocol := uint16(unix.ETH_P_IP)
	if e.key.Peer.Is6() {
		protocol = unix.ETH_P_IPV6
	}
	e.link = -1
	e.toLink = unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Protocol: htons(protocol), Ifindex: int32(ifindex)}
	if len(mac) > 0 && len(mac) <= len(e.toLink.Addr) {
		e.toLink.Halen = uint8(copy(e.toLink.Addr[:], mac))
		e.link = int32(ifindex)
	}
	e.msg.Name, e.msg.Namelen = (*byte)(unsafe.Pointer(&e.toLink)), unix.SizeofSockaddrLinklayer
	e.msg.Control = nil
	e.msg.SetControllen(0)
}

// resolver keeps the link-layer addresses of echo sessions' next hops. It is a
// goroutine of Run.
type resolver struct {
	server *Server
	socks  map[string]*rtnl
	known  map[*entry]string
}

// resolveEvery is how often the neighbour table is looked at. A next hop that
// changes its address is down until then, as it is for all other traffic until
// the kernel notices.
const resolveEvery = 500 * time.Millisecond

func (r *resolver) run(done <-chan struct{}) {
	defer func() {
		for _, s := range r.socks {
			s.close()
		}
	}()
	for {
		var tick <-chan time.Time
		for _, e := range r.entries() {
			r.resolve(e)
			tick = time.After(resolveEvery)
		}
		select {
		case <-tick:
		case <-r.server.resolve:
		case <-done:
			return
		}
	}
}

// entries lists the echo sessions, and forgets those that are gone.
func (r *resolver) entries() (list []*entry) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	alive := map[*entry]string{}
	for _, e := range r.server.entries {
		if e.kept.Echo && !e.removed {
			list = append(list, e)
			alive[e] = r.known[e]
		}
	}
	r.known = alive
	return list
}

// resolve looks one next hop up, tells the owner of a change, and asks the kernel
// to resolve what it does not know.
func (r *resolver) resolve(e *entry) {
	s := r.socks[e.key.NetNS]
	if s == nil {
		var err error
		if s, err = newRTNL(e.key.NetNS); err != nil {
			return
		}
		r.socks[e.key.NetNS] = s
	}
	ifindex := e.echoLink
	mac := s.neighbor(ifindex, e.key.Peer)
	if len(mac) == 0 || e.cell.read().state != Up {
		r.poke(e.key)
	}
	if len(mac) == 0 || string(mac) == r.known[e] {
		return
	}
	r.known[e] = string(mac)
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	_ = r.server.do(func(o *owner) { // ErrClosed: then it does not matter
		e.setNeighbor(ifindex, mac)
		o.effects(e, e.soon(o.now))
	})
}

// poke sends an empty datagram to the discard port, which makes the kernel
// resolve the address or check the one it has.
func (r *resolver) poke(k Key) {
	_ = netns.Do(k.NetNS, func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(k.Peer, 9)))
		if err != nil {
			return err
		}
		_, err = c.Write(nil)
		c.Close()
		return err
	})
}

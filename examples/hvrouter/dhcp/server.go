package dhcp

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/afpacket"
	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/internal/police"
	"github.com/hyperfib/hyperfib/internal/sock"
)

// Config of a [Server]. The zero value serves in the process's own namespace.
type Config struct {
	// NetNS is the path of the network namespace that guests' interfaces are in; ""
	// is the process's own.
	NetNS string
	// Upstream is the path of the one in which a relay reaches its servers; "" is
	// NetNS.
	Upstream string
	// Device is the VRF that guests' interfaces belong to, UpstreamDevice the one in
	// which a relay reaches its servers; "" is none. What arrives in a VRF is heard by
	// sockets that are bound to it, and by no others.
	Device, UpstreamDevice string
	// Report is called, by the goroutines of Run, with what an operator should know; at
	// most once a minute for each guest, and for each kind that is no guest's. May be nil.
	Report func(Event)
}

// Relay are servers to forward to instead of answering. The zero value is none.
type Relay struct {
	// Servers all get every request of guests whose leases have a MAC. They are believed
	// if they answer one, from this address, over an interface that the kernel's routes to
	// it lead over.
	Servers []netip.Addr
	// Address is ours towards the servers (giaddr). IPv4, required with Servers.
	Address netip.Addr
}

// Stats counts what a server did since it was made.
type Stats struct {
	Requests  uint64 `json:"requests"`  // from guests
	Answers   uint64 `json:"answers"`   // to guests
	Forwarded uint64 `json:"forwarded"` // to servers behind the relay
	Refused   uint64 `json:"refused"`   // malformed, from nobody we know, or too many
	// Answers that were dropped, by the EventKind that is reported of them.
	Unasked   uint64 `json:"unasked"`
	Strangers uint64 `json:"strangers"`
	Astray    uint64 `json:"astray"`
}

// Server answers, or relays for, all guest interfaces of one namespace. Its
// methods are safe for concurrent use.
type Server struct {
	report func(Event)
	in     *net.UDPConn
	up     *net.UDPConn // towards servers: in, unless they are in another namespace
	out    int          // AF_PACKET
	routes *routes      // of the namespace of up

	mu     sync.Mutex // guards what follows
	core   core
	police police.Policer // of in
	timer  *time.Timer    // for the end of an interface's silence
	closed bool
}

const (
	// guestLimit is how many messages a second are heard of one guest, to be counted and
	// refused: what is beyond takes no room in the receive buffer.
	guestLimit = 100
	// otherLimit is the same for any other interface. Servers answer twice to each of a
	// thousand guests that boot at once.
	otherLimit = 5000
)

// Listen opens the sockets. Nothing is answered before Run.
func Listen(config Config) (*Server, error) {
	s := &Server{report: config.Report, out: -1, core: newCore()}
	if s.report == nil {
		s.report = func(Event) {}
	}
	s.police.All(otherLimit)
	err := netns.Do(config.NetNS, func() error { return s.open(config.Device) })
	if err == nil && (config.Upstream != "" || config.UpstreamDevice != config.Device) {
		err = netns.Do(cmp.Or(config.Upstream, config.NetNS), func() (err error) {
			s.up, err = listen(config.UpstreamDevice)
			return err
		})
	}
	if err == nil {
		s.routes, err = openRoutes(cmp.Or(config.Upstream, config.NetNS), config.UpstreamDevice)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("dhcp: %w", err)
	}
	return s, nil
}

func (s *Server) close() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	for _, c := range []*net.UDPConn{s.in, s.up} {
		if c != nil {
			c.Close()
		}
	}
	if s.routes != nil {
		s.routes.close()
	}
	if s.out >= 0 {
		unix.Close(s.out)
	}
}

// listen opens a socket on the server's port.
func listen(device string) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		e := c.Control(func(fd uintptr) {
			err = errors.Join(
				sock.BindToDevice(int(fd), device),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1),
			)
		})
		return errors.Join(e, err)
	}}
	in, err := lc.ListenPacket(context.Background(), "udp4", fmt.Sprintf("0.0.0.0:%d", serverPort))
	if err != nil {
		return nil, err
	}
	return in.(*net.UDPConn), nil
}

func (s *Server) open(device string) (err error) {
	if s.in, err = listen(device); err != nil {
		return err
	}
	s.up = s.in
	// Protocol 0: this socket only sends.
	s.out, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("AF_PACKET: %w", err)
	}
	return nil
}

// SetRelay makes the server a relay, or one no longer.
func (s *Server) SetRelay(r Relay) error {
	if len(r.Servers) > 0 && !r.Address.Is4() {
		return errors.New("dhcp: a relay needs an IPv4 address of its own")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.relay = Relay{slices.Clone(r.Servers), r.Address}
	return nil
}

// Set serves a guest interface, or changes what it is given. link is its index,
// name what the relay calls it.
func (s *Server) Set(link int, name string, lease Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.set(link, name, lease)
	s.police.Add(link)
	s.police.Limit(link, guestLimit)
}

// Delete stops serving an interface.
func (s *Server) Delete(link int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.core.guests, link)
	s.police.Remove(link)
}

// Guests returns how many interfaces are served.
func (s *Server) Guests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.core.guests)
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.stats
}

// Refusals returns the counters of the guest behind an interface, since it is served; ok is false
// if it is not.
func (s *Server) Refusals(link int) (counters Refusals, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.core.guests[link]; g != nil {
		return g.refusals, true
	}
	return Refusals{}, false
}

// Silenced returns how often a guest was not heard for a while, since it is served: it had sent
// more than is counted of one guest. What it sends meanwhile the kernel drops, uncounted.
func (s *Server) Silenced(link int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.police.Silenced(link)
}

// Run serves until ctx ends, closes the sockets and returns nil, or the error
// that made going on impossible. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	defer context.AfterFunc(ctx, func() {
		s.in.Close()
		s.up.Close()
	})()
	if s.up == s.in {
		return s.hear(ctx, s.in)
	}
	failed := make(chan error, 1)
	go func() {
		failed <- s.hear(ctx, s.up)
		s.in.Close()
	}()
	err := s.hear(ctx, s.in)
	s.up.Close()
	return errors.Join(err, <-failed)
}

// hear receives until ctx ends.
func (s *Server) hear(ctx context.Context, conn *net.UDPConn) error {
	b, oob := make([]byte, 1<<16), make([]byte, 128)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(b, oob)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("dhcp: %w", err)
		case err != nil:
			continue // an ICMP error that belongs to a packet we sent
		}
		s.receive(time.Now(), b[:n], conn, interfaceOf(oob[:oobn]), from)
	}
}

// interfaceOf takes the index from IP_PKTINFO; 0 if it is missing.
func interfaceOf(oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return 0
}

// receive handles one datagram.
func (s *Server) receive(now time.Time, b []byte, conn *net.UDPConn, link int, from netip.AddrPort) {
	s.mu.Lock()
	server := s.core.isServer(from.Addr()) && conn == s.up
	s.mu.Unlock()
	// The kernel is asked without the lock.
	answer := origin{from, server && s.routes.lead(now, from.Addr(), link)}

	s.mu.Lock()
	heard := conn != s.in || s.police.Take(now, link)
	s.silence(now)
	fx := effects{refused: true}
	var guest *guest
	if conn == s.in {
		guest = s.core.guests[link]
	}
	switch {
	case !heard && guest != nil:
		fx = guest.refuse(Limited)
	case !heard:
	case guest != nil && !answer.leads:
		fx = s.core.fromGuest(now, b, link)
	case conn == s.up && len(s.core.relay.Servers) > 0:
		fx = s.core.fromServer(now, b, answer)
	}
	if fx.refused {
		s.core.stats.Refused++
	}
	relay := s.core.relay // its slice is never written to
	s.mu.Unlock()
	s.carryOut(fx, relay)
}

// silence has the kernel drop what the interfaces bring that are over their limits; the
// lock is held.
func (s *Server) silence(now time.Time) {
	s.police.Advance(now)
	list, changed := s.police.Changed()
	if changed && !s.closed {
		raw, err := s.in.SyscallConn()
		if err == nil { // what the kernel does not drop, Take does
			_ = raw.Control(func(fd uintptr) { _ = afpacket.AttachList(int(fd), list) })
		}
	}
	if at := s.police.Deadline(); !at.IsZero() && changed {
		if s.timer != nil {
			s.timer.Stop()
		}
		s.timer = time.AfterFunc(at.Sub(now), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.silence(time.Now())
		})
	}
}

// carryOut does what the core has decided.
func (s *Server) carryOut(fx effects, relay Relay) {
	if fx.event != nil {
		s.report(*fx.event)
	}
	if fx.answer != nil {
		s.deliver(fx.to, fx.answer)
	}
	if fx.toServers == nil {
		return
	}
	b := fx.toServers.ToBytes()
	for _, server := range relay.Servers {
		if _, err := s.up.WriteToUDPAddrPort(b, netip.AddrPortFrom(server, serverPort)); err == nil {
			s.count(func(t *Stats) { t.Forwarded++ })
		}
	}
}

// deliver sends an answer to the guest.
func (s *Server) deliver(g *guest, p *dhcpv4.DHCPv4) {
	mac, address, ok := destination(p)
	to := unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: g.link, Halen: 6}
	copy(to.Addr[:], mac[:])
	if ok && unix.Sendto(s.out, appendPacket(nil, g.lease.Gateway, address, p.ToBytes()), 0, &to) == nil {
		s.count(func(t *Stats) { t.Answers++ })
	}
}

func (s *Server) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.core.stats)
}

// htons returns v in network byte order, as sockaddr_ll wants it.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

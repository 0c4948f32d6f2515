package dhcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/internal/sock"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"
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
}

// Relay are servers to forward to instead of answering. The zero value is none.
type Relay struct {
	// Servers all get every request.
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
}

// Server answers, or relays for, all guest interfaces of one namespace. Its
// methods are safe for concurrent use.
type Server struct {
	in  *net.UDPConn
	up  *net.UDPConn // towards servers: in, unless they are in another namespace
	out int          // AF_PACKET

	mu     sync.Mutex
	relay  Relay
	guests map[int]*guest
	byName map[string]*guest
	stats  Stats
}

type guest struct {
	link  int
	name  string
	lease Lease
	allow bucket
}

// Listen opens the sockets. Nothing is answered before Run.
func Listen(config Config) (*Server, error) {
	s := &Server{guests: map[int]*guest{}, byName: map[string]*guest{}}
	if err := netns.Do(config.NetNS, func() error { return s.open(config.Device) }); err != nil {
		return nil, fmt.Errorf("dhcp: %w", err)
	}
	if config.Upstream == "" && config.UpstreamDevice == config.Device {
		return s, nil
	}
	err := netns.Do(cmp.Or(config.Upstream, config.NetNS), func() (err error) {
		s.up, err = listen(config.UpstreamDevice)
		return err
	})
	if err != nil {
		s.close()
		return nil, fmt.Errorf("dhcp: %w", err)
	}
	return s, nil
}

func (s *Server) close() {
	s.in.Close()
	if s.up != nil {
		s.up.Close()
	}
	unix.Close(s.out)
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

func (s *Server) open(device string) error {
	in, err := listen(device)
	if err != nil {
		return err
	}
	// Protocol 0: this socket only sends.
	out, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		in.Close()
		return fmt.Errorf("AF_PACKET: %w", err)
	}
	s.in, s.up, s.out = in, in, out
	return nil
}

// SetRelay makes the server a relay, or one no longer.
func (s *Server) SetRelay(r Relay) error {
	if len(r.Servers) > 0 && !r.Address.Is4() {
		return errors.New("dhcp: a relay needs an IPv4 address of its own")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relay = Relay{slices.Clone(r.Servers), r.Address}
	return nil
}

// Set serves a guest interface, or changes what it is given. link is its index,
// name what the relay calls it.
func (s *Server) Set(link int, name string, lease Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(link)
	g := &guest{link: link, name: name, lease: lease}
	s.guests[link], s.byName[name] = g, g
}

// Delete stops serving an interface.
func (s *Server) Delete(link int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(link)
}

func (s *Server) remove(link int) {
	if g := s.guests[link]; g != nil {
		delete(s.guests, link)
		delete(s.byName, g.name)
	}
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
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
		link := 0 // upstream are servers only, and another namespace's indexes
		if conn == s.in {
			link = interfaceOf(oob[:oobn])
		}
		if !s.receive(b[:n], link, from, time.Now()) {
			s.mu.Lock()
			s.stats.Refused++
			s.mu.Unlock()
		}
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
			return int(nativeUint32(m.Data))
		}
	}
	return 0
}

// receive handles one datagram and tells whether it was of use.
func (s *Server) receive(b []byte, link int, from netip.AddrPort, now time.Time) bool {
	p, err := dhcpv4.FromBytes(b)
	if err != nil {
		return false
	}
	s.mu.Lock()
	relay := s.relay // its slice is never written to
	if slices.Contains(relay.Servers, from.Addr()) {
		s.mu.Unlock()
		return s.fromServer(p, relay)
	}
	g := s.guests[link]
	ok := g != nil && g.allow.take(now)
	if ok {
		s.stats.Requests++
	}
	s.mu.Unlock()
	if !ok {
		return false
	}
	if len(relay.Servers) > 0 {
		return s.toServers(forward(p, g.name, g.lease, relay.Address), relay)
	}
	reply := Answer(p, g.lease)
	return reply == nil || s.deliver(g, reply)
}

func (s *Server) toServers(p *dhcpv4.DHCPv4, relay Relay) bool {
	if p == nil {
		return false
	}
	b := p.ToBytes()
	for _, server := range relay.Servers {
		if _, err := s.up.WriteToUDPAddrPort(b, netip.AddrPortFrom(server, serverPort)); err == nil {
			s.count(func(t *Stats) { t.Forwarded++ })
		}
	}
	return true
}

func (s *Server) fromServer(p *dhcpv4.DHCPv4, relay Relay) bool {
	name := backward(p, relay.Address)
	s.mu.Lock()
	g := s.byName[name]
	s.mu.Unlock()
	return g != nil && g.lease.belongsTo(p.ClientHWAddr) && s.deliver(g, p)
}

// deliver sends a reply to the guest's MAC, where RFC 2131, Section 4.1 wants it:
// to the address it has, to everybody if it asks for that, or to the address it
// will have.
func (s *Server) deliver(g *guest, p *dhcpv4.DHCPv4) bool {
	if len(p.ClientHWAddr) != 6 {
		return false
	}
	to := unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: g.link, Halen: 6}
	copy(to.Addr[:], p.ClientHWAddr)
	address := broadcast
	switch {
	case p.MessageType() == dhcpv4.MessageTypeNak || len(p.ClientIPAddr) == 0 || p.ClientIPAddr.IsUnspecified() && p.IsBroadcast():
		copy(to.Addr[:], []byte{255, 255, 255, 255, 255, 255})
	case !p.ClientIPAddr.IsUnspecified():
		address, _ = netip.AddrFromSlice(p.ClientIPAddr.To4())
	default:
		address, _ = netip.AddrFromSlice(p.YourIPAddr.To4())
	}
	packet := appendPacket(nil, g.lease.Gateway, address, p.ToBytes())
	if err := unix.Sendto(s.out, packet, 0, &to); err != nil {
		return false
	}
	s.count(func(t *Stats) { t.Answers++ })
	return true
}

func (s *Server) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

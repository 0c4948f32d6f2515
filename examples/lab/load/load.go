// Package load stands in for many guests at once: one packet socket receives on all their
// interfaces, which share a network namespace without any address, and answers what
// a guest's kernel would: ARP requests, neighbour solicitations and echo requests.
package load

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/ndp"
)

// Guests are the guests behind a namespace's interfaces.
type Guests struct {
	fd     int
	byLink map[int]plan.Guest

	mu      sync.Mutex
	heard   map[int]bool // by link: a router advertisement with the guest's prefix came
	closing bool
	done    chan struct{}
}

// Start answers for guests, each on the interface of its name, in the namespace at path.
func Start(path string, guests []plan.Guest) (*Guests, error) {
	c := &Guests{byLink: map[int]plan.Guest{}, heard: map[int]bool{}, done: make(chan struct{})}
	err := netns.Do(path, func() (err error) {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		index := make(map[string]int, len(links))
		for _, l := range links {
			index[l.Name] = l.Index
		}
		for _, g := range guests {
			c.byLink[index[g.Name]] = g
		}
		c.fd, err = listen()
		return err
	})
	if err != nil {
		return nil, err
	}
	go c.run()
	return c, nil
}

func listen() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		return -1, os.NewSyscallError("packet socket", err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}))
	return fd, err
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// Close ends it: nobody answers any more.
func (c *Guests) Close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	<-c.done
}

// Advertised counts the guests that have received a router advertisement with their
// prefix.
func (c *Guests) Advertised() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.heard)
}

func (c *Guests) run() {
	defer close(c.done)
	defer unix.Close(c.fd)
	b, out := make([]byte, 2048), make([]byte, 0, 2048)
	for {
		c.mu.Lock()
		closing := c.closing
		c.mu.Unlock()
		if closing {
			return
		}
		n, from, err := unix.Recvfrom(c.fd, b, 0)
		at, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok || n < 14 {
			continue // nothing came, or the interface is gone
		}
		if reply := c.answer(at.Ifindex, b[:n], out); reply != nil {
			_ = unix.Sendto(c.fd, reply, 0, &unix.SockaddrLinklayer{Ifindex: at.Ifindex})
		}
	}
}

// answer returns what the guest on a link says to a frame, nil for nothing.
func (c *Guests) answer(link int, frame, out []byte) []byte {
	g, ok := c.byLink[link]
	if !ok {
		return nil
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_ARP:
		return arpAnswer(g, frame, out)
	case unix.ETH_P_IP:
		return echo4(g, frame)
	case unix.ETH_P_IPV6:
		if reply := echo6(g, frame); reply != nil {
			return reply
		}
		return c.ndpAnswer(link, g, frame, out)
	}
	return nil
}

func arpAnswer(g plan.Guest, frame, out []byte) []byte {
	f, err := arp.ParseFrame(frame)
	if err != nil || f.Packet.Op != arp.OpRequest || f.Packet.TargetIP != arp.IPFrom(g.IPv4) || f.Packet.IsAnnouncement() {
		return nil
	}
	mac := arp.MAC(g.MAC)
	f.Dst, f.Src, f.Packet = f.Src, mac, f.Packet.Answer(mac)
	out, _ = f.AppendBinary(out)
	return out
}

func (c *Guests) ndpAnswer(link int, g plan.Guest, frame, out []byte) []byte {
	p, err := ndp.ParseFrame(frame)
	if err != nil {
		return nil
	}
	kind, err := p.Check()
	switch {
	case err != nil:
	case kind == ndp.TypeRouterAdvertisement:
		c.advertised(link, g, &p)
	case kind == ndp.TypeNeighborSolicitation:
		m, err := ndp.ParseNeighborSolicitation(&p)
		if err != nil || p.Src.IsUnspecified() || m.Target != g.IPv6() && m.Target != g.LinkLocal() {
			return nil
		}
		na := ndp.NeighborAdvertisement{Solicited: true, Override: true, Target: m.Target, TargetLinkAddr: ndp.MAC(g.MAC)}
		body, _ := na.AppendBinary(nil)
		reply := ndp.Packet{SrcMAC: ndp.MAC(g.MAC), DstMAC: p.SrcMAC, Src: m.Target, Dst: p.Src, Body: body}
		out, _ = reply.AppendBinary(out)
		return out
	}
	return nil
}

func (c *Guests) advertised(link int, g plan.Guest, p *ndp.Packet) {
	ra, err := ndp.ParseRouterAdvertisement(p)
	if err != nil {
		return
	}
	for _, prefix := range ra.Prefixes {
		if prefix.Prefix == netip.PrefixFrom(g.IPv6(), 64).Masked() {
			c.mu.Lock()
			c.heard[link] = true
			c.mu.Unlock()
		}
	}
}

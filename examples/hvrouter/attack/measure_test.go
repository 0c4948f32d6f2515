package attack

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/internal/testing/hostile"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const echoPort = 7

// listen has the rest of the network echo datagrams and take connections.
func (w *testbed) listen() {
	w.rr.Do(func() error {
		for i := range hops {
			for _, a := range []netip.Addr{far4(i), far6(i)} {
				if err := w.echo(a); err != nil {
					return err
				}
			}
		}
		if err := w.echo(netip.MustParseAddr("172.22.2.2")); err != nil {
			return err
		}
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", echoPort))
		if err != nil {
			return err
		}
		w.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		return nil
	})
}

func (w *testbed) echo(a netip.Addr) error {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, echoPort)))
	if err != nil {
		return err
	}
	w.t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 9000)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	return nil
}

// flood sends frames of one kind, rate a second, until stop.
func (w *testbed) flood(f hostile.Flood, rate int, stop chan struct{}) (done chan uint32) {
	ns, link := w.where(f.From)
	s, err := hostile.Open(ns.Path, link)
	if err != nil {
		w.t.Fatal(err)
	}
	done = make(chan uint32, 1)
	go func() {
		done <- s.Flood(f, w.scenes[f.From], rate, stop)
		s.Close()
	}()
	return done
}

// loss is what others lost.
type loss struct {
	hops4, hops6   int // first packets to next hops that were not cached, of 20 each
	flows          int // connections that took longer than a retransmission, of 50
	guest4, guest6 int // echoes of a stream of another guest
	uplink         int // echoes of a stream of the hypervisor itself
	big            int // echoes in fragments, of 10 by a guest in each family, and 10 by the hypervisor
	arp, nd, dhcp  int // answers to another guest's questions, of 20, 20 and 5
	bgp            int // sessions that were not up again in time after a reset, of 2
}

func (l loss) String() string {
	return fmt.Sprintf("%2d %2d | %2d | %3d %3d %3d | %2d | %2d %2d %d | %d", l.hops4, l.hops6, l.flows, l.guest4, l.guest6, l.uplink, l.big, l.arp, l.nd, l.dhcp, l.bgp)
}

// over reports whether l is more than b, and than what a machine that others share loses
// now and then.
func (l loss) over(b loss) bool {
	return l.hops4 > b.hops4 || l.hops6 > b.hops6 || l.flows > b.flows+1 || l.bgp > b.bgp || l.big > b.big+1 || l.arp > b.arp || l.nd > b.nd || l.dhcp > b.dhcp || l.guest4 > b.guest4+6 || l.guest6 > b.guest6+6 || l.uplink > b.uplink+6
}

// tables is how many entries the kernel has.
type tables struct {
	neigh4, neigh6 int // of all namespaces, permanent ones included
	full           int // times that a table of neighbours was full, so far
	conntrack      int
	exceptions     int // of routes: path MTU
	fdb            int
}

func (c tables) String() string {
	return fmt.Sprintf("%4d/%4d/%6d/%4d/%5d", c.neigh4, c.neigh6, c.conntrack, c.exceptions, c.fdb)
}

// count counts them.
func (w *testbed) count() (c tables) {
	var full4, full6 int
	c.neigh4, full4 = neighbours(w.t, "arp_cache")
	c.neigh6, full6 = neighbours(w.t, "ndisc_cache")
	c.full = full4 + full6
	w.hv.Do(func() error {
		b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		if err == nil {
			c.conntrack, err = strconv.Atoi(strings.TrimSpace(string(b)))
		}
		return err
	})
	c.exceptions = strings.Count(w.hv.IP("route show cache table all"), "expires") + strings.Count(w.hv.IP("-6 route show cache table all"), "expires")
	c.fdb = strings.Count(w.hv.Exec("bridge", "fdb", "show", "br", "br100"), "\n")
	return c
}

// neighbours reads the kernel's own count, which is one for all namespaces.
func neighbours(tb interface{ Fatal(...any) }, table string) (entries, full int) {
	f, err := os.Open("/proc/net/stat/" + table)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if n, err := strconv.ParseInt(words[0], 16, 64); err == nil {
			entries = int(n)
			more, _ := strconv.ParseInt(words[12], 16, 64)
			full += int(more)
		}
	}
	return entries, full
}

// forget has the hypervisor forget its neighbours on an interface; "" is all.
func (w *testbed) forget(link string) {
	for _, f := range []string{"-4", "-6"} {
		args := []string{f, "neigh", "flush", "all"}
		if link != "" {
			args = []string{f, "neigh", "flush", "dev", link}
		}
		_ = w.hv.Command("ip", args...).Run()
	}
}

// measure counts what others lose in some seconds.
func (w *testbed) measure() (l loss) {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var guest4, guest6, uplink int
	wg.Go(func() { guest4 = w.stream(w.vm2, far4(0), stop) })
	wg.Go(func() { guest6 = w.stream(w.vm2, far6(0), stop) })
	wg.Go(func() { uplink = w.stream(w.hv, netip.MustParseAddr("172.22.2.2"), stop) })
	w.forget("a.public")
	l.hops4, l.hops6 = w.meet(far4), w.meet(far6)
	l.flows = w.connect()
	l.arp, l.nd, l.dhcp = w.asks()
	l.big = w.big(w.vm2, far4(0)) + w.big(w.vm2, far6(0)) + w.big(w.hv, netip.MustParseAddr("172.22.2.2"))
	l.bgp = w.reset()
	close(stop)
	wg.Wait()
	l.guest4, l.guest6, l.uplink = guest4, guest6, uplink
	return l
}

// meet sends one packet each by next hops that nobody knows, and counts missing answers.
func (w *testbed) meet(to func(int) netip.Addr) (lost int) {
	var c *net.UDPConn
	w.vm2.Do(func() (err error) {
		c, err = net.ListenUDP("udp", nil)
		return err
	})
	defer c.Close()
	for i := range hops {
		_, _ = c.WriteToUDPAddrPort([]byte{byte(i)}, netip.AddrPortFrom(to(i), echoPort))
	}
	_ = c.SetReadDeadline(time.Now().Add(900 * time.Millisecond)) // before the kernel asks a second time
	seen := map[byte]bool{}
	for b := make([]byte, 8); len(seen) < hops; {
		if _, err := c.Read(b); err != nil {
			break
		}
		seen[b[0]] = true
	}
	return hops - len(seen)
}

// connect opens 50 connections and counts those for which a packet had to be repeated.
func (w *testbed) connect() (slow int) {
	var wg sync.WaitGroup
	var n atomic.Int32
	for i := range 50 {
		to := netip.AddrPortFrom(far4(i%hops), echoPort)
		if i%2 == 1 {
			to = netip.AddrPortFrom(far6(i%hops), echoPort)
		}
		wg.Go(func() {
			begin := time.Now()
			ok := dial(w.vm2, to)
			if !ok || time.Since(begin) > 900*time.Millisecond {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return int(n.Load())
}

// dial connects from a namespace.
func dial(ns *nstest.NS, to netip.AddrPort) (ok bool) {
	ns.Do(func() error {
		c, err := net.DialTimeout("tcp", to.String(), 3*time.Second)
		if err == nil {
			c.Close()
		}
		ok = err == nil
		return nil
	})
	return ok
}

// asks has another guest ask for a remote guest, for its gateway from addresses that it
// never used before, and for a lease, and counts the answers that are missing.
func (w *testbed) asks() (arp, nd, dhcp int) {
	s := w.scenes[hostile.Guest].For(w.mac(w.vm2, "eth0"), w.mac(w.hv, "vm2"))
	out, err := hostile.Open(w.vm2.Path, "eth0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	in, err := hostile.Hear(w.vm2.Path, "eth0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer in.Close()
	for i := range 20 {
		w.asked++
		_ = out.Send(s.ARP(s.MAC, layers.ARPRequest, s.Other4, netip.MustParseAddr("203.0.113.100")))
		_ = out.Send(s.Solicit(s.MAC, hostile.LinkLocal(w.asked)))
		if i%4 == 0 {
			_ = out.Send(s.DHCP(s.MAC, w.asked))
		}
		time.Sleep(5 * time.Millisecond)
	}
	arp, nd, dhcp = 20, 20, 5
	for deadline := time.Now().Add(700 * time.Millisecond); arp+nd+dhcp > 0; {
		frame, err := in.Next(deadline)
		if err != nil {
			break
		}
		switch p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy); {
		case p.Layer(layers.LayerTypeARP) != nil && p.Layer(layers.LayerTypeARP).(*layers.ARP).Operation == layers.ARPReply:
			arp--
		case p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement) != nil:
			nd--
		case p.Layer(layers.LayerTypeDHCPv4) != nil:
			dhcp--
		}
	}
	return arp, nd, dhcp
}

// big sends datagrams that need three fragments and counts missing echoes.
func (w *testbed) big(ns *nstest.NS, to netip.Addr) (lost int) {
	var c *net.UDPConn
	ns.Do(func() (err error) {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, echoPort)))
		return err
	})
	defer c.Close()
	b := make([]byte, 4000)
	for range 10 {
		_, _ = c.Write(b)
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if n, err := c.Read(b); err != nil || n != len(b) {
			lost++
		}
	}
	return lost
}

// reset has BIRD restart two sessions and counts those that are not up again in time.
func (w *testbed) reset() (down int) {
	for _, name := range []string{"a4", "a6"} {
		_ = w.rr.Command("birdc", "-s", w.path("bird.ctl"), "restart", name).Run()
	}
	begin := time.Now()
	for time.Since(begin) < 12*time.Second {
		if out, _ := w.rr.Command("birdc", "-s", w.path("bird.ctl"), "show", "protocols").Output(); strings.Count(string(out), "Established") == 3 {
			return 0
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 1
}

// stream sends 200 datagrams a second until stop and counts those whose echo is missing.
func (w *testbed) stream(ns *nstest.NS, to netip.Addr, stop chan struct{}) (lost int) {
	var c *net.UDPConn
	ns.Do(func() (err error) {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, echoPort)))
		return err
	})
	defer c.Close()
	var seen atomic.Int32
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		b := make([]byte, 8)
		for {
			if _, err := c.Read(b); err == nil {
				seen.Add(1)
			} else if _, late := err.(interface{ Timeout() bool }); late && err.(net.Error).Timeout() {
				return
			}
		}
	}()
	sent := 0
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			<-heard
			return sent - int(seen.Load())
		case <-tick.C:
			if _, err := c.Write(binary.BigEndian.AppendUint32(nil, uint32(sent))); err == nil {
				sent++
			}
		}
	}
}

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/ndp"
)

// edge is everything a hypervisor runs for its guests.
type edge struct {
	arpConn       *arp.Conn
	raConn, nConn *ndp.Conn
	responder     *arp.Responder
	advertiser    *ndp.Advertiser
	proxy         *ndp.Responder
	cancel        context.CancelFunc
	done          chan error
}

func newEdge(ns string) (*edge, error) {
	e := &edge{done: make(chan error, 3)}
	var err error
	if e.arpConn, err = arp.Listen(arp.Config{NetNS: ns}); err != nil {
		return nil, err
	}
	if e.raConn, err = ndp.Listen(ndp.Config{NetNS: ns, Types: []ndp.Type{ndp.TypeRouterSolicitation}}); err != nil {
		return nil, err
	}
	if e.nConn, err = ndp.Listen(ndp.Config{NetNS: ns, Types: []ndp.Type{ndp.TypeNeighborSolicitation}}); err != nil {
		return nil, err
	}
	e.responder, e.advertiser, e.proxy = arp.NewResponder(e.arpConn), ndp.NewAdvertiser(e.raConn), ndp.NewResponder(e.nConn)
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	for _, run := range []func(context.Context) error{e.responder.Run, e.advertiser.Run, e.proxy.Run} {
		go func() { e.done <- run(ctx) }()
	}
	return e, nil
}

// add starts all three on a guest's interface.
func (e *edge) add(ifi net.Interface, n int) error {
	mac := arp.MAC(ifi.HardwareAddr)
	v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 32)
	if err := e.responder.SetGuest(ifi.Index, arp.Guest{Router: mac, Addresses: []netip.Prefix{v4}}); err != nil {
		return err
	}
	if err := e.proxy.SetGuest(ifi.Index, ndp.Guest{Router: mac}); err != nil {
		return err
	}
	return e.advertiser.Set(ifi.Index, guestRouter(mac))
}

func (e *edge) close() {
	e.cancel()
	for range 3 {
		<-e.done
	}
	e.arpConn.Close()
	e.raConn.Close()
	e.nConn.Close()
}

// scale starts ARP, RA and NDP on 1,000 interfaces at once, and on one more. The time
// ends when every guest has heard its first router advertisement.
func scale(b *bench) error {
	const n = 1000
	w, err := newWire("scale")
	defer w.close()
	if err != nil {
		return err
	}
	if err := w.plug(0, n); err != nil {
		return err
	}
	heard, err := ndp.Listen(ndp.Config{NetNS: path(w.guest), Types: []ndp.Type{ndp.TypeRouterAdvertisement}, ReceiveBuffer: 8 << 20})
	if err != nil {
		return err
	}
	defer heard.Close()
	if err := heard.Add(0); err != nil { // every interface
		return err
	}
	ifis, err := w.interfaces()
	if err != nil {
		return err
	}
	begin := time.Now()
	e, err := newEdge(path(w.host))
	if err != nil {
		return err
	}
	for i, ifi := range ifis {
		if err := e.add(ifi, i); err != nil {
			return err
		}
	}
	if err := hear(heard, len(ifis), 30*time.Second); err != nil {
		return err
	}
	all := time.Since(begin)
	b.add("1,000 guest interfaces: start to the last first RA", "hyperfib", all.Round(time.Millisecond).String(), "1 s", all <= time.Second)
	b.add("resident memory with them", "hyperfib", rss(), "", true)

	if err := w.plug(n, n+20); err != nil {
		return err
	}
	if ifis, err = w.interfaces(); err != nil {
		return err
	}
	var worst time.Duration
	for i := n; i < n+20; i++ {
		begin := time.Now()
		if err := e.add(ifis[i], i); err != nil {
			return err
		}
		if err := hear(heard, 1, 5*time.Second); err != nil {
			return err
		}
		worst = max(worst, time.Since(begin))
	}
	b.add("one more, 20 times: slowest to its first RA", "hyperfib", worst.Round(10*time.Microsecond).String(), "100 ms", worst <= 100*time.Millisecond)
	e.close()
	return nil
}

// plug makes interfaces g0, g1, ... and their guests' ends.
func (w *wire) plug(from, to int) error {
	var script strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&script, "link add g%d type veth peer name h%d netns %s\nlink set g%d up\n", i, i, w.guest, i)
	}
	var guests strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&guests, "link set h%d arp off up\n", i)
	}
	for _, s := range []struct{ ns, script string }{{w.host, script.String()}, {w.guest, guests.String()}} {
		cmd := exec.Command("ip", "-n", s.ns, "-batch", "-")
		cmd.Stdin = strings.NewReader(s.script)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %s", err, out)
		}
	}
	for range 100 { // until the last has its carrier
		time.Sleep(50 * time.Millisecond)
		ifis, err := w.interfaces()
		if err != nil {
			return err
		}
		up := 0
		for _, ifi := range ifis {
			if ifi.Flags&net.FlagRunning != 0 {
				up++
			}
		}
		if up == to {
			return nil
		}
	}
	return fmt.Errorf("interfaces without carrier")
}

// interfaces returns the host's guest interfaces in the order they were made.
func (w *wire) interfaces() (guests []net.Interface, err error) {
	err = netns.Do(path(w.host), func() error {
		all, err := net.Interfaces()
		for _, ifi := range all {
			if strings.HasPrefix(ifi.Name, "g") {
				guests = append(guests, ifi)
			}
		}
		return err
	})
	return guests, err
}

// hear waits for advertisements from n different routers.
func hear(c *ndp.Conn, n int, limit time.Duration) error {
	in := make([]ndp.Packet, ndp.Batch)
	from := make(map[ndp.MAC]bool)
	_ = c.SetReadDeadline(time.Now().Add(limit))
	for len(from) < n {
		got, err := c.Read(in)
		if err != nil {
			return fmt.Errorf("heard %d of %d routers: %w", len(from), n, err)
		}
		for _, p := range in[:got] {
			from[p.SrcMAC] = true
		}
	}
	return nil
}

func rss() string {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

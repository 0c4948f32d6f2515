package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/handover"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/testing/hostile"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/ndp"
	"github.com/hyperfib/hyperfib/vxlan"
)

// edgeTest is an Edge at one end of a veth pair, and a guest at the other that listens.
type edgeTest struct {
	*Edge
	t      *testing.T
	hv, vm *nstest.NS
	port   guest.Port
	arp    *arp.Conn
	nd     *ndp.Conn
	link   int // the guest's

	mu    sync.Mutex
	heard map[string]int
}

func newEdgeTest(t *testing.T, c *config.Config) *edgeTest {
	t.Helper()
	if testing.Short() {
		t.Skip("needs network namespaces; not with -short")
	}
	e := &edgeTest{t: t, hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm"), heard: map[string]int{}}
	e.hv.IP("link add name vm1 type veth peer name eth0 address 50:54:33:00:00:07 netns " + e.vm.Name)
	e.vm.IP("link set eth0 up")
	e.link = index(e.vm, "eth0").Index
	e.port = guest.Port{Guest: c.Guests[0], Link: fib.Link{IfIndex: index(e.hv, "vm1").Index, Interface: "vm1"}}
	var err error
	if e.arp, err = arp.Listen(arp.Config{NetNS: e.vm.Path}); err != nil {
		t.Fatal(err)
	}
	if e.nd, err = ndp.Listen(ndp.Config{NetNS: e.vm.Path, Types: []ndp.Type{ndp.TypeRouterAdvertisement, ndp.TypeNeighborAdvertisement}}); err != nil {
		t.Fatal(err)
	}
	if err := e.arp.Add(e.link); err != nil {
		t.Fatal(err)
	}
	if err := e.nd.Add(e.link); err != nil {
		t.Fatal(err)
	}
	if e.Edge, err = Open(Config{NetNS: e.hv.Path, SocketStore: handover.Open(""), Log: slog.New(slog.DiscardHandler), AuditRound: 50 * time.Millisecond, Differed: e.differed, Repaired: e.repaired}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(e.hear4)
	wg.Go(e.hear6)
	t.Cleanup(func() { cancel(); e.arp.Close(); e.nd.Close(); wg.Wait() })
	return e
}

func index(ns *nstest.NS, name string) (l net.Interface) {
	ns.Do(func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			l = *i
		}
		return err
	})
	return l
}

func (e *edgeTest) differed(_ context.Context, v vxlan.Event) {
	e.note(fmt.Sprint("difference ", v.Op, " ", v.Entry.VTEP))
}

func (e *edgeTest) note(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard[what]++
}

func (e *edgeTest) hear4() {
	in := make([]arp.Frame, arp.Batch)
	for {
		n, err := e.arp.Read(in)
		if err != nil {
			return
		}
		for _, f := range in[:n] {
			switch {
			case f.IsAnnouncement():
				e.note("announced " + f.SenderIP.Addr().String() + " at " + f.SenderMAC.String())
			case f.Op == arp.OpReply:
				e.note("ARP " + f.SenderIP.Addr().String() + " at " + f.SenderMAC.String())
			}
		}
	}
}

func (e *edgeTest) hear6() {
	in := make([]ndp.Packet, ndp.Batch)
	for {
		n, err := e.nd.Read(in)
		if err != nil {
			return
		}
		for i := range in[:n] {
			if ndp.Type(in[i].Body[0]) == ndp.TypeNeighborAdvertisement {
				if na, err := ndp.ParseNeighborAdvertisement(&in[i]); err == nil {
					e.note("NDP " + na.Target.String() + " at " + na.TargetLinkAddr.String())
				}
			} else if ra, err := ndp.ParseRouterAdvertisement(&in[i]); err == nil && ra.Lifetime == 0 {
				e.note("final RA")
			} else if err == nil {
				e.note("RA")
			}
		}
	}
}

// hears repeats ask, if it is not nil, until the guest hears something (again).
func (e *edgeTest) hears(what string, ask func()) {
	e.t.Helper()
	e.mu.Lock()
	before := e.heard[what]
	e.mu.Unlock()
	nstest.Wait(e.t, 20*time.Second, what, func() bool {
		if ask != nil {
			ask()
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.heard[what] > before
	})
}

func (e *edgeTest) ask4(target string) func() {
	return func() {
		_, _ = e.arp.Write([]arp.Frame{arp.NewRequest(arp.MAC(e.port.MAC), netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr(target)).On(e.link)})
	}
}

func (e *edgeTest) ask6(target string) func() {
	to := netip.MustParseAddr(target)
	group := ndp.SolicitedNode(to)
	ns := ndp.NeighborSolicitation{Target: to, SourceLinkAddr: ndp.MAC(e.port.MAC)}
	body, _ := ns.AppendBinary(nil)
	return func() {
		_, _ = e.nd.Write([]ndp.Packet{{IfIndex: e.link, SrcMAC: ndp.MAC(e.port.MAC), DstMAC: ndp.GroupMAC(group), HopLimit: 255,
			Src: netip.MustParseAddr("fe80::5254:33ff:fe00:7"), Dst: group, Body: body}})
	}
}

// TestGuestIsServed is the life of one guest: its interface comes up with the gateway's
// MAC, it is told about its router, the gateway is announced, its questions are answered
// as far as something is allocated, by us and not by the kernel; and at its end it hears
// that its router is gone.
func TestGuestIsServed(t *testing.T) {
	c := parse(t, `
edge: {gateway4: 203.0.113.254, arp: responder, mac: "02:00:00:00:00:fe", dhcp: {on: true}}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1], ipv6: ["2001:db8:1::7/128"]}
`)
	e := newEdgeTest(t, c)
	proxyARP := func() string { return strings.TrimSpace(e.hv.Exec("cat", "/proc/sys/net/ipv4/conf/vm1/proxy_arp")) }
	e.hv.Sysctl("net/ipv4/conf/vm1/proxy_arp", "1") // of an earlier configuration
	e.Target(netip.MustParsePrefix("203.0.113.3/32"), 0)
	e.Target(netip.MustParsePrefix("203.0.113.4/32"), e.port.Link.IfIndex)
	e.Target(netip.MustParsePrefix("2001:db8:1::9/128"), 0)
	e.Arrive(c, e.port)
	e.Serve(c, e.port)
	const gateway = " at 02:00:00:00:00:fe"
	e.hears("RA", nil)
	e.hears("announced 203.0.113.254"+gateway, func() { e.Reannounce(c, e.port) })
	e.hears("ARP 203.0.113.3"+gateway, e.ask4("203.0.113.3"))
	e.hears("NDP 2001:db8:1::9"+gateway, e.ask6("2001:db8:1::9"))
	if got := proxyARP(); got != "0" {
		t.Errorf("the kernel answers, too: proxy_arp is %s", got)
	}
	// Questions are answered in their order: when the last one is, the first never will be.
	for _, target := range []string{"203.0.113.4", "203.0.113.77"} {
		e.ask4(target)()
		e.hears("ARP 203.0.113.3"+gateway, e.ask4("203.0.113.3"))
		e.mu.Lock()
		if n := e.heard["ARP "+target+gateway]; n > 0 {
			t.Errorf("%s: answered", target)
		}
		e.mu.Unlock()
	}
	e.NoTarget(netip.MustParsePrefix("2001:db8:1::9/128"))
	e.NoTarget(netip.MustParsePrefix("203.0.113.3/32"))
	e.Silence(e.port)
	e.Leave(e.port, false)
	e.hears("final RA", nil)
	if out := e.hv.IP("link show vm1"); !strings.Contains(out, "UP") || !strings.Contains(out, "02:00:00:00:00:fe") {
		t.Errorf("the interface: %s", out)
	}
}

// TestOverlayStands makes an overlay's bridge and device, its member a port, and floods
// to whom it should; a member that comes later joins; the same again writes nothing.
func TestOverlayStands(t *testing.T) {
	c := parse(t, `
edge: {gateway4: 203.0.113.254}
overlays: [{name: vx7, vni: 7, bridge: br7, peers: [172.22.2.2], members: [vm1.vx, later]}]
guests: [{name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1]}]
`)
	e := newEdgeTest(t, c)
	e.hv.IP("addr add 172.22.2.1/32 dev lo")
	e.hv.IP("link add vm1.vx type veth peer name vm1.vxp")
	stand := func() {
		e.Overlays(c, func(name string) (fib.Link, bool) {
			if !strings.Contains(e.hv.IP("-o link show"), ": "+name+"@") && !strings.Contains(e.hv.IP("-o link show"), ": "+name+":") {
				return fib.Link{}, false
			}
			m, err := e.links.conn.Link.Get(uint32(index(e.hv, name).Index))
			if err != nil {
				t.Fatal(err)
			}
			l := fib.Link{IfIndex: int(m.Index), Interface: name, AdminUp: m.Flags&unix.IFF_UP != 0}
			if m.Attributes.Master != nil {
				l.Master = int(*m.Attributes.Master)
			}
			return l, true
		}, nil, func(string) Content { return Content{} })
	}
	stand()
	e.SweepOverlays()
	if out := e.hv.IP("-d link show vx7"); !strings.Contains(out, "vxlan id 7") || !strings.Contains(out, "master br7") {
		t.Errorf("the device: %s", out)
	}
	if out := e.hv.IP("-d link show br7"); !strings.Contains(out, "NOARP") || !strings.Contains(out, "UP") {
		t.Errorf("the bridge is not deaf: %s", out)
	} else if !strings.Contains(out, "mcast_snooping 0") {
		t.Errorf("the bridge snoops: %s", out)
	}
	e.floodMACs(3 * mostLearned / 2)
	for _, dev := range []string{"br br7", "dev vx7"} {
		learned := strings.Count(e.hv.Exec("bridge", append([]string{"-n", e.hv.Name, "fdb", "show"}, strings.Fields(dev)...)...), "\n")
		if learned < mostLearned/2 && dev == "br br7" || learned > mostLearned+32 { // some are the ports' own
			t.Errorf("%s learned %d MACs, want some %d", dev, learned, mostLearned)
		}
	}
	flood := func() string { return e.hv.Exec("bridge", "-n", e.hv.Name, "fdb", "show", "dev", "vx7") }
	if out := flood(); !strings.Contains(out, "00:00:00:00:00:00 dst 172.22.2.2") {
		t.Errorf("the flood list: %s", out)
	}
	if out := e.hv.IP("link show vm1.vx"); !strings.Contains(out, "master br7") {
		t.Errorf("the member: %s", out)
	}
	for _, hand := range []string{"set vx7 down", "set br7 down", "set vm1.vx down", "set vm1.vx nomaster", "set vx7 nomaster"} { // by another program
		e.hv.IP("link " + hand)
		stand()
		for _, name := range []string{"vx7", "vm1.vx"} {
			if out := e.hv.IP("link show " + name); !strings.Contains(out, ",UP") || !strings.Contains(out, "master br7") {
				t.Errorf("after %s: %s", hand, out)
			}
		}
		if out := e.hv.IP("link show br7"); !strings.Contains(out, ",UP") {
			t.Errorf("after %s: %s", hand, out)
		}
	}
	e.hv.IP("link add later type bridge") // that cannot be a port: the overlay goes on
	stand()
	e.hv.Exec("bridge", "-n", e.hv.Name, "fdb", "del", "00:00:00:00:00:00", "dev", "vx7", "dst", "172.22.2.2")
	nstest.Wait(t, 20*time.Second, "the entry back", func() bool { return strings.Contains(flood(), "dst 172.22.2.2") })
	e.hears("difference extra 172.22.2.66", func() {
		_ = e.hv.Command("bridge", "-n", e.hv.Name, "fdb", "append", "00:00:00:00:00:00", "dev", "vx7", "dst", "172.22.2.66", "extern_learn").Run()
	})
	nstest.Wait(t, 20*time.Second, "the entry gone", func() bool { return !strings.Contains(flood(), "172.22.2.66") })
}

// floodMACs has the guest send from so many made-up MACs on the overlay.
func (e *edgeTest) floodMACs(n int) {
	e.t.Helper()
	e.hv.IP("link set vm1.vxp up")
	s, err := hostile.Open(e.hv.Path, "vm1.vxp")
	if err != nil {
		e.t.Fatal(err)
	}
	defer s.Close()
	scene := &hostile.Scene{Gateway6: gateway6}
	for i := range n {
		_ = s.Send(scene.Solicit(hostile.Station(uint32(i)), hostile.LinkLocal(uint32(i))))
	}
}

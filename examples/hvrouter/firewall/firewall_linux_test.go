package firewall

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/ether"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// lab is a guest, a hypervisor and two neighbours of it, one public and one
// private.
type lab struct {
	hv, guest, public, private *nstest.NS
	firewall                   *Firewall
}

func newLab(t testing.TB) lab {
	if testing.Short() {
		t.Skip("namespaces are not part of the short suite")
	}
	l := lab{
		hv: nstest.New(t, "hv"), guest: nstest.New(t, "guest"),
		public: nstest.New(t, "public"), private: nstest.New(t, "private"),
	}
	l.guest.Sysctl("net/ipv6/conf/default/addr_gen_mode", "1") // else it says something from an address of its first, random MAC
	nstest.Veth(l.hv, "vm1", "203.0.113.254/32 fe80::1/64", l.guest, "eth0", "203.0.113.1/24 2001:db8:7100::1/64")
	nstest.Veth(l.hv, "a.public", "198.51.100.101/25 2001:db8:64::1/64", l.public, "eth0", "198.51.100.1/25 2001:db8:64::ff/64")
	nstest.Veth(l.hv, "a.private", "172.22.15.101/25", l.private, "eth0", "172.22.15.1/25")
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		l.hv.Sysctl(name, "1")
	}
	l.hv.IP("addr add 172.22.2.1/32 dev lo")
	l.hv.IP("route add 203.0.113.1/32 dev vm1")
	l.hv.IP("-6 route add 2001:db8:7100::/64 via fe80::5254:33ff:fe00:7 dev vm1")
	l.hv.IP("route add default via 198.51.100.1")
	l.hv.IP("-6 route add default via 2001:db8:64::ff")
	l.guest.IP("route add default via 203.0.113.254")
	l.guest.IP("-6 route add default via fe80::1 dev eth0")
	l.public.IP("route add default via 198.51.100.101")
	l.public.IP("-6 route add default via 2001:db8:64::1")
	l.private.IP("route add default via 172.22.15.101")
	// The guest's MAC never changes, and neither does what stands in the golden files.
	l.guest.IP("link set eth0 address 50:54:33:00:00:07")
	l.guest.IP("-6 addr add fe80::5254:33ff:fe00:7/64 dev eth0 nodad")
	l.guest.IP("-6 neigh replace fe80::1 lladdr " + strings.TrimSpace(l.hv.Exec("cat", "/sys/class/net/vm1/address")) + " dev eth0 nud permanent") // as the daemon would answer
	l.hv.IP("neigh replace 203.0.113.1 lladdr 50:54:33:00:00:07 dev vm1 nud permanent")
	l.hv.IP("neigh replace fe80::5254:33ff:fe00:7 lladdr 50:54:33:00:00:07 dev vm1 nud permanent")
	l.firewall = New(l.hv.Path)
	return l
}

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func spec() Spec {
	return Spec{
		Host:       []string{"lo"},
		Uplinks:    []string{"a.public", "a.private"},
		OnLink:     prefixes("2001:db8:64::/64", "198.51.100.0/25"),
		Domains:    [][]string{{"vm1", "vm2", "a.public"}, {"a.private"}},
		VXLANPorts: []uint16{4789},
		Underlay:   []string{"a.private"},
		VTEPs:      addrs("172.22.2.1"),
		Isolated:   []string{"br100"},
		Open:       []Port{{Protocol: 17, Port: 53}},
		LogRate:    5,
		Guests: []Guest{
			{
				Interface: "vm1", MAC: ether.MAC{0x50, 0x54, 0x33, 0, 0, 7}, Gateways: addrs("203.0.113.254", "fe80::1"),
				Neighbors:    addrs("203.0.113.1", "fe80::5254:33ff:fe00:7"),
				Prefixes:     prefixes("203.0.113.1/32", "203.0.113.16/28", "2001:db8:7100::/64"),
				Translations: []Translation{{netip.MustParseAddr("203.0.113.11"), netip.MustParseAddr("203.0.113.1")}},
			},
			{
				Interface: "vm2", Resolved: true, Gateways: addrs("203.0.113.254"),
				Neighbors: addrs("203.0.113.2", "2001:db8:7102::2"), Prefixes: prefixes("203.0.113.2/32", "2001:db8:7102::2/128"),
			},
		},
	}
}

func (l lab) apply(t testing.TB, s Spec) {
	t.Helper()
	if err := l.firewall.Apply(s); err != nil {
		t.Fatal(err)
	}
}

// send sends one UDP datagram from a namespace.
func send(t *testing.T, from *nstest.NS, to string) {
	t.Helper()
	from.Do(func() error {
		c, err := net.Dial("udp", to)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("hello"))
		return err
	})
}

// listen counts what arrives at an address inside a namespace.
func listen(t *testing.T, ns *nstest.NS, addr string) chan string {
	t.Helper()
	got := make(chan string, 16)
	ns.Do(func() error {
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			b := make([]byte, 64)
			for {
				_, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				got <- from.String()
			}
		}()
		return nil
	})
	return got
}

func (l lab) dropped(t *testing.T, what string, n uint64) {
	t.Helper()
	nstest.Wait(t, 5*time.Second, fmt.Sprintf("%d x %s", n, what), func() bool {
		drops, err := l.firewall.Drops()
		return err == nil && drops[what] == n
	})
}

func arrived(t *testing.T, got chan string) string {
	t.Helper()
	select {
	case from := <-got:
		return from
	case <-time.After(nstest.Patience):
		t.Fatal("nothing arrived")
		return ""
	}
}

func TestTableAsNftShowsIt(t *testing.T) {
	l := newLab(t)
	l.apply(t, spec())
	golden(t, l, "testdata/table.nft")
}

// withGateways has two tenants, of which the first has two overlays.
func withGateways() Spec {
	s := spec()
	mac := func(n byte) ether.MAC { return ether.MAC{2, 0, 0, 0, 0, n} }
	s.Isolated = append(s.Isolated, "br100", "br200", "br300")
	s.Gateways = []Gateway{
		{Bridge: "br100", Tenant: 1000, Addresses: addrs("192.168.5.254", "2001:db8:5::fe"), Stations: []Station{{mac(1), addrs("192.168.5.1", "2001:db8:5::1")}, {mac(4), addrs("192.168.5.4")}}},
		{Bridge: "br200", Tenant: 1000, Addresses: addrs("192.168.6.254"), Stations: []Station{{mac(2), addrs("192.168.6.2")}}},
		{Bridge: "br300", Tenant: 2000, Addresses: addrs("192.168.5.254"), Stations: []Station{{mac(1), addrs("192.168.5.1")}}},
	}
	return s
}

func TestGatewaysAsNftShowsThem(t *testing.T) {
	l := newLab(t)
	l.apply(t, withGateways())
	golden(t, l, "testdata/gateway.nft")
}

// The published lab dropped a list of ports on the uplinks and let a guest send
// UDP 4789 to the hypervisor's own address: the kernel took the frame for one of
// the overlay's.
func TestGuestInjectsIntoOverlay(t *testing.T) {
	l := newLab(t)
	vtep := listen(t, l.hv, "172.22.2.1:4789")
	send(t, l.guest, "172.22.2.1:4789")
	if from := arrived(t, vtep); from[:11] != "203.0.113.1" {
		t.Fatalf("without the firewall the frame comes from %s", from)
	}
	l.apply(t, spec())
	send(t, l.guest, "172.22.2.1:4789")
	send(t, l.public, "172.22.2.1:4789")
	l.dropped(t, "vxlan-not-from-underlay", 2)
	send(t, l.private, "172.22.2.1:4789")
	if from := arrived(t, vtep); from[:11] != "172.22.15.1" {
		t.Fatalf("a frame of %s arrived", from)
	}
}

func TestGuestReachesNoControlPort(t *testing.T) {
	l := newLab(t)
	open := listen(t, l.hv, ":53")
	l.apply(t, spec())
	for i, to := range []string{
		"203.0.113.254:3784", "198.51.100.101:4784", "172.22.15.101:3785", "172.22.2.1:179",
		"[2001:db8:64::1]:3784", "[fe80::1%eth0]:3784",
	} {
		send(t, l.guest, to)
		l.dropped(t, "guest-to-hypervisor", uint64(i)+1)
	}
	send(t, l.guest, "203.0.113.254:53")
	arrived(t, open)
	l.guest.Exec("ping", "-c1", "-W30", "203.0.113.254")
	l.guest.Exec("ping", "-c1", "-W30", "fe80::1%eth0")
}

func TestSpoofedIPv6Source(t *testing.T) {
	l := newLab(t)
	l.guest.IP("addr add 2001:db8:bad::1/128 dev eth0 nodad preferred_lft 0")
	l.public.IP("-6 route add 2001:db8:bad::/64 via 2001:db8:64::1")
	sink := listen(t, l.public, "[2001:db8:64::ff]:7")
	l.apply(t, spec())
	_ = l.guest.Command("ping", "-c1", "-W1", "-I", "2001:db8:bad::1", "2001:db8:64::ff").Run()
	nstest.Wait(t, 5*time.Second, "spoofed packets to be dropped", func() bool {
		drops, err := l.firewall.Drops() // the ping and the neighbour solicitation before it
		return err == nil && drops["spoofed-source"] > 0
	})
	send(t, l.guest, "[2001:db8:64::ff]:7")
	arrived(t, sink)
}

// Duplicate address detection has an unspecified source, to which nothing is
// routed.
func TestDuplicateAddressDetectionPasses(t *testing.T) {
	l := newLab(t)
	l.apply(t, spec())
	l.guest.IP("addr add fe80::1/64 dev eth0") // the gateway's: must be found out
	nstest.Wait(t, 10*time.Second, "DAD failure", func() bool {
		return l.guest.IP("-6 addr show dev eth0 dadfailed") != ""
	})
}

func TestNoForwardingBetweenDomains(t *testing.T) {
	l := newLab(t)
	sink := listen(t, l.private, "172.22.15.1:7")
	send(t, l.guest, "172.22.15.1:7")
	arrived(t, sink)
	l.apply(t, spec())
	send(t, l.guest, "172.22.15.1:7")
	send(t, l.private, "203.0.113.1:7")
	l.dropped(t, "between-domains", 2)
}

func TestTransparentAddress(t *testing.T) {
	l := newLab(t)
	l.hv.IP("route add 203.0.113.11/32 via 203.0.113.1 dev vm1 onlink")
	l.apply(t, spec())
	l.public.Exec("ping", "-c1", "-W30", "203.0.113.11")
}

func TestApplyIsIdempotentAndRepairs(t *testing.T) {
	l := newLab(t)
	l.apply(t, spec())
	send(t, l.guest, "203.0.113.254:99")
	l.dropped(t, "guest-to-hypervisor", 1)
	l.apply(t, spec())
	l.dropped(t, "guest-to-hypervisor", 1) // not replaced: the counter is still there
	l.hv.Exec("nft", "delete", "table", "inet", "hvrouter")
	l.apply(t, spec())
	l.dropped(t, "guest-to-hypervisor", 0)
	if err := l.firewall.Remove("hvrouter"); err != nil {
		t.Fatal(err)
	}
	if err := l.firewall.Remove("hvrouter"); err != nil {
		t.Fatal("removing what is not there: ", err)
	}
}

func TestManyGuestsManyRules(t *testing.T) {
	l := newLab(t)
	l.apply(t, blocked(2000))
	send(t, l.guest, "203.0.113.254:99")
	l.dropped(t, "guest-to-hypervisor", 1)
}

// crowded is spec() with so many guests more.
func blocked(n int) Spec {
	s := spec()
	for i := range n {
		name := fmt.Sprintf("tap%d", i)
		s.Guests = append(s.Guests, Guest{Interface: name, MAC: ether.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, Gateways: addrs("203.0.113.254", "fe80::1"),
			Neighbors: addrs(fmt.Sprintf("10.0.%d.%d", i>>8, i&255), fmt.Sprintf("fe80::%x", i+2)),
			Prefixes:  prefixes(fmt.Sprintf("10.0.%d.%d/32", i>>8, i&255), fmt.Sprintf("2001:db8:%x::/64", i))})
		s.Domains[0] = append(s.Domains[0], name)
	}
	return s
}

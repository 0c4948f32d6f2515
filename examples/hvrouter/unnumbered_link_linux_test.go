package main

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// share puts the hypervisor and both routers on one link, a bridge, and returns its namespace. The ports of the
// routers are p1 and p2.
func (k *rack) share() *nstest.NS {
	bridge := nstest.New(k.t, "bridge")
	bridge.IP("link add br0 type bridge mcast_snooping 0")
	bridge.Sysctl("net/ipv6/conf/br0/disable_ipv6", "1") // a switch, and no host
	bridge.IP("link set br0 up")
	for _, link := range []string{"a.public", "b.public"} {
		k.hv.IP("link del " + link)
	}
	nstest.Veth(k.hv, "a.public", "", bridge, "p0", "")
	for _, r := range k.tors {
		nstest.Veth(r.ns, "hv", "", bridge, fmt.Sprint("p", r.no), "")
	}
	for _, port := range []string{"p0", "p1", "p2"} {
		bridge.IP("link set " + port + " master br0")
	}
	return bridge
}

// received counts the UDP packets that came in to a router from the hypervisor.
func (r *tor) received() int {
	n := 0
	_, _ = fmt.Sscan(strings.TrimSpace(r.ask("cat", "/sys/class/net/hv/statistics/rx_packets")), &n)
	return n
}

// TestUnnumberedLink: BIRD and FRR on one link with us, FRR by our explicit link-local address: both have a
// session, traffic is shared, and goes on over one when the other is cut off silently.
func TestUnnumberedLink(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	k := newRack(t, false)
	bridge := k.share()
	birdTor(k.tors[0], `
protocol radv { interface "hv" { max ra interval 5; min ra interval 3; default lifetime 0; }; }
protocol static s4 { ipv4; route 203.0.113.3/32 blackhole; }
protocol bgp hv {
  local as 65011; neighbor range fe80::/10 external; interface "hv"; dynamic name "hv";
  graceful restart on; bfd on;
  ipv4 { extended next hop on; import all; export all; };
}
`)
	ours := linkLocal(t, k.hv, "a.public").String()
	frrTor(k.tors[1], `
router bgp 65012
 bgp router-id 198.51.100.226
 bgp graceful-restart
 no bgp network import-check
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor `+ours+` remote-as 65000
 neighbor `+ours+` interface hv
 neighbor `+ours+` timers connect 1
 neighbor `+ours+` bfd 20 100 100
 neighbor `+ours+` capability extended-nexthop
 address-family ipv4 unicast
  network 203.0.113.3/32
  neighbor `+ours+` activate
 exit-address-family
`)
	for _, c := range []string{"no ipv6 nd suppress-ra", "ipv6 nd ra-interval 3"} {
		k.tors[1].ask("vtysh", "--vty_socket", k.tors[1].dir, "-d", "zebra", "-c", "configure terminal", "-c", "interface hv", "-c", c)
	}
	k.write("hv.yaml", strings.Replace(unnumberedNeighbors, "as: external", "as: external, families: [ipv4]", 1))
	k.run()
	all := k.sessionsUp(2)
	if all[0].Interface != "a.public" || all[1].Interface != "a.public" {
		t.Errorf("%+v", all)
	}
	var both []string
	for _, r := range k.tors {
		both = append(both, linkLocal(t, r.ns, "hv").String()+" a.public")
	}
	up := func() bool { return slices.Equal(sorted(k.hops("203.0.113.3")), sorted(slices.Clone(both))) }
	nstest.Wait(t, 30*time.Second, "the route over both, and BFD", func() bool {
		var all []api.Session
		return up() && k.ask("/v1/sessions", &all) == nil && len(all) == 2 && all[0].BFD == "Up" && all[1].BFD == "Up"
	})

	// 256 flows.
	k.guest()
	k.hv.Sysctl("net/ipv4/fib_multipath_hash_policy", "1")
	k.vm.IP("route add default via 203.0.113.254")
	k.wait("the guest's route", func() bool { return len(k.hops("203.0.113.1")) == 1 })
	flows := func() (first, second int) {
		a, b := k.tors[0].received(), k.tors[1].received()
		k.vm.Do(func() error {
			for port := range 256 {
				c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(203, 0, 113, 1), Port: 20000 + port}, &net.UDPAddr{IP: net.IPv4(203, 0, 113, 3), Port: 9})
				if err != nil {
					return err
				}
				_, err = c.Write([]byte("x"))
				c.Close()
				if err != nil {
					return err
				}
			}
			return nil
		})
		return k.tors[0].received() - a, k.tors[1].received() - b
	}
	if a, b := flows(); a < 64 || b < 64 || a+b < 256 {
		t.Errorf("of 256 flows %d and %d packets went to the routers", a, b)
	}

	// The second router's cable is dead, and nobody's carrier says so.
	bridge.IP("link set p2 nomaster")
	defer func() {
		if t.Failed() {
			out, _ := k.command("show", "sessions", "-api", k.path("api.sock")).CombinedOutput()
			t.Logf("%v\n%s%s", k.hops("203.0.113.3"), out, k.hv.IP("nexthop"))
		}
	}()
	nstest.Wait(t, 10*time.Second, "the first alone", func() bool { return slices.Equal(k.hops("203.0.113.3"), both[:1]) })
	if a, _ := flows(); a < 256 {
		t.Errorf("of 256 flows %d packets went to the first router, while the second is cut off", a)
	}
	bridge.IP("link set p2 master br0")
	nstest.Wait(t, 60*time.Second, "the route over both again", up)
}

package topology

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
)

// hypervisors makes what a plain installation has before any routing daemon
// runs: four uplinks with addresses, and an interface that carries the loopback
// address. On routed fabrics the uplinks come with their cables, and have no addresses.
func (top *Topology) hypervisors() error {
	for i := 1; i <= plan.HVs; i++ {
		n, err := top.node(plan.HVName(i))
		if err != nil {
			return err
		}
		public, err := top.publicSide(i)
		if err != nil {
			return err
		}
		if err := loopback(n); err != nil {
			return err
		}
		if top.Timing.Routed(i) {
			continue
		}
		for _, f := range plan.Fabrics {
			if err := top.uplinks(public, f, plan.HVPublic4(i, f), plan.HVPublic6(i, f), netip.Addr{}); err != nil {
				return err
			}
			if err := top.uplinks(n, f, netip.Addr{}, netip.Addr{}, plan.HVPrivate4(i, f)); err != nil {
				return err
			}
		}
	}
	return nil
}

// loopback makes the interface that carries a hypervisor's loopback address.
func loopback(n *Node) error {
	if err := n.NL.AddBridge("loopback", 1500); err != nil {
		return err
	}
	return n.NL.SetUp("loopback", true)
}

// uplinks joins a node with one fabric, on the networks it has an address for.
func (top *Topology) uplinks(n *Node, f plan.Fabric, public4, public6, private4 netip.Addr) error {
	if public4.IsValid() {
		if err := top.cable(n, f, public); err != nil {
			return err
		}
		if err := n.NL.AddAddress(f.Public(), plan.OnPublic4(public4), false, false); err != nil {
			return err
		}
		if err := n.NL.AddAddress(f.Public(), plan.OnPublic6(public6), false, false); err != nil {
			return err
		}
	}
	if !private4.IsValid() {
		return nil
	}
	if err := top.cable(n, f, private); err != nil {
		return err
	}
	return n.NL.AddAddress(f.Private(), plan.OnPublic4(private4), false, false)
}

func (top *Topology) reflectors() error {
	if len(top.Timing.Reflected()) == 0 {
		return nil
	}
	for _, f := range plan.Fabrics {
		n, err := top.site(top.reflectorNode(f, false))
		if err != nil {
			return err
		}
		if err := top.uplinks(n, f, plan.RRPublic4(f), plan.RRPublic6(f), netip.Addr{}); err != nil {
			return err
		}
		if name := top.reflectorNode(f, true); name != n.Name {
			if n, err = top.site(name); err != nil {
				return err
			}
		}
		if err := top.uplinks(n, f, netip.Addr{}, netip.Addr{}, plan.RRPrivate4(f)); err != nil {
			return err
		}
		if err := top.forwardBack(f); err != nil {
			return err
		}
	}
	return nil
}

// edge is a router with the two well-known addresses behind it.
func (top *Topology) edge() error {
	n, err := top.router(plan.EdgeName)
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{plan.Internet4, plan.Internet6} {
		if err := n.NL.AddAddress("lo", netip.PrefixFrom(a, a.BitLen()), false, false); err != nil {
			return err
		}
	}
	if top.Timing.ToRs() { // its cables lead to the spines
		return nil
	}
	for _, f := range plan.Fabrics {
		if err := top.uplinks(n, f, plan.EdgePublic4(f), plan.EdgePublic6(f), netip.Addr{}); err != nil {
			return err
		}
	}
	return nil
}

// router makes a node that forwards by its table [plan.TablePublic].
func (top *Topology) router(name string) (*Node, error) {
	n, err := top.node(name)
	if err != nil {
		return nil, err
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		for _, r := range []nl.Rule{{Priority: 51, Table: unix.RT_TABLE_MAIN}, {Priority: 53, Table: plan.TablePublic}} {
			if err := n.NL.AddRule(family, r); err != nil {
				return nil, err
			}
		}
	}
	return n, sandbox.Sysctl(n.Path, "net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1",
		"net/ipv4/fib_multipath_hash_policy=1", "net/ipv6/fib_multipath_hash_policy=1")
}

// guests are namespaces whose cable ends on their hypervisor as a tap would.
func (top *Topology) guests() error {
	for _, g := range top.Timing.Guests() {
		n, err := top.node(g.Name)
		if err != nil {
			return err
		}
		hv := top.Public(g.HV)
		if g.Moves {
			err = top.movable(g)
		} else {
			err = hv.NL.AddVeth(nl.Veth{Name: g.Name}, nl.Veth{Name: "eth0", MAC: g.MAC}, n.Path)
		}
		if err != nil {
			return err
		}
		if !g.Moves || !top.Timing.EVPN() {
			if err := hv.NL.AddVeth(nl.Veth{Name: g.OverlayTap()}, nl.Veth{Name: "eth1", MAC: g.OverlayMAC()}, n.Path); err != nil {
				return err
			}
		}
		if err := top.guest(g, n); err != nil {
			return err
		}
	}
	return nil
}

// guest configures what is inside a guest. On a hypervisor of ours IPv6 comes
// from router advertisements; BIRD sends none, so there it is written down.
func (top *Topology) guest(g plan.Guest, n *Node) error {
	accept := "net/ipv6/conf/eth0/accept_ra=1"
	if top.HVKind(g.HV) != Self {
		accept = "net/ipv6/conf/eth0/accept_ra=0"
	}
	if err := sandbox.Sysctl(n.Path, accept, "net/ipv6/conf/eth1/disable_ipv6=1",
		"net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/eth0/rp_filter=0"); err != nil {
		return err
	}
	addrs := map[string][]netip.Prefix{"eth0": nil, "eth1": {g.Overlay()}}
	if g.Prefix6.IsSingleIP() { // nobody can derive it from an advertisement
		addrs["eth0"] = []netip.Prefix{g.OnLink6()}
		// Neighbours are asked again every second, whatever becomes of who answers for them.
		if err := sandbox.Sysctl(n.Path, "net/ipv6/neigh/eth0/base_reachable_time_ms=1000", "net/ipv6/neigh/eth0/delay_first_probe_time=1"); err != nil {
			return err
		}
	}
	if g.Anycast {
		addrs["lo"] = []netip.Prefix{netip.PrefixFrom(plan.Anycast4, 32), netip.PrefixFrom(plan.AnycastHost, 128)}
	}
	for link, list := range addrs {
		if err := n.NL.SetUp(link, true); err != nil {
			return err
		}
		for _, a := range list {
			if err := n.NL.AddAddress(link, a, false, false); err != nil {
				return err
			}
		}
	}
	if top.Timing.Is("dhcp", plan.DHCPNone) {
		return top.Lease(g, netip.PrefixFrom(g.IPv4, plan.Subnet4.Bits()), plan.Gateway4)
	}
	return nil
}

// Lease gives a guest its IPv4 address and its gateway.
func (top *Topology) Lease(g plan.Guest, address netip.Prefix, gateway netip.Addr) error {
	n := top.Guest(g)
	if err := n.NL.AddAddress("eth0", address, false, false); err != nil {
		return err
	}
	return n.NL.AddRoute(nl.Route{Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST, Proto: unix.RTPROT_STATIC,
		Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Hops: []nl.Hop{{Gateway: gateway, Link: "eth0"}}})
}

// staticGuest6 is what a guest without router advertisements is given.
func (top *Topology) staticGuest6(g plan.Guest) error {
	n := top.Guest(g)
	if err := n.NL.AddAddress("eth0", g.OnLink6(), false, false); err != nil {
		return err
	}
	return n.NL.AddRoute(nl.Route{Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST, Proto: unix.RTPROT_STATIC,
		Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Hops: []nl.Hop{{Gateway: plan.Gateway6, Link: "eth0"}}})
}

// publishedSetup does for hypervisor i by hand what hvrouter does by itself: the
// setup script of the published design, for a hypervisor on which BIRD runs.
func (top *Topology) publishedSetup(i int) error {
	n := top.HV(i)
	if err := n.NL.AddAddress("loopback", netip.PrefixFrom(plan.Loopback(i), 32), false, false); err != nil {
		return err
	}
	steps := []func(*Node, int) error{setupRules, setupPersistent, top.setupTaps, top.setupFirewall, top.setupOverlay}
	for _, step := range steps {
		if err := step(n, i); err != nil {
			return err
		}
	}
	for _, g := range top.Timing.GuestsOf(i) {
		if err := top.staticGuest6(g); err != nil {
			return err
		}
	}
	return nil
}

func setupRules(n *Node, _ int) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		have, err := n.NL.Rules(family)
		if err != nil {
			return err
		}
		for _, r := range golden.Rules(family, plan.Variant{})[1:] {
			if err := n.NL.AddRule(family, r); err != nil {
				return err
			}
		}
		for _, r := range have {
			if r.Priority == 0 {
				continue
			}
			if err := n.NL.DeleteRule(family, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// setupPersistent writes the routes that must be there whatever BIRD does.
func setupPersistent(n *Node, i int) error {
	default4 := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	default6 := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	routes := []nl.Route{
		{Table: plan.TablePublic, Type: unix.RTN_BLACKHOLE, Dst: default4, Metric: plan.LastResort},
		{Table: plan.TablePrivate, Type: unix.RTN_BLACKHOLE, Dst: default4, Metric: plan.LastResort},
		{Table: plan.TableLocal, Type: unix.RTN_UNREACHABLE, Dst: default4, Metric: plan.LastResort},
		{Table: plan.TablePublic, Type: unix.RTN_BLACKHOLE, Dst: default6, Metric: plan.LastResort},
		{Table: plan.TablePublic, Type: unix.RTN_UNREACHABLE, Dst: plan.Subnet4},
		{Table: plan.TablePrivate, Type: unix.RTN_UNICAST, Scope: unix.RT_SCOPE_LINK,
			Dst: netip.PrefixFrom(plan.Loopback(i), 32), Hops: []nl.Hop{{Link: "loopback"}}},
	}
	for _, r := range routes {
		r.Proto = unix.RTPROT_STATIC
		if err := n.NL.AddRoute(r); err != nil {
			return err
		}
	}
	return nil
}

// setupTaps prepares the guests' interfaces and writes the guests' routes.
func (top *Topology) setupTaps(n *Node, i int) error {
	settings := []string{"net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1",
		"net/ipv4/fib_multipath_hash_policy=1", "net/ipv6/fib_multipath_hash_policy=1",
		"net/ipv4/icmp_errors_use_inbound_ifaddr=1",
		"net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/all/send_redirects=0", "net/ipv4/conf/all/accept_redirects=0"}
	for _, g := range top.Timing.GuestsOf(i) {
		settings = append(settings, "net/ipv4/conf/"+g.Name+"/rp_filter=1", "net/ipv4/conf/"+g.Name+"/proxy_arp=1",
			"net/ipv4/conf/"+g.Name+"/arp_ignore=1",
			"net/ipv4/neigh/"+g.Name+"/proxy_delay=0", "net/ipv4/conf/"+g.Name+"/send_redirects=0")
		if err := n.NL.SetUp(g.Name, true); err != nil {
			return err
		}
		for _, a := range []netip.Prefix{netip.PrefixFrom(plan.Gateway4, 32), netip.PrefixFrom(plan.Gateway6, 64)} {
			if err := n.NL.AddAddress(g.Name, a, true, false); err != nil {
				return err
			}
		}
	}
	if err := sandbox.Sysctl(n.Path, settings...); err != nil {
		return err
	}
	for _, r := range (golden.Expect{Lab: top.Timing.Lab}).GuestRoutes(i) {
		r.Proto = unix.RTPROT_STATIC
		if err := n.NL.AddRoute(r); err != nil {
			return err
		}
	}
	return nil
}

// setupOverlay is the VXLAN segment with a fixed flood list.
func (top *Topology) setupOverlay(n *Node, i int) error {
	if err := n.NL.AddBridge("br100", 1500); err != nil {
		return err
	}
	if err := n.NL.AddVXLAN("vx100", plan.VNI, plan.Loopback(i)); err != nil {
		return err
	}
	ports := []string{"vx100"}
	for _, g := range top.Timing.GuestsOf(i) {
		ports = append(ports, g.OverlayTap())
	}
	for _, port := range append(ports, "br100") {
		if err := sandbox.Sysctl(n.Path, "net/ipv6/conf/"+port+"/disable_ipv6=1"); err != nil {
			return err
		}
	}
	for _, port := range ports {
		if err := n.NL.SetMaster(port, "br100"); err != nil {
			return err
		}
		if err := n.NL.SetUp(port, true); err != nil {
			return err
		}
	}
	for m := 1; m <= plan.HVs; m++ {
		if m == i {
			continue
		}
		if err := n.NL.AddFlood("vx100", plan.Loopback(m)); err != nil {
			return err
		}
	}
	return n.NL.SetUp("br100", true)
}

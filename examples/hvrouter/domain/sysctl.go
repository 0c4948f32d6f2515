package domain

import "github.com/hyperfib/hyperfib/examples/hvrouter/config"

// Sysctls returns the values below /proc/sys that the configuration and the guests
// that are here call for, by path: "net/ipv4/conf/vm1/proxy_arp". Detached are interfaces
// that were guests' and still exist: nothing of what they were given stays on.
func Sysctls(c *config.Config, guests []config.Guest, detached []string) map[string]string {
	s := sysctls{}
	s.global(c.Firewall.Off)
	switch c.Isolation {
	case config.IsolationFwmark:
		s.marked(c, guests)
	case config.IsolationVRF:
		s.vrfs(c)
	}
	for _, d := range c.Domains {
		for _, name := range Interfaces(d) {
			// Packets that arrive on a domain without guests are for us or for
			// nobody.
			s.uplink(name, d.Guests, c.Firewall.Off)
		}
	}
	for _, g := range guests {
		s.guest(g.Interface, c.Edge.ARP == "kernel", c.Firewall.Off)
	}
	for _, name := range detached {
		s.detached(name, c.Firewall.Off)
	}
	if len(c.Overlays) > 0 {
		// With br_netfilter loaded, frames between the ports of a bridge would pass
		// the hypervisor's firewall as if they were for it. A kernel without it has
		// no such files.
		for _, name := range []string{"iptables", "ip6tables", "arptables"} {
			s["net/bridge/bridge-nf-call-"+name] = "0"
		}
	}
	for _, o := range c.Overlays {
		// The overlay belongs to the guests: without a gateway the host has no address on it, and answers
		// ARP for none of its others (8: for no local address).
		s["net/ipv4/conf/"+o.Bridge+"/arp_ignore"] = "8"
		s["net/ipv4/conf/"+o.Bridge+"/forwarding"] = "0"
		s["net/ipv4/conf/"+o.Bridge+"/proxy_arp"] = "0"
		if o.EVPN != nil {
			// The bridge has neighbours of IPv6, and for that the family; no address follows.
			s["net/ipv6/conf/"+o.Bridge+"/accept_ra"] = "0"
			s["net/ipv6/conf/"+o.Bridge+"/addr_gen_mode"] = "1"
			s["net/ipv6/conf/"+o.Bridge+"/disable_ipv6"] = "0"
		} else {
			s["net/ipv6/conf/"+o.Bridge+"/disable_ipv6"] = "1"
		}
		s["net/ipv6/conf/"+o.Name+"/disable_ipv6"] = "1"
		if o.Gateway != nil {
			s.gateway(o)
		}
	}
	return s
}

type sysctls map[string]string

func (s sysctls) global(firewallOff bool) {
	// Layer-4 hash, so that the flows of one pair of guests use both fabrics.
	s["net/ipv4/fib_multipath_hash_policy"] = "1"
	s["net/ipv6/fib_multipath_hash_policy"] = "1"
	// A traceroute shows the address that the packet came in on, not one that the
	// rules happen to choose.
	s["net/ipv4/icmp_errors_use_inbound_ifaddr"] = "1"
	s["net/ipv6/conf/all/forwarding"] = "1"
	// The kernel sends redirects if "all" or the interface says so.
	s["net/ipv4/conf/all/send_redirects"] = "0"
	s["net/ipv4/conf/all/accept_redirects"] = "0"
	s["net/ipv6/conf/all/accept_redirects"] = "0"
	// The kernel's own default is to forward along an IPv4 source route, which "should
	// not" be done unless asked for (RFC 7126, Section 4.3.5).
	s["net/ipv4/conf/all/accept_source_route"] = "0"
	// Fragments of packets for the hypervisor wait here for the rest: those of VXLAN, and
	// some of each guest's. 4 MB, the default, are some 1,700.
	s["net/ipv4/ipfrag_high_thresh"] = "67108864"
	s["net/ipv6/ip6frag_high_thresh"] = "67108864"
	// A packet whose hop-by-hop options include one that nobody knows is dropped in silence,
	// as the minus says, and of known ones there may be 8, the default. Otherwise an error
	// goes to whoever is named as the source, before the firewall sees anything, and uses up
	// the errors that all guests may get in a second (icmp_msgs_per_sec), "packet too big"
	// included.
	s["net/ipv6/max_hbh_opts_number"] = "-8"
	if !firewallOff {
		// The kernel takes the greater of "all" and the interface: "loose" (2) for
		// all would soften "strict" (1) on guests' interfaces.
		s["net/ipv4/conf/all/rp_filter"] = "0"
	}
}

func (s sysctls) uplink(name string, forward, firewallOff bool) {
	conf := "net/ipv4/conf/" + name + "/"
	s[conf+"forwarding"] = bit(forward)
	s[conf+"proxy_arp"] = "0"
	s.neighbours(name)
	if !firewallOff {
		// Two fabrics: the way back may be the other one.
		s[conf+"rp_filter"] = "0"
	}
}

func (s sysctls) guest(name string, proxyARP, firewallOff bool) {
	conf := "net/ipv4/conf/" + name + "/"
	s[conf+"forwarding"] = "1"
	s[conf+"proxy_arp"] = bit(proxyARP)
	s["net/ipv4/neigh/"+name+"/proxy_delay"] = "0"
	s.neighbours(name)
	if !firewallOff {
		s[conf+"rp_filter"] = "1"
	}
	// fe80::1 is ours on every guest interface, nobody is asked.
	s["net/ipv6/conf/"+name+"/accept_dad"] = "0"
	s.quiet(name)
}

// detached takes back what guest gives, as far as it gives rights.
func (s sysctls) detached(name string, firewallOff bool) {
	conf := "net/ipv4/conf/" + name + "/"
	s[conf+"forwarding"] = "0"
	s[conf+"proxy_arp"] = "0"
	s.neighbours(name)
	if !firewallOff {
		s[conf+"rp_filter"] = "1"
	}
	s.quiet(name)
}

// quiet is what keeps the kernel from having, or taking, an address of its own on a
// guest's interface, and from noting who announces itself.
func (s sysctls) quiet(name string) {
	s["net/ipv4/conf/"+name+"/arp_accept"] = "0"
	s["net/ipv6/conf/"+name+"/accept_ra"] = "0"
	s["net/ipv6/conf/"+name+"/accept_untracked_na"] = "0" // since Linux 5.19
	s["net/ipv6/conf/"+name+"/addr_gen_mode"] = "1"       // IN6_ADDR_GEN_MODE_NONE: no fe80 address from the MAC
}

// marked: where reverse paths are checked, by us or by others, the way back of a
// packet is looked up with its mark. Without it nothing has a way back.
func (s sysctls) marked(c *config.Config, guests []config.Guest) {
	for _, d := range c.Domains {
		for _, name := range Interfaces(d) {
			s["net/ipv4/conf/"+name+"/src_valid_mark"] = "1"
		}
	}
	for _, g := range guests {
		s["net/ipv4/conf/"+g.Interface+"/src_valid_mark"] = "1"
	}
}

// neighbours is what holds for every interface of ours: answer ARP only for
// addresses of that interface, ask with an address of that interface, take and
// send no redirects.
func (s sysctls) neighbours(name string) {
	conf := "net/ipv4/conf/" + name + "/"
	s[conf+"arp_ignore"] = "1"
	s[conf+"arp_announce"] = "2"
	s[conf+"accept_redirects"] = "0"
	s[conf+"send_redirects"] = "0"
	s["net/ipv6/conf/"+name+"/accept_redirects"] = "0"
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

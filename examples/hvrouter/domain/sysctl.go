package domain

import "github.com/hyperfib/hyperfib/examples/hvrouter/config"

// Sysctls gives the values below /proc/sys that the configuration and the guests
// that are here call for, by path: "net/ipv4/conf/vm1/proxy_arp".
func Sysctls(c *config.Config, guests []config.Guest) map[string]string {
	s := sysctls{}
	s.global(c.Wall.Off)
	switch c.DomainBy {
	case config.ByMark:
		s.marked(c, guests)
	case config.ByVRF:
		s.vrfs(c)
	}
	for _, d := range c.Domains {
		for _, name := range Interfaces(d) {
			// Packets that arrive on a domain without guests are for us or for
			// nobody.
			s.uplink(name, d.Guests, c.Wall.Off)
		}
	}
	for _, g := range guests {
		s.guest(g.Interface, c.Edge.ARP == "kernel", c.Wall.Off)
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
		// The overlay belongs to the guests: the host has no address on it.
		s["net/ipv6/conf/"+o.Bridge+"/disable_ipv6"] = "1"
		s["net/ipv6/conf/"+o.Name+"/disable_ipv6"] = "1"
	}
	return s
}

type sysctls map[string]string

func (s sysctls) global(wallOff bool) {
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
	if !wallOff {
		// The kernel takes the greater of "all" and the interface: "loose" (2) for
		// all would soften "strict" (1) on guests' interfaces.
		s["net/ipv4/conf/all/rp_filter"] = "0"
	}
}

func (s sysctls) uplink(name string, forward, wallOff bool) {
	conf := "net/ipv4/conf/" + name + "/"
	s[conf+"forwarding"] = bit(forward)
	s[conf+"proxy_arp"] = "0"
	s.neighbours(name)
	if !wallOff {
		// Two fabrics: the way back may be the other one.
		s[conf+"rp_filter"] = "0"
	}
}

func (s sysctls) guest(name string, proxyARP, wallOff bool) {
	conf := "net/ipv4/conf/" + name + "/"
	s[conf+"forwarding"] = "1"
	s[conf+"proxy_arp"] = bit(proxyARP)
	s["net/ipv4/neigh/"+name+"/proxy_delay"] = "0"
	s.neighbours(name)
	if !wallOff {
		s[conf+"rp_filter"] = "1"
	}
	// fe80::1 is ours on every guest interface, nobody is asked.
	s["net/ipv6/conf/"+name+"/accept_dad"] = "0"
	s["net/ipv6/conf/"+name+"/accept_ra"] = "0"
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

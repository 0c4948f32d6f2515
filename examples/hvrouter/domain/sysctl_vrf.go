package domain

import "github.com/hyperfib/hyperfib/examples/hvrouter/config"

// vrfs: to IPv4 a packet comes in on the VRF device, which therefore says whether it
// is forwarded. Strict reverse path filtering would take any interface of the VRF for
// the right one; nftables checks sources instead. An interface goes down for a moment
// when it enters a VRF, which must not cost it its IPv6 addresses.
func (s sysctls) vrfs(c *config.Config) {
	for _, d := range c.Domains {
		conf := "net/ipv4/conf/" + d.VRF + "/"
		s[conf+"forwarding"] = bit(d.Guests)
		s[conf+"accept_redirects"] = "0"
		s[conf+"send_redirects"] = "0"
		if !c.Firewall.Off {
			s[conf+"rp_filter"] = "0"
		}
		for _, name := range Interfaces(d) {
			s["net/ipv6/conf/"+name+"/keep_addr_on_down"] = "1"
		}
	}
}

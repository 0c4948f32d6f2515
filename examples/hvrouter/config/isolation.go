package config

import "fmt"

// What keeps domains apart: [Config.Isolation].
const (
	IsolationRules  = "rules"  // a policy rule for each uplink
	IsolationFwmark = "fwmark" // a firewall mark, given by the interface that a packet came in on
	IsolationVRF    = "vrf"    // a VRF device for each domain
	IsolationNetNS  = "netns"  // network namespaces; rules where two domains share one
)

// defaultMask leaves the bits alone that others are known to use: kube-proxy has
// 0xc000, Cilium 0x0f00, Calico 0xffff0000, Tailscale 0xff0000.
const defaultMask = 0xff

// fillIsolation gives marks to domains that have none, and guests the responder:
// what follows from Isolation.
func (c *Config) fillIsolation() {
	if c.inNamespaces() {
		def(&c.Isolation, IsolationNetNS)
	}
	def(&c.Isolation, IsolationRules)
	if c.Isolation == IsolationVRF {
		for i := range c.Domains {
			def(&c.Domains[i].VRF, c.Domains[i].Name)
		}
	}
	if c.Isolation != IsolationFwmark {
		return
	}
	// The kernel looks an ARP request up without a mark, and finds nothing to answer.
	def(&c.Edge.ARP, "responder")
	def(&c.FwmarkMask, defaultMask)
	for i := range c.Domains {
		if d := &c.Domains[i]; d.Fwmark == 0 && d.Table.ID&^c.FwmarkMask == 0 {
			d.Fwmark = d.Table.ID
		}
	}
}

func (k *checker) isolation(c *Config) {
	k.oneOf("$.isolation", c.Isolation, IsolationRules, IsolationFwmark, IsolationVRF, IsolationNetNS)
	switch {
	case c.Isolation == IsolationNetNS && !c.inNamespaces():
		k.bad("$.isolation", "netns: no domain names a netns")
	case c.Isolation == IsolationRules && c.inNamespaces():
		k.bad("$.isolation", "rules: a domain names a netns: want netns")
	}
	k.vrfs(c)
	if c.Isolation != IsolationFwmark {
		if c.FwmarkMask != 0 {
			k.bad("$.fwmark-mask", "marks are made with isolation: fwmark only")
		}
		for i, d := range c.Domains {
			if d.Fwmark != 0 {
				k.bad(fmt.Sprintf("$.domains[%d].fwmark", i), "marks are made with isolation: fwmark only")
			}
		}
		return
	}
	marks := unique[string]{}
	for i, d := range c.Domains {
		path := fmt.Sprintf("$.domains[%d].fwmark", i)
		switch {
		case d.Fwmark == 0 && d.Table.ID != 0:
			k.bad(path, "fwmark is missing: table %v does not fit into fwmark-mask %#x", d.Table, c.FwmarkMask)
		case d.Fwmark&^c.FwmarkMask != 0:
			k.bad(path, "%#x has bits outside of fwmark-mask %#x", d.Fwmark, c.FwmarkMask)
		case d.Fwmark != 0:
			marks.add(k, path, "fwmark", fmt.Sprintf("%#x", d.Fwmark))
		}
	}
	if c.Edge.ARP == "kernel" {
		k.bad("$.edge.arp", "the kernel looks ARP requests up without a mark and would not answer: want responder")
	}
}

package config

import "fmt"

// What tells the domain of a packet that arrives: Config.DomainBy.
const (
	ByInterface = "interface" // a rule for each uplink
	ByMark      = "mark"      // a firewall mark, given by the interface it came in on
	ByVRF       = "vrf"       // the VRF that its interface belongs to
)

// defaultMask leaves the bits alone that others are known to use: kube-proxy has
// 0xc000, Cilium 0x0f00, Calico 0xffff0000, Tailscale 0xff0000.
const defaultMask = 0xff

// fillDomainBy gives marks to domains that have none, and guests the responder:
// what follows from DomainBy.
func (c *Config) fillDomainBy() {
	def(&c.DomainBy, ByInterface)
	if c.DomainBy == ByVRF {
		for i := range c.Domains {
			def(&c.Domains[i].VRF, c.Domains[i].Name)
		}
	}
	if c.DomainBy != ByMark {
		return
	}
	// The kernel looks an ARP request up without a mark, and finds nothing to answer.
	def(&c.Edge.ARP, "responder")
	def(&c.MarkMask, defaultMask)
	for i := range c.Domains {
		if d := &c.Domains[i]; d.Mark == 0 && d.Table.ID&^c.MarkMask == 0 {
			d.Mark = d.Table.ID
		}
	}
}

func (k *checker) domainBy(c *Config) {
	k.oneOf("$.domain-by", c.DomainBy, ByInterface, ByMark, ByVRF)
	k.vrfs(c)
	if c.DomainBy != ByMark {
		if c.MarkMask != 0 {
			k.bad("$.mark-mask", "marks are made with domain-by: mark only")
		}
		for i, d := range c.Domains {
			if d.Mark != 0 {
				k.bad(fmt.Sprintf("$.domains[%d].mark", i), "marks are made with domain-by: mark only")
			}
		}
		return
	}
	marks := unique[string]{}
	for i, d := range c.Domains {
		path := fmt.Sprintf("$.domains[%d].mark", i)
		switch {
		case d.Mark == 0 && d.Table.ID != 0:
			k.bad(path, "mark is missing: table %v does not fit into mark-mask %#x", d.Table, c.MarkMask)
		case d.Mark&^c.MarkMask != 0:
			k.bad(path, "%#x has bits outside of mark-mask %#x", d.Mark, c.MarkMask)
		case d.Mark != 0:
			marks.add(k, path, "mark", fmt.Sprintf("%#x", d.Mark))
		}
	}
	if c.Edge.ARP == "kernel" {
		k.bad("$.edge.arp", "the kernel looks ARP requests up without a mark and would not answer: want responder")
	}
}

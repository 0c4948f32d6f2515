package domain

import "github.com/hyperfib/hyperfib/examples/hvrouter/config"

// prioOwn6 is the priority of the rule for what the hypervisor itself sends over
// IPv6, which has no mark.
const prioOwn6 = 53

// marked4: as usual4, with a domain's mark in place of its interfaces. What has no
// mark, and does not come from the hypervisor itself, finds nothing.
func marked4(c *config.Config) []Rule {
	rules := own4(c)
	prio := uint32(prioInterface)
	for _, d := range c.Domains {
		if d.Name != last(c).Name {
			rules = lookup(rules, c, markRule(c, d, false, prio), d.LastResort)
			prio += 2
		}
	}
	return lookup(rules, c, markRule(c, *last(c), false, max(prioLast4, prio)), last(c).LastResort)
}

// marked6: as usual6, and the other domains that carry IPv6.
func marked6(c *config.Config) []Rule {
	d := last(c)
	rules := []Rule{{IPv6: true, Table: tableLocal}, {IPv6: true, Priority: prioMain6, Table: tableMain}}
	rules = lookup(rules, c, Rule{IPv6: true, Priority: prioOwn6, IIF: "lo", Table: d.Table.ID}, d.LastResort)
	prio := uint32(prioOwn6 + 3)
	for _, other := range c.Domains {
		if other.Name != d.Name && carries6(c, other) {
			rules = lookup(rules, c, markRule(c, other, true, prio), other.LastResort)
			prio += 2
		}
	}
	return lookup(rules, c, markRule(c, *d, true, max(prioLast4, prio)), d.LastResort)
}

func markRule(c *config.Config, d config.Domain, v6 bool, priority uint32) Rule {
	return Rule{IPv6: v6, Priority: priority, Mark: d.Fwmark, Mask: c.FwmarkMask, Table: d.Table.ID}
}

func carries6(c *config.Config, d config.Domain) bool {
	for _, all := range families(c, d) {
		if all == all6 {
			return true
		}
	}
	return false
}

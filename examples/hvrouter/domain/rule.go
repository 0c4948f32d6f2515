package domain

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Rule is one policy rule. Rules of one family differ in priority, but for those of
// several gateways, which no packet matches two of.
type Rule struct {
	IPv6     bool
	Priority uint32
	IIF      string
	From, To netip.Prefix
	Mark     uint32
	Mask     uint32
	Table    uint32
	Action   Type // Unicast: look up Table
	L3MDev   bool // look up the table of the packet's VRF instead of Table
}

// String returns the rule in few words.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", r.Priority)
	if r.From.IsValid() {
		fmt.Fprintf(&b, " from %v", r.From)
	}
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %v", r.To)
	}
	if r.Mark != 0 {
		fmt.Fprintf(&b, " fwmark %#x/%#x", r.Mark, r.Mask)
	}
	if r.IIF != "" {
		fmt.Fprintf(&b, " iif %s", r.IIF)
	}
	if r.L3MDev {
		b.WriteString(" lookup [l3mdev-table]")
	} else if r.Action != Unicast {
		fmt.Fprintf(&b, " %v", r.Action)
	} else {
		fmt.Fprintf(&b, " lookup %d", r.Table)
	}
	return b.String()
}

// The kernel's own tables.
const (
	tableLocal   = 255
	tableMain    = 254
	tableDefault = 253
)

// The priorities of the published design. The gaps are its own: 26 and on belong
// to interfaces, two apart, and 99 ends the list.
const (
	prioGateway   = 20
	prioMain4     = 21
	prioLocalOut  = 22
	prioInterface = 26
	prioLast4     = 99
	prioMain6     = 51
	prioLast6     = 53
)

// Rules returns the rules of both families, in order: those of the file, or the
// usual set. Their number depends on domains and uplinks, never on guests (R10).
func Rules(c *config.Config) []Rule {
	if c.Rules != nil {
		return append(listed(c.Rules.IPv4, false), listed(c.Rules.IPv6, true)...)
	}
	if Plain(c) {
		return plain()
	}
	if c.Isolation == config.IsolationVRF {
		return byVRF()
	}
	if c.Isolation == config.IsolationFwmark {
		return append(marked4(c), marked6(c)...)
	}
	return append(usual4(c), usual6(c)...)
}

func listed(rules []config.Rule, v6 bool) []Rule {
	out := make([]Rule, len(rules))
	for i, r := range rules {
		out[i] = Rule{IPv6: v6, Priority: r.Priority, IIF: r.IIF, From: r.From.Prefix, To: r.To.Prefix,
			Mark: r.Fwmark, Mask: r.Fwmask, Table: r.Table.ID, Action: typeOf(r.Action)}
	}
	return out
}

// usual4: what the hypervisor sends looks into main (its links) and local-out, or
// without one into the domain of its loopback; what arrives on an interface of a
// domain without guests looks into that domain's table; everything else, guests
// and their uplinks, into the guests'.
func usual4(c *config.Config) []Rule {
	rules := own4(c)
	prio := uint32(prioInterface)
	for _, d := range c.Domains {
		if d.Guests {
			continue
		}
		for _, name := range Interfaces(d) {
			rules = lookup(rules, c, Rule{Priority: prio, IIF: name, Table: d.Table.ID}, d.LastResort)
			prio += 2
		}
	}
	if d := last(c); d != nil {
		// More than 36 uplinks push the last rule back.
		rules = lookup(rules, c, Rule{Priority: max(prioLast4, prio), Table: d.Table.ID}, d.LastResort)
	}
	return rules
}

// own4 is where table local and what the hypervisor itself sends are looked up.
func own4(c *config.Config) []Rule {
	rules := append([]Rule{{Table: tableLocal}}, gateways4(c)...)
	rules = append(rules, Rule{Priority: prioMain4, IIF: "lo", Table: tableMain})
	if table, word := ownTable(c); table != 0 {
		rules = lookup(rules, c, Rule{Priority: prioLocalOut, IIF: "lo", Table: table}, word)
	}
	return rules
}

// gateways4 has what is sent from the guests' gateways looked up in the guests' table,
// where nothing else that the hypervisor sends would find guests: without local-out.
// Before anything else those are the lookups of the kernel's own reverse path filter:
// for what is addressed to the hypervisor it asks how it would answer, as a packet of
// lo. If that finds no guest, nobody answers ARP for the gateway.
func gateways4(c *config.Config) (rules []Rule) {
	d := c.GuestDomain()
	if d == nil || c.LocalOut != nil {
		return nil
	}
	if table, _ := ownTable(c); table == 0 || table == d.Table.ID {
		return nil
	}
	seen := map[netip.Addr]bool{}
	add := func(a config.Addr) {
		if a.IsValid() && !seen[a.Addr] {
			seen[a.Addr] = true
			rules = append(rules, Rule{Priority: prioGateway, IIF: "lo", From: netip.PrefixFrom(a.Addr, 32), Table: d.Table.ID})
		}
	}
	add(c.Edge.Gateway4)
	for _, t := range c.GuestTemplates {
		add(t.Gateway4)
	}
	for _, g := range c.Guests {
		add(g.Gateway4)
	}
	return rules
}

func usual6(c *config.Config) []Rule {
	rules := []Rule{{IPv6: true, Table: tableLocal}, {IPv6: true, Priority: prioMain6, Table: tableMain}}
	if d := last(c); d != nil {
		rules = lookup(rules, c, Rule{IPv6: true, Priority: prioLast6, Table: d.Table.ID}, d.LastResort)
	}
	return rules
}

// ownTable is where the hypervisor's own packets are looked up, and what ends
// that.
func ownTable(c *config.Config) (table uint32, lastResort string) {
	if c.LocalOut != nil {
		return c.LocalOut.Table.ID, c.LocalOut.LastResort
	}
	for _, d := range c.Domains {
		if d.Loopback {
			return d.Table.ID, d.LastResort
		}
	}
	return 0, ""
}

// lookup adds a rule and, where rules are the last resort, the one behind it.
func lookup(rules []Rule, c *config.Config, r Rule, lastResort string) []Rule {
	rules = append(rules, r)
	if c.LastResortBy == "rules" && lastResort != "none" {
		r.Priority++
		r.Table, r.Action = 0, typeOf(lastResort)
		rules = append(rules, r)
	}
	return rules
}

// last is the domain whose table ends every lookup.
func last(c *config.Config) *config.Domain {
	if d := c.GuestDomain(); d != nil {
		return d
	}
	if len(c.Domains) > 0 {
		return &c.Domains[0]
	}
	return nil
}

// Interfaces returns the uplinks of a domain in the order of the file, none twice.
func Interfaces(d config.Domain) []string {
	var names []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, r := range d.Sessions() {
		add(r.Interface)
	}
	for _, name := range d.Interfaces {
		add(name)
	}
	return names
}

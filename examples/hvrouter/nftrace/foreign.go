package nftrace

import (
	"fmt"

	"github.com/google/nftables"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// ForeignChain is a base chain of another table than ours on a hook that forwarded packets pass.
type ForeignChain struct {
	// Text names it: "table ip filter chain forward (type filter, hook forward, priority 0, policy drop)".
	Text string
	// Drops reports that its policy is drop.
	Drops bool
	// Rules is how many rules it has.
	Rules int
}

// ForeignChains reads the base chains of other tables than hvrouter's, in the namespace at path: those
// on the hooks prerouting, forward and postrouting. It needs CAP_NET_ADMIN there.
func ForeignChains(path, table string) (list []ForeignChain, err error) {
	err = netns.Do(path, func() error {
		conn, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return err
		}
		defer func() { _ = conn.CloseLasting() }()
		r := &Ruleset{Table: table}
		if err := r.foreign(conn); err != nil {
			return fmt.Errorf("chains: %w", err)
		}
		for _, c := range r.Foreign {
			family := familyNames[c.Table.Family]
			switch *c.Hooknum {
			case *nftables.ChainHookPrerouting, *nftables.ChainHookForward, *nftables.ChainHookPostrouting:
			default:
				continue
			}
			if family == "" { // bridge, netdev, arp
				continue
			}
			rules, err := conn.GetRules(c.Table, c)
			if err != nil {
				return fmt.Errorf("chain %s: %w", c.Name, err)
			}
			one := ForeignChain{Drops: c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop, Rules: len(rules)}
			policy := "accept"
			if one.Drops {
				policy = "drop"
			}
			one.Text = fmt.Sprintf("table %s %s chain %s (type %s, hook %s, priority %d, policy %s)", family, c.Table.Name, c.Name, c.Type, hookNames[*c.Hooknum], *c.Priority, policy)
			list = append(list, one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return list, nil
}

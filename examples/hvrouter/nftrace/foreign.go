package nftrace

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// ForeignChain is a base chain of another table than ours on a hook that packets to and from guests may pass.
type ForeignChain struct {
	// Text names it: "table ip filter chain forward (type filter, hook forward, priority 0, policy drop)".
	Text string
	// Drops reports that its policy is drop.
	Drops bool
	// Rules is how many rules it has.
	Rules int
	// Dropping is how many of them, and of those of chains that they lead to, drop or reject packets.
	Dropping int
	// Legacy: it is a table of iptables-legacy (x_tables), whose rules are not read.
	Legacy bool
	// Passes says which packets pass it.
	Passes Passes
	// On reports whether it is for an interface, for those of which [Passes] is PassesDevice.
	On func(link string) bool
}

// Passes is which packets pass a hook.
type Passes int

const (
	// PassesForwarded: all that are forwarded.
	PassesForwarded Passes = iota
	// PassesDevice: what single interfaces receive or send.
	PassesDevice
	// PassesBridge: the frames that come to a bridge, or leave by it.
	PassesBridge
	// PassesARP: what this host hears and says of ARP.
	PassesARP
)

// passes says which packets pass a chain; ok is false for those of this host alone.
func (c BaseChain) passes() (p Passes, ok bool) {
	h := *c.Hooknum
	switch c.Table.Family {
	case nftables.TableFamilyNetdev:
		return PassesDevice, true
	case nftables.TableFamilyBridge:
		return PassesBridge, true
	case nftables.TableFamilyARP:
		return PassesARP, true
	case nftables.TableFamilyINet, nftables.TableFamilyIPv4, nftables.TableFamilyIPv6:
	default:
		return 0, false
	}
	switch h {
	case *nftables.ChainHookPrerouting, *nftables.ChainHookForward, *nftables.ChainHookPostrouting:
		return PassesForwarded, true
	case inetIngress:
		return PassesDevice, true
	}
	return 0, false
}

// ForeignChains reads the base chains of other tables than hvrouter's, in the namespace at path: those
// on the hooks that guests' packets, their frames, or ARP may pass. It needs CAP_NET_ADMIN there.
func ForeignChains(path, table string) (list []ForeignChain, err error) {
	err = whole(path, func(conn *nftables.Conn) error {
		list = nil
		r := &Ruleset{Table: table}
		if err := r.foreign(); err != nil {
			return fmt.Errorf("chains: %w", err)
		}
		for _, c := range r.Foreign {
			passes, ok := c.passes()
			if !ok {
				continue
			}
			rules, err := conn.GetRules(c.Table, c.Chain)
			if err != nil {
				return fmt.Errorf("chain %s: %w", c.Name, err)
			}
			dropping, err := droppingRules(rules, func(chain string) ([]*nftables.Rule, error) {
				return conn.GetRules(c.Table, &nftables.Chain{Name: chain, Table: c.Table})
			})
			if err != nil {
				return fmt.Errorf("chains behind %s: %w", c.Name, err)
			}
			list = append(list, ForeignChain{Text: c.text(true), Drops: c.drops(), Rules: len(rules), Dropping: dropping, Passes: passes, On: c.on})
		}
		r.legacy()
		for _, table := range r.Legacy {
			list = append(list, ForeignChain{Text: "table " + table + " of iptables-legacy", Legacy: true, Passes: PassesForwarded})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return list, nil
}

// droppingRules counts the rules that drop or reject packets, among some and those of the chains that they lead to. What is
// looked up in a map of verdicts is not counted.
func droppingRules(rules []*nftables.Rule, read func(chain string) ([]*nftables.Rule, error)) (n int, err error) {
	seen := map[string]bool{}
	for len(rules) > 0 {
		var next []string
		for _, r := range rules {
			for _, e := range r.Exprs {
				switch e := e.(type) {
				case *expr.Reject:
					n++
				case *expr.Verdict:
					switch {
					case e.Kind == expr.VerdictDrop:
						n++
					case (e.Kind == expr.VerdictJump || e.Kind == expr.VerdictGoto) && !seen[e.Chain]:
						seen[e.Chain] = true
						next = append(next, e.Chain)
					}
				}
			}
		}
		rules = nil
		for _, chain := range next {
			more, err := read(chain)
			if err != nil {
				return n, err
			}
			rules = append(rules, more...)
		}
	}
	return n, nil
}

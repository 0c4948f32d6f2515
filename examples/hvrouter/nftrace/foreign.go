package nftrace

import (
	"fmt"

	"github.com/google/nftables"
)

// ForeignChain is a base chain of another table than ours on a hook that packets to and from guests may pass.
type ForeignChain struct {
	// Text names it: "table ip filter chain forward (type filter, hook forward, priority 0, policy drop)".
	Text string
	// Drops reports that its policy is drop.
	Drops bool
	// Rules is how many rules it has.
	Rules int
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
			list = append(list, ForeignChain{Text: c.text(true), Drops: c.drops(), Rules: len(rules), Passes: passes, On: c.on})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return list, nil
}

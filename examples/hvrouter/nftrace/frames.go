package nftrace

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
)

// The hooks of single interfaces, of their bridges, and of ARP, by their names, in the order in which frames pass them.
var (
	deviceIn, deviceOut = []string{"ingress"}, []string{"egress"}
	bridgeIn, bridgeOut = []string{"prerouting", "input"}, []string{"output", "postrouting"}
	bridgeAll           = []string{"prerouting", "input", "forward", "output", "postrouting"}
	arpAll              = []string{"input", "output"}
)

// arrives names what others have for the frame that a packet comes in with, leaves for the one that it goes out with: on
// the interface, on the one that it is on, and on its bridge if it is one.
func (t *Trace) arrives(link lookup.Link) []string {
	return slices.Concat(t.Rules.onDevices(deviceIn, link.Name, t.lower(link)), t.onBridge(link, bridgeIn))
}

func (t *Trace) leaves(link lookup.Link) []string {
	return slices.Concat(t.onBridge(link, bridgeOut), t.Rules.onDevices(deviceOut, link.Name, t.lower(link)))
}

func (t *Trace) lower(link lookup.Link) string {
	if link.Lower == 0 {
		return ""
	}
	return t.Tables.Link(link.Lower).Name
}

func (t *Trace) onBridge(link lookup.Link, hooks []string) []string {
	if !link.Bridge {
		return nil
	}
	return t.Rules.ofFamily(nftables.TableFamilyBridge, hooks)
}

// onDevices names the chains of single interfaces, in a line for each hook.
func (r *Ruleset) onDevices(hooks []string, links ...string) []string {
	return r.named("", hooks, func(c BaseChain) bool { return slices.ContainsFunc(links, c.on) })
}

// ofFamily names the chains of the family bridge or arp, in a line for each hook.
func (r *Ruleset) ofFamily(family nftables.TableFamily, hooks []string) []string {
	return r.named(familyNames[family]+" ", hooks, func(c BaseChain) bool { return c.Table.Family == family })
}

// named names the base chains of others on hooks that match.
func (r *Ruleset) named(before string, hooks []string, match func(BaseChain) bool) (lines []string) {
	for _, h := range hooks {
		var list []string
		for _, c := range r.Foreign {
			if hookName(c.Table.Family, *c.Hooknum) == h && match(c) {
				list = append(list, c.text(false))
			}
		}
		if list != nil {
			lines = append(lines, fmt.Sprintf("%s%s: unless they drop: %s", before, h, strings.Join(list, "; ")))
		}
	}
	return lines
}

// Frames returns what [lookup.AskMAC] takes: it names what other programs than hvrouter, which has the tables of that
// name, have in the namespace at path for frames that pass bridges and some interfaces.
func Frames(path, table string) func(links ...string) ([]string, error) {
	return func(links ...string) (lines []string, err error) {
		r := &Ruleset{Table: table}
		if err := whole(path, func(*nftables.Conn) error { *r = Ruleset{Table: table}; return r.foreign() }); err != nil {
			return nil, fmt.Errorf("nftables: %w", err)
		}
		return slices.Concat(r.onDevices(deviceIn, links...), r.ofFamily(nftables.TableFamilyBridge, bridgeAll), r.onDevices(deviceOut, links...)), nil
	}
}

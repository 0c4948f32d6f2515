package nftrace

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
)

type nftElement = nftables.SetElement

// Trace evaluates the ruleset of a namespace with its routing tables.
type Trace struct {
	Rules  *Ruleset
	Tables lookup.Tables
	// Wanted reports that hvrouter's table should be there.
	Wanted bool
}

var _ lookup.Firewall = (*Trace)(nil)

// Filter returns what [lookup.Ask] takes: the ruleset of the namespace at path, in which
// hvrouter's table should be there or not.
func Filter(path, table string, wanted bool) func(lookup.Tables) (lookup.Firewall, error) {
	return func(t lookup.Tables) (lookup.Firewall, error) {
		rules, err := Read(path, table)
		if err != nil {
			return nil, err
		}
		return &Trace{Rules: rules, Tables: t, Wanted: wanted}, nil
	}
}

// Arrive implements [lookup.Firewall].
func (t *Trace) Arrive(p *lookup.Packet) lookup.Verdict {
	q := newPacket(*p, lookup.Link{})
	v := t.hook(nftables.ChainHookPrerouting, q)
	v.Lines = append(t.arrives(p.IIF), v.Lines...)
	p.Mark = q.Mark
	if t.Wanted && t.Rules.Chains == nil {
		v.Differences = append(v.Differences, fmt.Sprintf("nftables table inet %s is not there: nothing is filtered", t.Rules.Table))
	}
	return v
}

// Leave implements [lookup.Firewall].
func (t *Trace) Leave(p lookup.Packet, local bool, out lookup.Link) lookup.Verdict {
	hooks := []*nftables.ChainHook{nftables.ChainHookForward, nftables.ChainHookPostrouting}
	switch {
	case p.IIF.Index == 0:
		hooks[0] = nftables.ChainHookOutput
	case local:
		hooks = []*nftables.ChainHook{nftables.ChainHookInput}
	}
	var all lookup.Verdict
	for _, h := range hooks {
		v := t.hook(h, newPacket(p, out))
		all.Lines = append(all.Lines, v.Lines...)
		if all.Drop = v.Drop; v.Drop {
			return all
		}
	}
	if !local {
		all.Lines = append(all.Lines, t.leaves(out)...)
	}
	if p.Dst.Is4() {
		all.Lines = append(all.Lines, t.Rules.ofFamily(nftables.TableFamilyARP, arpAll)...)
	}
	return all
}

// hook evaluates hvrouter's chains on one hook, in order, and names those of others.
func (t *Trace) hook(h *nftables.ChainHook, p *packet) (v lookup.Verdict) {
	word := hookName(nftables.TableFamilyINet, *h)
	var own []*Chain
	for _, c := range t.Rules.Chains {
		if c.Hooknum != nil && *c.Hooknum == *h && c.Type == nftables.ChainTypeFilter {
			own = append(own, c)
		}
	}
	slices.SortFunc(own, func(a, b *Chain) int { return cmp.Compare(*a.Priority, *b.Priority) })
	foreign := t.foreign(h, p)
	for _, c := range own {
		r := &run{rules: t.Rules, fib: t, p: p}
		o := r.chain(c.Name)
		if o == goesOn {
			if o = accepted; c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
				o, r.why = dropped, "the policy of chain "+c.Name
			}
		}
		if o == dropped {
			v.Drop = r.unsure == ""
			v.Lines = append(v.Lines, fmt.Sprintf("%s: dropped by %s (through %s)%s", word, r.why, strings.Join(r.path, ", "), unless(r.unsure)))
			return v
		}
		v.Lines = append(v.Lines, fmt.Sprintf("%s: chain %s accepts%s", word, strings.Join(r.path, ", "), unless(r.unsure)))
	}
	if len(foreign) > 0 {
		v.Lines = append(v.Lines, fmt.Sprintf("%s: unless they drop: %s", word, strings.Join(foreign, "; ")))
	}
	return v
}

func unless(unsure string) string {
	if unsure == "" {
		return ""
	}
	return ", unless this says otherwise: " + unsure
}

// foreign lists what others have on a hook for packets of the family.
func (t *Trace) foreign(h *nftables.ChainHook, p *packet) (list []string) {
	for _, c := range t.Rules.Foreign {
		family := c.Table.Family
		if *c.Hooknum != *h || family != nftables.TableFamilyINet && byte(family) != p.family() {
			continue
		}
		list = append(list, c.text(false))
	}
	for _, name := range t.Rules.Legacy {
		if strings.HasPrefix(name, "ip6") == p.Dst.Is6() {
			list = append(list, name+" (legacy)")
		}
	}
	return list
}

// addressType implements fib, as nft_fib4_eval_type and nft_fib6_eval_type: only table local
// counts, and of a device its own addresses.
func (t *Trace) addressType(p *packet, source bool, ifindex int) uint32 {
	a := p.Dst
	if source {
		a = p.Src
	}
	if a.IsMulticast() {
		return unix.RTN_MULTICAST
	}
	const local = 255
	list, _ := t.Tables.Covering(local, lookup.Packet{Dst: a})
	for _, r := range list {
		if r.Type == lookup.Unicast || ifindex != 0 && !slices.ContainsFunc(r.Hops, func(h lookup.Hop) bool { return h.IfIndex == ifindex }) {
			continue
		}
		return uint32(r.Type)
	}
	return unix.RTN_UNICAST
}

// routedBack implements fib, as nft_fib4_eval and nft_fib6_eval: the route to the source, looked up
// as a packet of this host's own.
func (t *Trace) routedBack(p *packet, mark bool) int {
	back := lookup.Packet{Dst: p.Src, Src: p.Dst}
	if mark {
		back.Mark = p.Mark
	}
	d, err := lookup.Walk(t.Tables, back)
	if err != nil || d.Route == nil || d.Errno != 0 {
		return 0
	}
	if slices.ContainsFunc(d.Route.Hops, func(h lookup.Hop) bool { return h.IfIndex == p.IIF.Index }) {
		return p.IIF.Index
	}
	return 0
}

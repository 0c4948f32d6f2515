package fibcore

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// rulePlan is the difference between desired rules, banned rules and the
// kernel's, in the order in which it must be written: additions first, what must go
// when nothing that is desired is missing any more, so that packets always meet rules.
type rulePlan struct {
	add        []wire.Rule
	remove     []wire.KernelRule
	duplicates []wire.KernelRule // of ours: all but one of each
	blocked    []blockedRule
}

// blockedRule is a rule that cannot be deleted, since the kernel would delete another.
type blockedRule struct{ rule, other wire.KernelRule }

// planRules compares rules. kernel may hold duplicates. Before sweep nothing
// that is merely not desired is removed; gone lists rules that are to be
// removed nevertheless. waiting holds rules that are not to be touched now; they count
// as missing if they are.
func planRules(want, ban, gone, waiting map[wire.Rule]bool, kernel []wire.KernelRule, own uint8, swept bool) (p rulePlan) {
	ours, theirs := map[wire.Rule]int{}, map[wire.Rule]int{}
	for _, k := range kernel {
		switch {
		case k.Unknown:
		case k.Protocol == own:
			ours[k.Rule]++
		default:
			theirs[k.Rule]++
		}
	}
	incomplete := map[wire.Family]bool{wire.FamilyIPv4: true, wire.FamilyIPv6: true}
	for r := range want {
		delete(incomplete, r.Family)
	}
	for r := range want {
		if ours[r]+theirs[r] > 0 {
			continue
		}
		incomplete[r.Family] = true
		if !waiting[r] {
			p.add = append(p.add, r)
		}
	}
	sortRules(p.add)
	for _, k := range kernel {
		switch {
		case k.Unknown || waiting[k.Rule]:
		case ban[k.Rule]:
			if !incomplete[k.Family] {
				p.remove = append(p.remove, k)
			}
		case k.Protocol != own:
		case want[k.Rule]:
			if ours[k.Rule]--; ours[k.Rule] > 0 {
				p.duplicates = append(p.duplicates, k)
			}
		case swept || gone[k.Rule]:
			p.remove = append(p.remove, k)
		}
	}
	p.aim(kernel)
	return p
}

// aim puts deletions into an order in which the kernel deletes what is meant. RTM_DELRULE
// deletes the first rule that has all the selectors it names, whatever others that rule
// has (net/core/fib_rules.c, rule_find): a rule without selectors cannot be deleted as
// long as one with some stands before it, with the same priority, action, table and
// protocol.
func (p *rulePlan) aim(kernel []wire.KernelRule) {
	left, goals := slices.Clone(kernel), slices.Concat(p.remove, p.duplicates)
	ordered := func(list []wire.KernelRule) (out []wire.KernelRule) {
		for len(list) > 0 {
			k := list[0]
			i := slices.IndexFunc(left, func(other wire.KernelRule) bool { return picks(k, other) })
			if i < 0 {
				list = list[1:] // a duplicate went in its place
				continue
			}
			hit := left[i]
			if g := slices.Index(goals, hit); g >= 0 {
				out, goals, left = append(out, hit), slices.Delete(goals, g, g+1), slices.Delete(left, i, i+1)
				if hit == k {
					list = list[1:]
				}
				continue
			}
			if slices.Contains(goals, k) {
				p.blocked = append(p.blocked, blockedRule{k, hit})
			}
			list = list[1:]
		}
		return out
	}
	p.remove = ordered(p.remove)
	p.duplicates = ordered(p.duplicates)
}

// picks reports whether the kernel takes other for what is meant when told to delete k.
func picks(k, other wire.KernelRule) bool {
	return k.Family == other.Family && k.Priority == other.Priority && k.Action == other.Action &&
		named(k.Table, other.Table) && named(k.IIF, other.IIF) && named(k.OIF, other.OIF) &&
		named(k.Mark, other.Mark) && named(k.Mask, other.Mask) && named(k.TOS, other.TOS) &&
		named(k.IPProto, other.IPProto) && named(k.Protocol, other.Protocol) && named(k.UIDs, other.UIDs) &&
		named(k.SourcePorts, other.SourcePorts) && named(k.DestPorts, other.DestPorts) &&
		(!k.L3MDev || other.L3MDev) && (!k.Suppress || other.Suppress && k.SuppressLength == other.SuppressLength) &&
		named(k.From, other.From) && named(k.To, other.To)
}

// named reports whether a selector that is named is the same; the zero one is not named.
func named[T uint8 | uint32 | string | wire.UIDRange | wire.Range | netip.Prefix](selector, other T) bool {
	var none T
	return selector == none || selector == other
}

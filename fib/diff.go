package fib

import "github.com/hyperfib/hyperfib/internal/enum"

// verb is what must be done to a route in the kernel.
type verb uint8

const (
	verbNone verb = iota
	verbAdd
	verbReplace
	verbDelete
	verbYield // a foreign route is in the way
)

func (v verb) String() string {
	return enum.String("verb", []string{"none", "add", "replace", "delete", "yield"}, v)
}

// decide is the whole difference between desire and kernel for one key. want
// is the form that is desired now, nil if none; have is the form of our route
// in the kernel, nil if none; foreign says that somebody else's route is there
// under the same key.
//
//	want  have      foreign  policy       verb
//	-     -         any      any          none
//	-     any       any      any          delete
//	F     F         any      any          none
//	F     G, unsure any      any          replace
//	F     -         no       any          add: fails if something is there
//	F     -         yes      take         replace
//	F     -         yes      refuse,wait  yield
func decide(want, have *form, foreign bool, policy ForeignPolicy) verb {
	switch {
	case want == have:
		return verbNone
	case want == nil:
		return verbDelete
	case have != nil:
		return verbReplace
	case !foreign:
		return verbAdd
	case policy == ForeignTake:
		return verbReplace
	}
	return verbYield
}

// rulePlan is the difference between desired rules, banned rules and the
// kernel's, in the order in which it must be written: additions first, bans
// last and only when something is desired and nothing of it is missing, so that
// packets always meet rules.
type rulePlan struct {
	add    []Rule
	remove []kernelRule
}

// planRules compares rules. kernel may hold duplicates. Before sweep nothing
// that is merely not desired is removed; gone lists rules that are to be
// removed nevertheless. failed holds rules whose addition the kernel refuses: they
// count as missing, but are not tried again now.
func planRules(want, ban, gone, failed map[Rule]bool, kernel []kernelRule, own uint8, swept bool) rulePlan {
	var p rulePlan
	ours, theirs := map[Rule]int{}, map[Rule]int{}
	for _, k := range kernel {
		switch {
		case k.alien:
		case k.proto == own:
			ours[k.Rule]++
		default:
			theirs[k.Rule]++
		}
	}
	missing := map[Family]bool{IPv4: true, IPv6: true}
	for r := range want {
		delete(missing, r.Family)
	}
	for r := range want {
		if ours[r]+theirs[r] > 0 {
			continue
		}
		missing[r.Family] = true
		if !failed[r] {
			p.add = append(p.add, r)
		}
	}
	for _, k := range kernel {
		switch {
		case k.alien:
			continue
		case ban[k.Rule]:
			if missing[k.Family] {
				continue
			}
		case k.proto != own:
			continue
		case want[k.Rule]:
			if ours[k.Rule] == 1 {
				continue
			}
			ours[k.Rule]--
		case !swept && !gone[k.Rule]:
			continue
		}
		p.remove = append(p.remove, k)
	}
	sortRules(p.add)
	return p
}

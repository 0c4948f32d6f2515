package golden

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Rules returns the policy rules of a hypervisor, in order.
func Rules(family uint8, v plan.Variant) []nl.Rule {
	if v.Apart() {
		return unruled(family)
	}
	if v.Is("mode", plan.ModeVRF) {
		return vrfs(family)
	}
	if v.Is("mode", plan.ModeFwmark) {
		return marked(family)
	}
	if family == unix.AF_INET6 {
		rules := []nl.Rule{{Priority: 0, Table: unix.RT_TABLE_LOCAL}, {Priority: 51, Table: unix.RT_TABLE_MAIN}}
		return lookup(rules, v, nl.Rule{Priority: 53, Table: plan.TablePublic}, unix.FR_ACT_BLACKHOLE)
	}
	rules := []nl.Rule{{Priority: 0, Table: unix.RT_TABLE_LOCAL}}
	if v.Is("mode", plan.ModeNoLocalOut) {
		gateway := netip.PrefixFrom(plan.Gateway4, 32)
		rules = append(rules, nl.Rule{Priority: 20, IIF: "lo", From: gateway, Table: plan.TablePublic})
	}
	rules = append(rules, nl.Rule{Priority: 21, IIF: "lo", Table: unix.RT_TABLE_MAIN})
	own, end := nl.Rule{Priority: 22, IIF: "lo", Table: plan.TableLocal}, uint8(unix.FR_ACT_UNREACHABLE)
	if v.Is("mode", plan.ModeNoLocalOut) {
		own.Table, end = plan.TablePrivate, unix.FR_ACT_BLACKHOLE
	}
	rules = lookup(rules, v, own, end)
	rules = lookup(rules, v, nl.Rule{Priority: 26, IIF: plan.A.Private(), Table: plan.TablePrivate}, unix.FR_ACT_BLACKHOLE)
	rules = lookup(rules, v, nl.Rule{Priority: 28, IIF: plan.B.Private(), Table: plan.TablePrivate}, unix.FR_ACT_BLACKHOLE)
	return lookup(rules, v, nl.Rule{Priority: 99, Table: plan.TablePublic}, unix.FR_ACT_BLACKHOLE)
}

// unruled are the rules that the kernel makes by itself.
func unruled(family uint8) []nl.Rule {
	rules := []nl.Rule{{Priority: 0, Table: unix.RT_TABLE_LOCAL}, {Priority: 32766, Table: unix.RT_TABLE_MAIN}}
	if family == unix.AF_INET {
		rules = append(rules, nl.Rule{Priority: 32767, Table: unix.RT_TABLE_DEFAULT})
	}
	return rules
}

// vrfs is the set that leaves everything to the packet's VRF.
func vrfs(family uint8) []nl.Rule {
	return append([]nl.Rule{{Priority: 1000, L3MDev: true}, {Priority: 1001, Table: unix.RT_TABLE_LOCAL}}, unruled(family)[1:]...)
}

// marked is the set that looks at marks.
func marked(family uint8) []nl.Rule {
	mark := func(priority, table uint32) nl.Rule {
		return nl.Rule{Priority: priority, Mark: table, Mask: plan.MarkMask, Table: table}
	}
	if family == unix.AF_INET6 {
		return []nl.Rule{{Priority: 0, Table: unix.RT_TABLE_LOCAL}, {Priority: 51, Table: unix.RT_TABLE_MAIN},
			{Priority: 53, IIF: "lo", Table: plan.TablePublic}, mark(99, plan.TablePublic)}
	}
	return []nl.Rule{{Priority: 0, Table: unix.RT_TABLE_LOCAL}, {Priority: 21, IIF: "lo", Table: unix.RT_TABLE_MAIN},
		{Priority: 22, IIF: "lo", Table: plan.TableLocal}, mark(26, plan.TablePrivate), mark(99, plan.TablePublic)}
}

// lookup adds a rule and, in the mode that has them, the rule of last resort
// behind it.
func lookup(rules []nl.Rule, v plan.Variant, r nl.Rule, end uint8) []nl.Rule {
	rules = append(rules, r)
	if v.Is("mode", plan.ModeBlackholeRules) {
		rules = append(rules, nl.Rule{Priority: r.Priority + 1, IIF: r.IIF, Action: end})
	}
	return rules
}

// RuleLines brings rules to one line each.
func RuleLines(rules []nl.Rule) []string {
	out := make([]string, 0, len(rules))
	for _, r := range rules {
		out = append(out, r.String())
	}
	return out
}

package golden

import (
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Rules returns the policy rules of a hypervisor, in order.
func Rules(family uint8) []nl.Rule {
	if family == unix.AF_INET6 {
		return []nl.Rule{
			{Priority: 0, Table: unix.RT_TABLE_LOCAL},
			{Priority: 51, Table: unix.RT_TABLE_MAIN},
			{Priority: 53, Table: plan.TablePublic},
		}
	}
	return []nl.Rule{
		{Priority: 0, Table: unix.RT_TABLE_LOCAL},
		{Priority: 21, IIF: "lo", Table: unix.RT_TABLE_MAIN},
		{Priority: 22, IIF: "lo", Table: plan.TableLocal},
		{Priority: 26, IIF: plan.A.Private(), Table: plan.TablePrivate},
		{Priority: 28, IIF: plan.B.Private(), Table: plan.TablePrivate},
		{Priority: 99, Table: plan.TablePublic},
	}
}

// RuleLines brings rules to one line each.
func RuleLines(rules []nl.Rule) []string {
	out := make([]string, 0, len(rules))
	for _, r := range rules {
		out = append(out, r.String())
	}
	return out
}

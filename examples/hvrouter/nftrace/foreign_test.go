package nftrace

import (
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// A rule that drops is found in chains that a base chain leads to, once, and in a circle.
func TestDroppingRules(t *testing.T) {
	rule := func(e ...expr.Any) *nftables.Rule { return &nftables.Rule{Exprs: e} }
	verdict := func(k expr.VerdictKind, chain string) expr.Any { return &expr.Verdict{Kind: k, Chain: chain} }
	chains := map[string][]*nftables.Rule{
		"a": {rule(verdict(expr.VerdictDrop, "")), rule(verdict(expr.VerdictGoto, "b")), rule(verdict(expr.VerdictJump, "a"))},
		"b": {rule(&expr.Counter{}, &expr.Reject{}), rule(verdict(expr.VerdictAccept, ""))},
	}
	read := func(chain string) ([]*nftables.Rule, error) { return chains[chain], nil }
	for want, base := range map[int][]*nftables.Rule{
		0: {rule(verdict(expr.VerdictAccept, ""))},
		2: {rule(verdict(expr.VerdictJump, "a")), rule(verdict(expr.VerdictJump, "a"))},
		1: {rule(&expr.Counter{}, verdict(expr.VerdictDrop, ""))},
	} {
		if n, err := droppingRules(base, read); n != want || err != nil {
			t.Errorf("%d, %v; want %d", n, err, want)
		}
	}
}

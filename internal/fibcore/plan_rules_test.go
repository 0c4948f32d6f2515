package fibcore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

func TestDecide(t *testing.T) {
	f, g := &form{}, &form{nhid: 1}
	for _, c := range []struct {
		want, have *form
		foreign    bool
		policy     ForeignPolicy
		verb       verb
	}{
		{nil, nil, false, 0, verbNone},
		{nil, nil, true, ForeignTake, verbNone},
		{nil, f, false, 0, verbDelete},
		{nil, needsDump, true, 0, verbDelete},
		{f, f, false, 0, verbNone},
		{f, f, true, ForeignTake, verbNone},
		{f, g, false, 0, verbReplace},
		{f, needsDump, false, 0, verbReplace},
		{f, g, true, ForeignRefuse, verbReplace},
		{f, nil, false, ForeignRefuse, verbAdd},
		{f, nil, false, ForeignTake, verbAdd},
		{f, nil, true, ForeignTake, verbReplace},
		{f, nil, true, ForeignWait, verbYield},
		{f, nil, true, ForeignRefuse, verbYield},
	} {
		if got := decide(c.want, c.have, c.foreign, c.policy); got != c.verb {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// FuzzRules: planRules, applied until it has nothing to say, leads to what an
// oracle says, and on the way there is never a moment without rules.
func FuzzRules(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		pick := func() wire.Rule {
			return wire.Rule{Family: wire.FamilyIPv4, Priority: uint32(rnd.IntN(5)), Table: 90}.Normal()
		}
		want, ban, gone := map[wire.Rule]bool{}, map[wire.Rule]bool{}, map[wire.Rule]bool{}
		for range rnd.IntN(4) {
			want[pick()] = true
		}
		for range rnd.IntN(3) {
			if r := pick(); !want[r] {
				ban[r] = true
			}
		}
		for range rnd.IntN(3) {
			if r := pick(); !want[r] {
				gone[r] = true
			}
		}
		var kernel []wire.KernelRule
		for range rnd.IntN(8) {
			kernel = append(kernel, wire.KernelRule{Rule: pick(), Protocol: []uint8{2, 201}[rnd.IntN(2)]})
		}
		swept := rnd.IntN(2) == 0
		start := slices.Clone(kernel)
		for range 20 {
			p := planRules(want, ban, gone, nil, kernel, 201, swept)
			if len(p.add)+len(p.remove)+len(p.duplicates) == 0 {
				break
			}
			if len(p.add) > 0 { // as the shell does: additions first, then plan anew
				for _, r := range p.add {
					kernel = append(kernel, wire.KernelRule{Rule: r, Protocol: 201})
				}
				continue
			}
			for _, k := range append(p.remove, p.duplicates...) {
				i := slices.Index(kernel, k)
				kernel = slices.Delete(kernel, i, i+1)
			}
			if len(start) > 0 && len(want) > 0 && len(kernel) == 0 {
				t.Fatal("a moment without rules")
			}
		}
		if got, oracle := count(kernel), ruleOracle(want, ban, gone, start, swept); fmt.Sprint(got) != fmt.Sprint(oracle) {
			t.Fatalf("want %v ban %v gone %v swept %v start %v:\n%v\noracle\n%v", want, ban, gone, swept, count(start), got, oracle)
		}
	})
}

func count(ks []wire.KernelRule) map[string]int {
	n := map[string]int{}
	for _, k := range ks {
		n[fmt.Sprint(k.Rule, " proto ", k.Protocol)]++
	}
	return n
}

// ruleOracle says what each kind of rule must come to.
func ruleOracle(want, ban, gone map[wire.Rule]bool, start []wire.KernelRule, swept bool) map[string]int {
	n := count(start)
	out := map[string]int{}
	for p := range uint32(5) {
		r := wire.Rule{Family: wire.FamilyIPv4, Priority: p, Table: 90}.Normal()
		theirs, ours := fmt.Sprint(r, " proto ", 2), fmt.Sprint(r, " proto ", 201)
		t, o := n[theirs], n[ours]
		switch {
		case ban[r] && len(want) > 0:
			t, o = 0, 0
		case ban[r]: // not before something is desired
		case want[r]:
			if o > 1 || t == 0 {
				o = 1
			}
		case swept || gone[r]:
			o = 0
		}
		if t > 0 {
			out[theirs] = t
		}
		if o > 0 {
			out[ours] = o
		}
	}
	return out
}

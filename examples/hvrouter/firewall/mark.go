package firewall

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// Mark is what packets from some interfaces are marked with.
type Mark struct {
	// Value lies inside [Spec.MarkMask].
	Value      uint32
	Interfaces []string
}

// markPriority is before everything that looks at marks or routes: the sources'
// check of our own (raw, -300) and the restoring of marks by others (mangle, -150).
// Fragments have been put together then (-400).
var markPriority = nftables.ChainPriorityRef(*nftables.ChainPriorityRaw - 10)

// mark is the chain that tells domains apart for policy rules: a rule for each, so
// that their number does not grow with the guests.
func (b *builder) mark() chain {
	c := chain{name: "domains", hook: nftables.ChainHookPrerouting, priority: markPriority}
	b.gateways.markTenants(&c)
	for i, m := range b.spec.Marks {
		interfaces := b.names(fmt.Sprintf("marked%d", i), "", m.Interfaces)
		c.add(iif(interfaces), setMark(m.Value, b.spec.MarkMask))
	}
	return c
}

// setMark changes the bits of the mask and leaves others as they are.
func setMark(value, mask uint32) match {
	return meta(expr.MetaKeyMARK,
		&expr.Bitwise{
			SourceRegister: reg, DestRegister: reg, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(^mask), Xor: binaryutil.NativeEndian.PutUint32(value & mask),
		},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg})
}

func normalMarks(marks []Mark) []Mark {
	out := slices.Clone(marks)
	for i := range out {
		out[i].Interfaces = sorted(out[i].Interfaces)
	}
	slices.SortFunc(out, func(a, b Mark) int { return int(int64(a.Value) - int64(b.Value)) })
	return out
}

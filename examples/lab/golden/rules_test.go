package golden

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The rules of the modes that differ in them, in one file.
func TestRules(t *testing.T) {
	var b strings.Builder
	for _, mode := range []string{plan.ModeRules, plan.ModeBlackholeRules, plan.ModeNoLocalOut, plan.ModeFwmark, plan.ModeVRF} {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			b.WriteString("# " + mode + " " + map[uint8]string{unix.AF_INET: "v4", unix.AF_INET6: "v6"}[family] + "\n" +
				strings.Join(RuleLines(Rules(family, plan.Variant{Mode: mode})), "\n") + "\n\n")
		}
	}
	scenario.Golden(t, "testdata/rules.txt", b.String())
}

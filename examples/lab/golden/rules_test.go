package golden

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
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
	const path = "testdata/rules.txt"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s differs; run with -update and look at the difference:\n%s", path, b.String())
	}
}

package conf

import (
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"os"
	"testing"
	"time"
)

func TestGen(t *testing.T) {
	tm := Timing{100 * time.Millisecond, 5}
	os.WriteFile("/tmp/b_hv.conf", []byte(BirdHypervisor(1, tm)), 0o644)
	os.WriteFile("/tmp/b_edge.conf", []byte(BirdEdge(tm)), 0o644)
	os.WriteFile("/tmp/b_rr.conf", []byte(BirdReflector(plan.A, false, tm)), 0o644)
}

package topology

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
)

// The topology stands, its cables carry packets, a cut is silent, and nothing of it
// is left afterwards.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("makes network namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to create network namespaces")
	}
	w, err := Build(Options{Dir: t.TempDir(), Timing: conf.Timing{BFD: 100 * time.Millisecond, Multiplier: 5}})
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	hv1, hv2 := w.HV(1), plan.HVPublic4(2, plan.A)
	silent := func(patience time.Duration) int {
		out, err := probe.Ping(hv1.Path, []netip.Addr{hv2, plan.HVPublic6(2, plan.A), plan.HVPrivate4(2, plan.A)}, patience)
		if err != nil {
			t.Fatal(err)
		}
		return len(out)
	}
	if n := silent(30 * time.Second); n != 0 {
		t.Fatalf("%d addresses of hypervisor 2 are silent", n)
	}
	before, err := w.PortPackets(plan.A, "hv1")
	if err != nil || before == 0 {
		t.Errorf("hypervisor 1 sent %d packets into fabric A: %v", before, err)
	}
	if err := w.CutFabric(plan.A, true); err != nil {
		t.Fatal(err)
	}
	if n := silent(600 * time.Millisecond); n != 3 {
		t.Errorf("through the cut, %d addresses are silent, want 3", n)
	}
	if err := w.CutFabric(plan.A, false); err != nil {
		t.Fatal(err)
	}
	if n := silent(30 * time.Second); n != 0 {
		t.Errorf("after the cut, %d addresses are silent", n)
	}
	routes, err := hv1.NL.Routes(unix.AF_INET, unix.RT_TABLE_MAIN)
	if err != nil || len(routes) != 4 {
		t.Errorf("main table of hypervisor 1 has %d routes, want the 4 uplinks: %v", len(routes), err)
	}
}

package experiment

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
)

// vrfs proves that nothing leaks between VRFs, and shows how the hypervisor itself
// sends: a program that is bound to a VRF reaches what is in it and nothing else, one
// that is bound to none reaches neither.
func vrfs(run *Run) error {
	var public, private []netip.Addr
	for _, g := range run.guests() {
		public = append(public, g.IPv4, g.IPv6())
	}
	for n := 2; n <= plan.HVs; n++ {
		private = append(private, plan.Loopback(n), plan.HVPrivate4(n, plan.A), plan.HVPrivate4(n, plan.B))
	}
	run.involved = []string{plan.HVName(1)}
	hv1, vm1 := run.Topology.HV(1).Path, run.Topology.Guest(run.guests()[0]).Path
	own := append([]netip.Addr{plan.Loopback(1), plan.HVPrivate4(1, plan.A)}, private...)
	sides := []struct {
		ns, device     string
		reach, silence []netip.Addr
	}{
		{hv1, plan.VRFPublic, public, own},
		{hv1, plan.VRFPrivate, own, public},
		{hv1, "", nil, append(public, private...)},
		{vm1, "", public[2:], own},
	}
	missing, leaks, asked := 0, 0, 0
	var why strings.Builder
	for _, side := range sides {
		silent, err := probe.PingOn(side.ns, side.device, side.reach, 3*time.Second)
		if err != nil {
			return err
		}
		missing, asked = missing+len(silent), asked+len(side.reach)
		quiet, err := probe.PingOn(side.ns, side.device, side.silence, 500*time.Millisecond)
		if err != nil {
			return err
		}
		leaks += len(side.silence) - len(quiet)
		fmt.Fprintf(&why, "%s %s: %v are silent, of the others only %v\n", side.ns, side.device, silent, quiet)
	}
	run.value("addresses of one's own VRF without an answer", float64(missing), 0, "", fmt.Sprintf("of %d, asked from vm1 and HV1's two VRFs", asked), why.String())
	run.value("addresses of another VRF that answered", float64(leaks), 0, "", "asked from there, and from HV1 in no VRF", why.String())
	return nil
}

// hasVRFs reports whether domains are VRFs.
func hasVRFs(l plan.Lab) bool { return l.Is("mode", plan.ModeVRF) }

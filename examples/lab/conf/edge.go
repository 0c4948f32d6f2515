package conf

import (
	"fmt"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// EdgeArgs are the arguments of our own edge router; its sessions can be asked
// for at the socket; it announces bulk prefixes besides the defaults.
func EdgeArgs(socket string, t Timing, bulk int) []string {
	if t.ToRs() {
		args := []string{"-as", fmt.Sprint(plan.EdgeAS), "-router-id", plan.EdgeRouterID().String(), "-bulk", fmt.Sprint(bulk), "-default"}
		return append(args, adjacent(plan.EdgeName, socket, t)...)
	}
	args := []string{"-as", fmt.Sprint(plan.AS), "-router-id", plan.EdgeRouterID().String(), "-table", fmt.Sprint(plan.TablePublic),
		"-interval", t.BFD.String(), "-multiplier", fmt.Sprint(t.Multiplier), "-status", socket,
		"-bulk", fmt.Sprint(bulk), "-default", "-hold", t.HoldTime().String()}
	if t.Is("security", plan.SecurityMD5) {
		args = append(args, "-md5-key", plan.Key)
	}
	args = append(args, edgeWays(t)...)
	for _, f := range t.Sides() {
		for _, family := range t.families(f) {
			args = append(args, fmt.Sprintf("%s,%s,%s,%s,%s", f.Public(), edgePublic(f, family), reflectorPublic(f, family), t.watch(f), t.RestartTime(f)))
		}
	}
	return args
}

package experiment

import (
	"os"
	"time"

	"github.com/google/nftables"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// mended is how long what somebody else destroyed may be missing, in milliseconds.
const mended = 100

// ruleset flushes everything of nftables on HV1, as the distribution's service does
// when it is reloaded. Where marks tell domains nothing is routed without; elsewhere
// no packet may be lost. Spoofed packets are dropped again afterwards.
func ruleset(run *Run) error {
	if run.Topology.HVKind(1) != topology.Self {
		run.degraded("not run", "nobody would put HV1's firewall up again")
		return nil
	}
	run.involved = []string{"hv1"}
	results, err := run.during(500*time.Millisecond, func(*flow.Traffic) error { return flush(run.Topology.HV(1)) })
	if err != nil {
		return err
	}
	total, _, _, text := summary(results)
	if run.Topology.Timing.Is("mode", plan.ModeFwmark) {
		run.value("longest gap without marks", ms(total.Gap), mended, "ms", "", text)
	} else {
		run.loss(results, 0)
	}
	return spoof(run)
}

func flush(n *topology.Node) error {
	ns, err := os.Open(n.Path)
	if err != nil {
		return err
	}
	defer ns.Close()
	c, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		return err
	}
	c.FlushRuleset()
	return c.Flush()
}

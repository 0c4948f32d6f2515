package experiment

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
)

// The ageing time of bridges by default (IEEE 802.1Q, Table 8-6), and a short one.
const (
	usualAgeing = 300 * time.Second
	shortAgeing = 2 * time.Second
)

// silent lets the bridges forget what they have learned, and has every guest ask for those of other hypervisors: its own
// hypervisor answers, with the right MAC, and no question comes to a guest elsewhere. Then they are pinged.
func silent(run *Run) error {
	run.involved = []string{"hv1", "hv2", "hv3"}
	if err := run.ageing(shortAgeing); err != nil {
		return err
	}
	err := run.sleep(2 * shortAgeing)
	if err == nil {
		err = run.askRemote()
	}
	return errors.Join(err, run.ageing(usualAgeing))
}

func (run *Run) ageing(after time.Duration) error {
	for n := 1; n <= plan.HVs; n++ {
		if err := run.Topology.Public(n).NL.SetAgeing(plan.OverlayBridge, after); err != nil {
			return err
		}
	}
	return nil
}

func (run *Run) askRemote() error {
	heard := map[string]*probe.Questions{}
	for _, g := range run.guests() {
		q, err := probe.Count(run.Topology.Guest(g).Path, "eth1")
		if err != nil {
			return err
		}
		defer q.Close()
		heard[g.Name] = q
	}
	pairs, wrong, asked := 0, 0, 0
	var why strings.Builder
	jobs := map[string][]netip.Addr{}
	for _, from := range run.guests() {
		for _, q := range heard {
			q.Asked()
		}
		for _, to := range run.guests() {
			if to.HV == from.HV {
				continue
			}
			pairs++
			who := to.Overlay().Addr()
			jobs[from.Name] = append(jobs[from.Name], who)
			macs, err := probe.ARP(run.Topology.Guest(from).Path, "eth1", from.OverlayMAC(), from.Overlay().Addr(), who, 200*time.Millisecond, false)
			if err != nil {
				return err
			}
			if len(macs) != 1 || macs[0].String() != to.OverlayMAC().String() {
				wrong++
				fmt.Fprintf(&why, "%s asked who has %s: %v\n", from.Name, who, macs)
			}
		}
		for _, g := range run.guests() {
			if g.HV == from.HV {
				continue // its port is no tunnel: the bridge asks there, too
			}
			if who := heard[g.Name].Asked(); len(who) > 0 {
				asked += len(who)
				fmt.Fprintf(&why, "%s was asked by %s for %v\n", g.Name, from.Name, who)
			}
		}
	}
	run.value("questions without the one right answer", float64(wrong), 0, "", fmt.Sprintf("ARP, %d pairs", pairs), why.String())
	run.value("questions that came to guests of other hypervisors", float64(asked), 0, "", "", why.String())
	total, lost, text := run.pingAll(jobs)
	run.value("pairs without an answer", float64(lost), 0, "", fmt.Sprintf("%d pairs, after %v of silence; bridges forget after %v", total, 2*shortAgeing, shortAgeing), text)
	return nil
}

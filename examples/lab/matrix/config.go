// Package matrix runs the lab in every configuration and prints one table: a line
// for each configuration, a column for each experiment. What a configuration may be comes
// from what the lab can do, so that a new choice is a new line by itself.
package matrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// Config is one configuration of the lab.
type Config struct {
	Name string   // of its line
	Args []string // of the lab's command line
}

// order of the choices that the table begins with; others follow by name.
var order = []string{"mode", "sessions", "security", "resilience", "dhcp", "guests"}

// All lists every configuration: each kind of reflector, two kinds at once, BIRD on
// hypervisors beside ours, one reflector for both fabrics, each alternative of
// each choice with our own reflectors, EVPN with others', and each other kind of top-of-rack router.
func All() []Config {
	var out []Config
	add := func(args ...string) {
		name := strings.TrimPrefix(strings.Join(args, " "), "-")
		out = append(out, Config{strings.ReplaceAll(name, " -", " "), args})
	}
	for _, k := range topology.ReflectorKinds {
		add("-rr", string(k))
	}
	add("-rr", fmt.Sprintf("%s,%s", topology.FRR, topology.GoBGP))
	add("-hv", fmt.Sprintf("%s@2", topology.Bird))
	add("-rr", string(topology.Bird), "-hv", fmt.Sprintf("%s@2", topology.Bird))
	for _, extra := range Extra {
		add(strings.Fields(extra)...)
	}
	for _, name := range choices() {
		for _, value := range plan.Choices[name][1:] {
			add("-"+name, value)
		}
	}
	for _, k := range topology.ReflectorKinds[1:] {
		if k.EVPN() && k != topology.GoBGPNamed {
			add("-overlay", plan.OverlayEVPN, "-rr", string(k))
		}
	}
	for _, k := range topology.TorKinds[1:] {
		add("-mode", plan.ModeEBGPToR, "-tor", string(k))
	}
	return out
}

// Extra are configurations that are no choice of the plan.
var Extra = []string{"-one-reflector", "-one-reflector -rr bird", "-mode " + plan.ModeEBGPToR + " -reflectors hv2"}

func choices() []string {
	var rest []string
	for name := range plan.Choices {
		if !slices.Contains(order, name) {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	return append(slices.DeleteFunc(slices.Clone(order), func(n string) bool { return plan.Choices[n] == nil }), rest...)
}

// Core are the experiments of a quick look: what is in the kernels, who is reached, and
// what a cut, a restart, and a port that dies during a restart cost.
var Core = []string{"sessions", "fibs", "rules", "guests", "ping", "anycast", "arp", "cut", "kill", "deadport"}

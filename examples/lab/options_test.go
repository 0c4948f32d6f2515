package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/experiment"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

func TestParse(t *testing.T) {
	o, _ := parse([]string{"-rr", "bird,self", "-hv", "bird@2", "-bfd", "50ms,3", "-only", "cut,ping"})
	if o == nil {
		t.Fatal("refused")
	}
	if want := map[plan.Fabric]topology.Kind{plan.A: topology.Bird, plan.B: topology.Self}; !maps.Equal(o.topology.RR, want) {
		t.Errorf("reflectors %v", o.topology.RR)
	}
	if want := map[int]topology.Kind{2: topology.Bird}; !maps.Equal(o.topology.HV, want) {
		t.Errorf("hypervisors %v", o.topology.HV)
	}
	if d := o.topology.Timing.Detection(); d != 150*time.Millisecond {
		t.Errorf("detection %v", d)
	}
	var names []string
	for _, a := range o.experiments {
		names = append(names, a.Name)
	}
	if len(names) != 3 || names[0] != "sessions" || names[1] != "ping" || names[2] != "cut" {
		t.Errorf("experiments %v", names)
	}
}

// A report says how it came about: every flag, also those that were not given.
func TestParseConfig(t *testing.T) {
	o, _ := parse([]string{"-rr", "frr", "-restart-time", "7s", "-sessions", "mp-bgp"})
	if o == nil {
		t.Fatal("refused")
	}
	for name, want := range map[string]string{"rr": "frr", "restart-time": "7s", "hold-time": "0s", "sessions": "mp-bgp", "mode": "rules", "bfd": "100ms,5"} {
		if have := o.report.Config[name]; have != want {
			t.Errorf("-%s is %q in the report, want %q", name, have, want)
		}
	}
	if d := o.topology.Timing.RestartTime(plan.A); d != 7*time.Second {
		t.Errorf("restart time %v", d)
	}
}

func TestParseEdge(t *testing.T) {
	for _, c := range []struct {
		args []string
		want topology.Kind
	}{
		{nil, ""},
		{[]string{"-rr", "bird"}, ""},
		{[]string{"-rr", "bird", "-hv", "bird"}, topology.Bird},
		{[]string{"-rr", "bird", "-hv", "bird", "-edge", "self"}, topology.Self},
	} {
		if o, _ := parse(c.args); o == nil || o.topology.Edge != c.want {
			t.Errorf("%v: %+v", c.args, o)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"-rr", "cisco"}, {"-rr", "self,self,self"}, {"-hv", "bird@4"}, {"-hv", "bird@x"}, {"-hv", "x"},
		{"-bfd", "100ms"}, {"-bfd", "x,3"}, {"-bfd", "100ms,0"}, {"-only", "nothing"}, {"-nonsense"}, {"word"}, {"-edge", "cisco"},
		{"-sessions", "single", "-one-reflector"}, {"-sessions", "communities", "-mode", "netns"}, {"-sessions", "one", "-edge", "bird"},
		{"-sessions", "communities", "-rr", "gobgp"}, {"-sessions", "few"},
		{"-overlay", "evpn", "-rr", "self,bird"}, {"-overlay", "evpn", "-mode", "ebgp-tor"}, {"-overlay", "evpn", "-sessions", "one"}, {"-overlay", "evpn", "-hv", "bird@3"}, {"-only", "silent"},
		{"-hold-time", "2s"}, {"-restart-time", "1500ms"}, {"-restart-time", "4096s"},
	} {
		if o, code := parse(args); o != nil || code != 2 {
			t.Errorf("%v: accepted, or code %d", args, code)
		}
	}
	if o, code := parse([]string{"-list"}); o != nil || code != 0 {
		t.Errorf("-list: code %d", code)
	}
}

// What belongs to one variant only is played there, and asking for it elsewhere is a
// mistake.
func TestParseGuests(t *testing.T) {
	plays := func(args ...string) (have bool) {
		o, _ := parse(args)
		if o == nil {
			t.Fatalf("%v: refused", args)
		}
		return slices.ContainsFunc(o.experiments, func(a experiment.Experiment) bool { return a.Name == "ndp" })
	}
	if plays() || !plays("-guests", "host128") || !plays("-guests", "host128", "-only", "ndp") {
		t.Error("ndp is an experiment of host128")
	}
	if o, _ := parse([]string{"-guests-per-hv", "5", "-only", "load"}); o == nil || o.topology.Timing.PerHV != 5 {
		t.Errorf("5 further guests: %+v", o)
	}
	for _, args := range [][]string{{"-only", "ndp"}, {"-guests", "slaac"}, {"-guests", "host128", "-hv", "bird"},
		{"-only", "load"}, {"-guests-per-hv", "-1"}, {"-guests-per-hv", "1001"}, {"-guests-per-hv", "5", "-hv", "bird@2"}} {
		if o, code := parse(args); o != nil || code != 2 {
			t.Errorf("%v: accepted, or code %d", args, code)
		}
	}
}

// Routed fabrics have top-of-rack routers and no reflectors.
func TestParseUnderlay(t *testing.T) {
	o, _ := parse([]string{"-mode", "ebgp-tor", "-tor", "bird,frr"})
	if o == nil || !slices.ContainsFunc(o.experiments, func(a experiment.Experiment) bool { return a.Name == "torcut" }) {
		t.Fatal("-mode ebgp-tor is refused, or has no experiment torcut")
	}
	if want := map[plan.Fabric]topology.Kind{plan.A: topology.Bird, plan.B: topology.FRR}; !maps.Equal(o.topology.Tor, want) {
		t.Errorf("top-of-rack routers %v", o.topology.Tor)
	}
	if err := o.neighbors(&words{tor: "self,gobgp", rr: string(topology.Self)}); err == nil || !strings.Contains(err.Error(), "-tor gobgp: GoBGP 3.10 forwards no packets") {
		t.Errorf("-tor gobgp: %v", err)
	}
	for _, args := range [][]string{
		{"-tor", "self"},
		{"-mode", "ebgp-tor", "-rr", "bird"},
		{"-mode", "ebgp-tor", "-tor", "junos"},
		{"-mode", "ebgp-tor", "-tor", "self,gobgp"},
		{"-mode", "ebgp-tor", "-tor", "self,self,self"},
		{"-mode", "ebgp-tor", "-sessions", "mp-bgp"},
		{"-mode", "ebgp-tor", "-security", "md5"},
		{"-mode", "ebgp-tor", "-dhcp", "relay"},
		{"-mode", "ebgp-tor", "-one-reflector"},
		{"-mode", "ebgp-tor", "-edge", "bird"},
		{"-mode", "ebgp-tor", "-hv", "bird@2"},
		{"-only", "torcut"},
		{"-reflectors", "hv2"},
		{"-mode", "ebgp-tor", "-reflectors", "hv4"},
		{"-mode", "ebgp-tor", "-reflectors", "2"},
		{"-mode", "ebgp-tor", "-reflectors", "hv02"},
		{"-mode", "ebgp-tor", "-reflectors", "hv2,hv2"},
		{"-mode", "ebgp-tor", "-reflectors", "hv1,hv2,hv3"},
		{"-mode", "ebgp-tor", "-reflectors", "hv2", "-rr", "frr"},
		{"-mode", "ebgp-tor", "-reflectors", "hv2", "-one-reflector"},
		{"-mode", "ebgp-tor", "-reflectors", "hv2", "-dhcp", "relay"},
		{"-mode", "ebgp-tor", "-reflectors", "hv2", "-overlay", "evpn"},
		{"-mode", "ebgp-tor", "-reflectors", "hv1", "-only", "torcut"},
		{"-mode", "ebgp-tor", "-reflectors", "hv3", "-only", "drains"},
		{"-mode", "ebgp-tor", "-only", "rr"},
	} {
		if o, code := parse(args); o != nil || code != 2 {
			t.Errorf("%v is taken", args)
		}
	}
}

// Some hypervisors stay with reflectors, which are programs of a kind, as the top-of-rack routers of the
// others are.
func TestParseReflectors(t *testing.T) {
	o, _ := parse([]string{"-mode", "ebgp-tor", "-reflectors", "hv2", "-rr", "bird", "-tor", "frr"})
	if o == nil {
		t.Fatal("refused")
	}
	if have := o.topology.Timing.Reflected(); !slices.Equal(have, []int{2}) || o.topology.RR[plan.B] != topology.Bird || o.topology.Tor[plan.A] != topology.FRR {
		t.Errorf("hypervisors %v with %v, the others with %v", have, o.topology.RR, o.topology.Tor)
	}
	for _, name := range []string{"torcut", "rr", "spine", "spinecut", "netcut", "drains", "both"} {
		if !slices.ContainsFunc(o.experiments, func(a experiment.Experiment) bool { return a.Name == name }) {
			t.Errorf("no experiment %s", name)
		}
	}
}

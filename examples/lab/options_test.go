package main

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/act"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/world"
)

func TestParse(t *testing.T) {
	o, _ := parse([]string{"-rr", "bird,self", "-hv", "bird@2", "-bfd", "50ms,3", "-only", "cut,ping"})
	if o == nil {
		t.Fatal("refused")
	}
	if want := map[plan.Fabric]world.Kind{plan.A: world.Bird, plan.B: world.Self}; !maps.Equal(o.world.RR, want) {
		t.Errorf("reflectors %v", o.world.RR)
	}
	if want := map[int]world.Kind{2: world.Bird}; !maps.Equal(o.world.HV, want) {
		t.Errorf("hypervisors %v", o.world.HV)
	}
	if d := o.world.Timing.Detection(); d != 150*time.Millisecond {
		t.Errorf("detection %v", d)
	}
	var names []string
	for _, a := range o.acts {
		names = append(names, a.Name)
	}
	if len(names) != 3 || names[0] != "sessions" || names[1] != "ping" || names[2] != "cut" {
		t.Errorf("acts %v", names)
	}
}

func TestParseEdge(t *testing.T) {
	for _, c := range []struct {
		args []string
		want world.Kind
	}{
		{nil, ""},
		{[]string{"-rr", "bird"}, ""},
		{[]string{"-rr", "bird", "-hv", "bird"}, world.Bird},
		{[]string{"-rr", "bird", "-hv", "bird", "-edge", "self"}, world.Self},
	} {
		if o, _ := parse(c.args); o == nil || o.world.Edge != c.want {
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
		return slices.ContainsFunc(o.acts, func(a act.Act) bool { return a.Name == "ndp" })
	}
	if plays() || !plays("-guests", "host128") || !plays("-guests", "host128", "-only", "ndp") {
		t.Error("ndp is an act of host128")
	}
	if o, _ := parse([]string{"-guests-per-hv", "5", "-only", "crowd"}); o == nil || o.world.Timing.PerHV != 5 {
		t.Errorf("a crowd of 5: %+v", o)
	}
	for _, args := range [][]string{{"-only", "ndp"}, {"-guests", "slaac"}, {"-guests", "host128", "-hv", "bird"},
		{"-only", "crowd"}, {"-guests-per-hv", "-1"}, {"-guests-per-hv", "1001"}, {"-guests-per-hv", "5", "-hv", "bird@2"}} {
		if o, code := parse(args); o != nil || code != 2 {
			t.Errorf("%v: accepted, or code %d", args, code)
		}
	}
}

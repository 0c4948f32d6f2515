package topology

import (
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Who notices that a fabric falls silent, and how many BFD sessions that takes: three
// a fabric, two where no IPv6 is carried.
func TestWatched(t *testing.T) {
	for name, c := range map[string]struct {
		a, b        Kind
		echo        bool
		ours, birds int
	}{
		"both speak BFD":         {Self, FRR, true, 6, 6},
		"one does not":           {GoBGP, Self, true, 6, 3},
		"and does not forward":   {GoBGP, Self, false, 3, 3},
		"one has no IPv6 either": {Quagga, Junos, true, 5, 3},
		"neither has":            {Quagga, Quagga, true, 4, 0},
	} {
		w := &Topology{Options: Options{RR: map[plan.Fabric]Kind{plan.A: c.a, plan.B: c.b},
			Timing: conf.Timing{BFD: 100 * time.Millisecond, Multiplier: 5, Echo: c.echo}}}
		w.Timing.NoBFD, w.Timing.IPv4Only = w.Lacking(Kind.BFD), w.Lacking(Kind.IPv6)
		sessions := 6 - len(w.Timing.IPv4Only)
		for kind, want := range map[Kind]int{Self: c.ours, Bird: c.birds} {
			if have := w.Watched(&Daemon{Node: &Node{Name: plan.HVName(1)}, Kind: kind, Sessions: sessions}); have != want {
				t.Errorf("%s: %s has %d BFD sessions, want %d", name, kind, have, want)
			}
		}
	}
}

// Where both are there: a spine has neighbours, and sessions with one reflector.
func TestWatchedMixed(t *testing.T) {
	w := &Topology{Options: Options{Timing: conf.Timing{BFD: 100 * time.Millisecond, Multiplier: 5,
		Lab: plan.Lab{Variant: plan.Variant{Mode: plan.ModeEBGPToR}, Stay: []int{2}}}}}
	for name, sessions := range map[string]int{plan.HVName(1): 4, plan.HVName(2): 6, plan.SpineName(plan.B, false): 5, plan.SpineName(plan.A, true): 3, plan.EdgeName: 2} {
		if have := w.Watched(&Daemon{Node: &Node{Name: name}, Kind: Self, Sessions: sessions}); have != sessions {
			t.Errorf("%s has %d BFD sessions, want %d", name, have, sessions)
		}
	}
}

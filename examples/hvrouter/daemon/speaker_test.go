package daemon

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// A reload that changes nothing keeps the policies that the session has; a changed
// one is made anew, and only that.
func TestConfigureKeepsPolicies(t *testing.T) {
	b := newBench(t)
	r := b.cfg.Domains[0].Reflectors[0]
	s := &speaker{linkLocal: func(string) (none netip.Addr) { return none }, members: peering.Members(b.cfg, b.cfg.Domains[0])}
	configure := func(c *config.Config, r config.Reflector, old configured) configured {
		return s.peer(c, r, deaths{}, old)
	}
	term := func(pref uint32) config.Policy { return config.Policy{{LocalPref: &pref, Action: "accept"}} }
	r.Import, r.Export = term(100), term(200)
	first := configure(b.cfg, r, configured{})
	if first.Import == nil || first.Export == nil {
		t.Fatal("no policies")
	}
	r.Import, r.Export = term(100), term(200) // the same again, other pointers
	second := configure(b.cfg, r, first)
	if !second.same(first) {
		t.Error("nothing has changed")
	}
	r.Export = term(300)
	if third := configure(b.cfg, r, second); third.same(second) {
		t.Error("the export policy has changed")
	}
	r.Export = nil
	if fourth := configure(b.cfg, r, second); fourth.Export != nil || fourth.same(second) {
		t.Error("the export policy is gone")
	}
	c := *b.cfg
	c.BGP.HoldTime.Duration *= 2
	if fifth := configure(&c, r, second); fifth.same(configure(b.cfg, r, second)) {
		t.Error("the hold time has changed")
	}
}

// A peer that is away gives the same error many times: it is told once, and again
// after a session.
func TestRepeats(t *testing.T) {
	var last repeats
	refused := bgp.Event{Kind: bgp.EventError, Err: errors.New("connection refused")}
	other := bgp.Event{Kind: bgp.EventError, Err: errors.New("hold timer expired")}
	var told []bool
	for _, e := range []bgp.Event{refused, refused, other, refused, refused} {
		told = append(told, !last.seen(e))
	}
	want := []bool{true, false, true, true, false}
	for i := range want {
		if told[i] != want[i] {
			t.Fatalf("told %v, want %v", told, want)
		}
	}
}

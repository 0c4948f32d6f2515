package sessions

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// A reload that changes nothing keeps the policies that the session has; a changed
// one is made anew, and only that.
func TestConfigureKeepsPolicies(t *testing.T) {
	cfg, err := configtest.Sample("hv1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := cfg.Domains[0].Reflectors[0]
	configure := func(c *config.Config, r config.Reflector, old peer) peer {
		p := plan{members: peering.Members(cfg, cfg.Domains[0]), cfg: c}
		return p.peer(r, false, failover.Dead{}, old)
	}
	term := func(pref uint32) config.Policy { return config.Policy{{LocalPref: &pref, Action: "accept"}} }
	r.Import, r.Export = term(100), term(200)
	first := configure(cfg, r, peer{})
	if first.Import == nil || first.Export == nil {
		t.Fatal("no policies")
	}
	r.Import, r.Export = term(100), term(200) // the same again, other pointers
	second := configure(cfg, r, first)
	if !second.same(first) {
		t.Error("nothing has changed")
	}
	r.Export = term(300)
	if third := configure(cfg, r, second); third.same(second) {
		t.Error("the export policy has changed")
	}
	r.Export = nil
	if fourth := configure(cfg, r, second); fourth.Export != nil || fourth.same(second) {
		t.Error("the export policy is gone")
	}
	c := *cfg
	c.BGP.HoldTime.Duration *= 2
	if fifth := configure(&c, r, second); fifth.same(configure(cfg, r, second)) {
		t.Error("the hold time has changed")
	}
}

// The default route that a neighbour is announced keeps its policies as long as nothing changes, has
// GRACEFUL_SHUTDOWN while the host is drained, and goes when all of it is. It is no export policy of other
// routes.
func TestDefaultOriginate(t *testing.T) {
	cfg, err := configtest.Sample("hv1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := cfg.Domains[0].Reflectors[0]
	r.AS = cfg.AS + 1
	p := plan{members: peering.Members(cfg, cfg.Domains[0]), cfg: cfg}
	configure := func(med uint32, d Drain, old peer) peer {
		r.Neighbor = &config.Neighbor{DefaultOriginate: &config.DefaultOriginate{Families: []config.Family{config.IPv4}, Policy: config.Policy{{MED: &med}}}}
		p.drain = d
		return p.peer(r, true, failover.Dead{}, old)
	}
	first := configure(7, DrainOff, peer{})
	if first.Export != nil || first.Default.Policy == nil || first.Default.When != nil || first.Default.Families != wire.Families(wire.IPv4Unicast) {
		t.Fatalf("%+v", first.Default)
	}
	second := configure(7, DrainOff, first)
	if !second.same(first) || !second.Default.Equal(first.Default) {
		t.Error("nothing has changed")
	}
	third := configure(8, DrainOff, second)
	if third.same(second) || third.Default.Equal(second.Default) {
		t.Error("the policy has changed")
	}
	drained := configure(8, DrainOn, third)
	if drained.same(third) || drained.Default.Equal(third.Default) || drained.Default.Families == 0 {
		t.Error("a drain has begun")
	}
	if gone := configure(8, DrainAll, drained); gone.same(drained) || gone.Default.Families != 0 {
		t.Error("everything is drained")
	}
	r.Neighbor = &config.Neighbor{}
	p.drain = DrainOff
	if none := p.peer(r, true, failover.Dead{}, third); none.same(third) || none.Default.Families != 0 {
		t.Error("the key is gone")
	}
}

// A session with another AS has the policies of its entry and no others, so that package bgp
// exchanges nothing without them (RFC 8212, Section 3); one that becomes internal has them all.
func TestExternalNeedsPolicies(t *testing.T) {
	cfg, err := configtest.Sample("hv1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	members := peering.Members(cfg, cfg.Domains[0])
	members[0].Community = 1 // shared: routes are told apart on import
	p := plan{members: members, cfg: cfg}
	r := cfg.Domains[0].Reflectors[0]
	if n := p.peer(r, false, failover.Dead{}, peer{}); n.Import == nil {
		t.Error("an internal session has no import policy of its own")
	}
	r.AS = cfg.AS + 1
	n := p.peer(r, false, failover.Dead{}, peer{})
	if n.Import != nil || n.Export != nil {
		t.Error("an external session without import and export has policies")
	}
	accept := config.Policy{{Action: "accept"}}
	r.Import = accept
	if n = p.peer(r, false, failover.Dead{}, n); n.Import == nil || n.Export != nil {
		t.Error("an external session with import alone")
	}
	r.Export = accept
	if n = p.peer(r, false, failover.Dead{}, n); n.Import == nil || n.Export == nil {
		t.Error("an external session with both")
	}
	r.Import, r.Export = nil, nil
	n = p.peer(r, false, failover.Dead{}, n)
	if r.AS = cfg.AS; p.peer(r, false, failover.Dead{}, n).Import == nil {
		t.Error("a session that became internal")
	}
}

// The lines about a peer that refuses say how often and for how long.
func TestLine(t *testing.T) {
	since := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	refused := errors.New("connection refused")
	for _, c := range []struct {
		event bgp.Event
		want  string
	}{
		{bgp.Event{Kind: bgp.EventError, Err: refused, Failures: 1, Since: since, Time: since}, "WARN BGP [err connection refused]"},
		{bgp.Event{Kind: bgp.EventError, Err: refused, Failures: 14, Repeats: 12, Since: since, Time: since.Add(time.Minute)},
			"WARN BGP [err connection refused repeats 12 failures 14 in 1m0s]"},
		{bgp.Event{Kind: bgp.EventUp, Time: since}, "INFO BGP session up []"},
		{bgp.Event{Kind: bgp.EventUp, Failures: 1, Since: since, Time: since.Add(time.Second)}, "INFO BGP session up [failures 1 in 1s]"},
		{bgp.Event{Kind: bgp.EventUnsendable}, "INFO BGP: all is well again []"},
		{bgp.Event{Kind: bgp.EventNoPolicy}, "INFO BGP session has its policies []"},
		{bgp.Event{Kind: bgp.EventBFDWait, BFDWait: &bgp.BFDWait{}}, "INFO BGP session waits for BFD []"},
		{bgp.Event{Kind: bgp.EventBFDWait}, "DEBUG BGP []"},
		{bgp.Event{Kind: bgp.EventBFDWait, BFDWait: &bgp.BFDWait{}, Failures: 1}, "DEBUG BGP []"},
		{bgp.Event{Kind: bgp.EventNoPolicy, MissingPolicy: bgp.MissingPolicy{Export: true}}, "WARN BGP session exchanges nothing [why no export policy: nothing is announced (RFC 8212)]"},
		{bgp.Event{Kind: bgp.EventRestart, Restart: bgp.RestartWaiting}, "INFO BGP graceful restart [phase waiting]"},
	} {
		level, message, attrs := line(c.event)
		if got := fmt.Sprint(level, " ", message, " ", attrs); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

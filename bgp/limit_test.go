package bgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// limited is a speaker at addr1 with a limit for the one at addr2.
func limited(t *testing.T, c PeerConfig, gr GracefulRestart) (n *bgptest.Network, a, b *node) {
	n = &bgptest.Network{}
	a, b = run(t, n, addr1, Config{GracefulRestart: gr}), run(t, n, addr2, Config{GracefulRestart: gr})
	c.Addr = addr2
	a.peer(c)
	b.peer(PeerConfig{Addr: addr1})
	settle(time.Second)
	return n, a, b
}

// ten returns ten prefixes, each ten others.
func ten(which int) (list []string) {
	for i := range 10 {
		list = append(list, fmt.Sprintf("10.%d.%d.0/24", which, i))
	}
	return list
}

func (n *node) family(addr netip.Addr) FamilyStatus {
	n.t.Helper()
	st, err := n.Peer(PeerKey{Addr: addr})
	if err != nil {
		n.t.Fatal(err)
	}
	return st.Families[0]
}

// limitEvents returns the events of limits since the last call.
func (n *node) limitEvents() (list []*rib.LimitError) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	for e, err := range n.events.All(ctx) {
		if err != nil {
			return list
		}
		if e.Kind == EventPrefixLimit {
			var limit *rib.LimitError
			if !errors.As(e.Err, &limit) || limit.Family != e.Family {
				n.t.Fatalf("%+v", e)
			}
			list = append(list, limit)
		}
	}
	return list
}

func ipv4Limit(l rib.PrefixLimit) map[wire.Family]rib.PrefixLimit {
	return map[wire.Family]rib.PrefixLimit{wire.IPv4Unicast: l}
}

// TestLimitAfterRestart: what is stale does not count, and what the import policy refuses does.
func TestLimitAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gr := GracefulRestart{Enabled: true}
		odd := netip.MustParsePrefix("10.3.0.0/16")
		n, a, b := limited(t, PeerConfig{MaxPrefixes: 15, Import: rib.If(rib.PrefixIn(rib.PrefixRange{Prefix: odd, Max: 32}), rib.RejectAll)}, gr)
		b.originate(ten(1)...)
		settle(time.Second)
		b.kill()
		settle(100 * time.Millisecond)
		if f := a.family(addr2); f.Stale != 10 || f.Counted != 0 {
			t.Fatalf("%+v", f)
		}
		gr.Restarting, gr.ForwardingPreserved, gr.EarlyUpdates = true, true, true
		b = run(t, n, addr2, Config{GracefulRestart: gr})
		b.originate(ten(2)...)
		b.InventoryComplete()
		b.peer(PeerConfig{Addr: addr1})
		settle(10 * time.Second)
		a.mustBe(addr2, Established)
		if f := a.family(addr2); f.Stale != 0 || f.Counted != 10 || f.Paths != 10 {
			t.Fatalf("%+v", f)
		}
		b.originate(ten(3)[:5]...)
		settle(time.Second)
		a.mustBe(addr2, Established)
		if f := a.family(addr2); f.Counted != 15 || f.Paths != 10 || f.Limit != rib.LimitNear {
			t.Fatalf("%+v", f)
		}
		b.originate(ten(3)...)
		settle(time.Second)
		if a.state(addr2) == Established {
			t.Error("15 prefixes are allowed, 20 announced")
		}
	})
}

// TestLimitLetsIn: another limit, or a reset, lets a peer in that stays out. The cause stays
// visible, also when newer errors have come.
func TestLimitLetsIn(t *testing.T) {
	for name, letIn := range map[string]func(a *node) error{
		"limit": func(a *node) error { return a.UpdatePeer(PeerConfig{Addr: addr2, MaxPrefixes: 20}) },
		"none":  func(a *node) error { return a.UpdatePeer(PeerConfig{Addr: addr2}) },
		"hold": func(a *node) error {
			return a.UpdatePeer(PeerConfig{Addr: addr2, MaxPrefixes: 9, MaxPrefixesHold: time.Second})
		},
		"reset": func(a *node) error { return a.Reset(PeerKey{Addr: addr2}, "", false) },
		"range": func(a *node) error {
			return a.UpdateRange(RangeConfig{Prefix: netip.PrefixFrom(addr2, 24), Template: PeerConfig{MaxPrefixes: 20}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &bgptest.Network{}
				a, b := run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
				c := PeerConfig{Addr: addr2, MaxPrefixes: 9, MaxPrefixesHold: time.Hour}
				if name == "range" {
					c.Addr = netip.Addr{}
					if err := a.AddRange(RangeConfig{Prefix: netip.PrefixFrom(addr2, 24), Template: c}); err != nil {
						t.Fatal(err)
					}
				} else {
					a.peer(c)
				}
				b.peer(PeerConfig{Addr: addr1})
				b.originate(ten(1)...)
				settle(time.Minute)
				st, _ := a.Peer(PeerKey{Addr: addr2})
				var limit *rib.LimitError
				if st.State == Established || !errors.As(st.LastLimit, &limit) || limit.Limit != 9 || st.RefusedUntil.Sub(st.LastLimit.Time) != time.Hour {
					t.Fatalf("%+v", st)
				}
				if st.LastError == nil || !st.LastError.Time.After(st.LastLimit.Time) || st.LastError.Sent == nil || st.LastError.Sent.Subcode != wire.SubRejected {
					t.Errorf("the last error is %v", st.LastError)
				}
				if got := a.limitEvents(); len(got) == 0 || !got[len(got)-1].Ends() {
					t.Errorf("events: %v", got)
				}
				if name == "reset" || name == "hold" {
					b.Table().Withdraw(netip.MustParsePrefix(ten(1)[0]), 0)
				}
				if err := letIn(a); err != nil {
					t.Fatal(err)
				}
				settle(10 * time.Second) // b dials again
				a.mustBe(addr2, Established)
				if st, _ := a.Peer(PeerKey{Addr: addr2}); name != "range" && st.LastLimit == nil || !st.RefusedUntil.IsZero() {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// TestLimitBackoff: a peer that announces too much again and again stays out longer and longer,
// also one that comes from a range.
func TestLimitBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
		if err := a.AddRange(RangeConfig{Prefix: netip.PrefixFrom(addr2, 24), Template: PeerConfig{MaxPrefixes: 9}}); err != nil {
			t.Fatal(err)
		}
		b.originate(ten(1)...)
		b.peer(PeerConfig{Addr: addr1, ConnectRetry: time.Second, IdleHold: time.Second})
		var ends []time.Duration
		began := time.Now()
		for len(ends) < 9 && time.Since(began) < 24*time.Hour {
			e := make([]Event, 1)
			if _, err := a.events.Next(context.Background(), e); err != nil {
				t.Fatal(err)
			}
			var p *PeerError
			if e[0].Kind == EventDown && errors.As(e[0].Err, &p) && p.Sent != nil && p.Sent.Subcode == wire.SubMaxPrefixes {
				ends = append(ends, time.Since(began).Round(30*time.Second))
			}
		}
		want := []time.Duration{0, 1, 3, 7, 15, 31, 63, 123, 183}
		for i, d := range ends {
			if d != want[i]*time.Minute {
				t.Fatalf("ends after %v", ends)
			}
		}
		b.Table().Withdraw(netip.MustParsePrefix(ten(1)[0]), 0)
		settle(2 * time.Hour)
		a.mustBe(addr2, Established)
		settle(time.Hour)
		b.originate(ten(1)[0])
		settle(5 * time.Second)
		b.Table().Withdraw(netip.MustParsePrefix(ten(1)[0]), 0)
		if a.state(addr2) == Established {
			t.Error("still Established")
		}
		settle(70 * time.Second) // again a minute
		a.mustBe(addr2, Established)
	})
}

// TestLimitBlocks: what is too much is not taken, and comes once there is room: when the limit
// is raised, or when a tenth is free again.
func TestLimitBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := PeerConfig{PrefixLimits: ipv4Limit(rib.PrefixLimit{Maximum: 10, Action: rib.LimitBlock})}
		_, a, b := limited(t, c, GracefulRestart{})
		b.originate(ten(1)...)
		b.originate(ten(2)...)
		settle(time.Minute)
		a.mustBe(addr2, Established)
		if f := a.family(addr2); f.Paths != 10 || f.Refused[rib.ReasonOverLimit] != 10 || f.Limit != rib.LimitExceeded || f.PrefixLimit.Maximum != 10 {
			t.Fatalf("%+v", f)
		}
		for _, p := range ten(1)[:3] {
			b.Table().Withdraw(netip.MustParsePrefix(p), 0)
		}
		settle(2 * time.Minute)
		if f := a.family(addr2); f.Paths != 10 || f.Limit != rib.LimitExceeded {
			t.Fatalf("without what was withdrawn: %+v", f)
		}
		c.Addr, c.PrefixLimits = addr2, ipv4Limit(rib.PrefixLimit{Maximum: 100, Action: rib.LimitBlock})
		if err := a.UpdatePeer(c); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if f := a.family(addr2); f.Paths != 17 || f.Limit != rib.LimitWithin {
			t.Fatalf("with a higher limit: %+v", f)
		}
		if got := a.limitEvents(); len(got) > 3 {
			t.Errorf("events: %v", got)
		}
	})
}

// TestLimitWarns: a warning takes everything and resets nothing; a limit that is lowered counts
// at once.
func TestLimitWarns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := PeerConfig{PrefixLimits: ipv4Limit(rib.PrefixLimit{Maximum: 10, Threshold: 80, Action: rib.LimitWarn})}
		_, a, b := limited(t, c, GracefulRestart{})
		a.limitEvents()
		b.originate(ten(1)[:8]...)
		settle(time.Second)
		if got := a.limitEvents(); len(got) != 1 || got[0].State != rib.LimitNear || got[0].Count != 8 || got[0].Limit != 10 {
			t.Errorf("events: %v", got)
		}
		b.originate(ten(1)...)
		b.originate(ten(2)...)
		settle(time.Second)
		if got := a.limitEvents(); len(got) != 1 || got[0].State != rib.LimitExceeded || got[0].Action != rib.LimitWarn {
			t.Errorf("events: %v", got)
		}
		if f := a.family(addr2); f.Paths != 20 || f.Limit != rib.LimitExceeded {
			t.Errorf("%+v", f)
		}
		c.Addr, c.PrefixLimits = addr2, nil
		c.MaxPrefixes = 19
		if err := a.UpdatePeer(c); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if a.state(addr2) == Established {
			t.Error("a lower limit does not end the session")
		}
	})
}

// TestLimitConfig: what makes no sense is refused.
func TestLimitConfig(t *testing.T) {
	for _, c := range []PeerConfig{
		{Addr: addr2, MaxPrefixes: -1},
		{Addr: addr2, PrefixLimits: ipv4Limit(rib.PrefixLimit{Maximum: -1})},
		{Addr: addr2, PrefixLimits: ipv4Limit(rib.PrefixLimit{Threshold: 101})},
		{Addr: addr2, PrefixLimits: ipv4Limit(rib.PrefixLimit{PathsPerPrefix: -1})},
	} {
		if _, err := c.withDefaults(false); err == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
	c, err := PeerConfig{Addr: addr2, Families: bothFamilies, MaxPrefixes: 7, PrefixLimits: ipv4Limit(rib.PrefixLimit{Maximum: 9})}.withDefaults(false)
	if err != nil || c.PrefixLimits[wire.IPv4Unicast].Maximum != 9 || c.PrefixLimits[wire.IPv6Unicast].Maximum != 7 {
		t.Errorf("%v, %+v", err, c.PrefixLimits)
	}
}

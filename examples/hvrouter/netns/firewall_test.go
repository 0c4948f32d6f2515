package netns

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/internal/brake"
)

// The firewall is written when it should be another, when another program has changed it, and
// taken away when the configuration has none.
func TestFirewall(t *testing.T) {
	b, c := newBed(t, "hv1.yaml")
	b.SetLink(up(10, "a.public"))
	b.SetAddress(onAddress(10, "198.51.100.101/25", false))
	b.SetLink(up(20, "vm1"))
	b.RepairFirewall()
	g := Guests{List: []config.Guest{c.Guests[0]}, Heard: map[string][]netip.Addr{"vm1": {netip.MustParseAddr("fe80::99")}},
		Found: map[int][]FoundRoute{20: {{netip.MustParsePrefix("203.0.113.96/28"), false}, {netip.MustParsePrefix("203.0.113.80/28"), true}}}}
	b.ApplyFirewall(g)
	b.ApplyFirewall(g)
	if b.firewall.applied != 1 {
		t.Errorf("applied %d times", b.firewall.applied)
	}
	s := b.firewall.last
	if !slices.Contains(s.Guests[0].Neighbors, netip.MustParseAddr("fe80::99")) || !slices.Contains(s.Guests[0].Prefixes, netip.MustParsePrefix("203.0.113.80/28")) {
		t.Errorf("the guest may send: %+v", s.Guests[0])
	}
	if !slices.Equal(s.OnLink, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/25"), netip.MustParsePrefix("203.0.113.96/28")}) {
		t.Errorf("on-link: %v", s.OnLink)
	}
	peer := firewall.Peer{Interface: "a.public", Address: netip.MustParseAddr("198.51.100.126")}
	if !slices.Contains(s.Peers, peer) {
		t.Errorf("peers: %v", s.Peers)
	}
	if !slices.Contains(s.Local, netip.MustParseAddr("198.51.100.101")) || !slices.Contains(s.Local, s.Guests[0].Gateways[0]) {
		t.Errorf("local: %v", s.Local)
	}
	b.RepairFirewall()
	b.firewall.err = errors.New("no")
	b.ApplyFirewall(Guests{})
	if b.firewall.applied != 3 || !slices.Equal(b.log.take(), []string{"firewall-error"}) {
		t.Errorf("applied %d times", b.firewall.applied)
	}
	off := *c
	off.Firewall.Off = true
	b.Configure(&off, &off)
	b.DecideTrust(nil)
	b.ApplyFirewall(g)
	if b.firewall.ended != 1 {
		t.Error("it stands, and is not wanted")
	}
	if drops, err := b.Drops(); drops["spoofed"] != 3 || err != nil {
		t.Errorf("drops: %v, %v", drops, err)
	}
	none := New(Config{Log: slog.New(slog.DiscardHandler), Kernel: &fakeKernel{}})
	none.Configure(c, c)
	none.ApplyFirewall(g)
	none.RepairFirewall()
	none.FollowFirewall(t.Context(), "t", nil)
	none.BalanceFlows(t.Context())
	if drops, err := none.Drops(); len(drops) > 0 || err != nil {
		t.Errorf("without one: %v, %v", drops, err)
	}
}

// A firewall that another program changes again and again is repaired each time, ever later,
// with one line when that begins.
func TestFollowFirewall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := newBed(t, "hv1.yaml")
		b.ApplyFirewall(Guests{})
		b.firewall.changes = make([]time.Duration, 15)
		b.FollowFirewall(t.Context(), c.Firewall.Table, func(f func()) { f() })
		events := b.log.take()
		repairs, contended := 0, 0
		for _, e := range events {
			switch e {
			case "repair":
				repairs++
			case "contended":
				contended++
			}
		}
		if repairs != 15 || contended != 1 || b.firewall.applied != 16 {
			t.Errorf("%d repairs, contended %d times, applied %d times", repairs, contended, b.firewall.applied)
		}
		b.firewall.changes, b.firewall.err = nil, errors.New("no such table")
		b.FollowFirewall(t.Context(), c.Firewall.Table, func(f func()) { f() })
		if events := b.log.take(); !slices.Equal(events, []string{"firewall-error"}) {
			t.Errorf("events: %q", events)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.firewall.crowded = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
		b.BalanceFlows(ctx)
		if events := b.log.take(); !slices.Equal(events, []string{"connections-crowded", "firewall-error"}) {
			t.Errorf("events: %q", events)
		}
	})
}

// What the audit finds is named, counted and repaired; what it cannot read is said once.
func TestAuditFirewall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := newBed(t, "hv1.yaml")
		b.ApplyFirewall(Guests{})
		no := errors.New("no answer")
		b.firewall.audits = []auditResult{{}, {list: []firewall.Difference{{Op: "changed", What: "chain input of inet hvrouter"}, {Op: "missing", What: "set guests of inet hvrouter"}}}, {err: no}, {err: no}, {}, {err: no}}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Minute/2)
		defer cancel()
		b.AuditFirewall(ctx, c.Firewall.Table, 30*time.Second, func(f func()) { f() })
		if events := b.log.take(); !slices.Equal(events, []string{"difference", "difference", "repair", "firewall-error", "firewall-error"}) {
			t.Errorf("events: %q", events)
		}
		counts, recent := b.Differences(start.Add(time.Minute))
		if counts["firewall"] != 2 || !slices.Equal(recent, []string{"changed nftables chain input of inet hvrouter", "missing nftables set guests of inet hvrouter"}) {
			t.Errorf("differences: %v, %q", counts, recent)
		}
		if repairs, _ := b.Repairs(); repairs["firewall"] != 1 || b.firewall.applied != 2 {
			t.Errorf("repairs: %v, applied %d times", repairs, b.firewall.applied)
		}
		off := *c
		off.Firewall.Off = true
		b.Configure(&off, &off)
		b.DecideTrust(nil)
		b.ApplyFirewall(Guests{})
		b.firewall.audits = []auditResult{{list: []firewall.Difference{{Op: "missing", What: "table inet hvrouter"}}}}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		b.AuditFirewall(ctx, c.Firewall.Table, 30*time.Second, func(f func()) { f() })
		if events := b.log.take(); len(events) > 0 || b.firewall.ended != 1 {
			t.Errorf("a firewall that was ended meanwhile: %q", events)
		}
		New(Config{Log: slog.New(slog.DiscardHandler), Kernel: &fakeKernel{}}).AuditFirewall(t.Context(), "t", time.Second, nil)
	})
}

// A program that flushes the ruleset at once after each repair, for a minute: ten repairs
// at once, then ever later, and one in a second in the end. A minute of quiet ends the row.
func TestRepairPause(t *testing.T) {
	var row brake.Brake
	start := time.Now()
	repairs, contended := 0, 0
	now := start
	for now.Before(start.Add(time.Minute)) {
		wait, c := repairPause(&row, now)
		if repairs++; repairs <= 10 && wait != shortestPause || wait > longestPause {
			t.Errorf("repair %d waits %v", repairs, wait)
		}
		if c {
			contended++
		}
		now = now.Add(wait)
	}
	if repairs < 60 || repairs > 75 || contended != 1 {
		t.Errorf("%d repairs in a minute, contended %d times", repairs, contended)
	}
	if wait, _ := repairPause(&row, now.Add(2*time.Minute)); wait != shortestPause {
		t.Errorf("after two minutes of quiet: %v", wait)
	}
}

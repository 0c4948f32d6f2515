package fib

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/fibcore"
)

func TestConfig(t *testing.T) {
	for what, c := range map[string]Config{
		"same protocols":    {Protocol: 202},
		"protocol static":   {Protocol: 4},
		"persistent kernel": {PersistentProtocol: 2},
		"ids overflow":      {NextHopBase: 1<<32 - 1, NextHopCount: 2},
		"negative batch":    {BatchMessages: -1},
		"unknown policy":    {OnForeign: 3},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	f, err := New(Config{NetNS: "/run/netns/does-not-exist-here"}) // not looked at before Run
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "does-not-exist-here") {
		t.Errorf("no such namespace: %v", err)
	}
	if err := f.Run(t.Context()); err != ErrClosed {
		t.Errorf("Run again: %v", err)
	}
}

func TestInvalid(t *testing.T) {
	f, o := stillFIB(Config{Tables: []uint32{90}}, newFake())
	if err := o.sync(); err != nil {
		t.Fatal(err)
	}
	hop := func(gw string, link int) []NextHop {
		return []NextHop{{Gateway: netip.MustParseAddr(gw), IfIndex: link}}
	}
	for want, r := range map[string]Route{
		"prefix":                   {RouteKey: RouteKey{Table: 90}},
		"host bits":                {RouteKey: key(90, "10.0.0.1/8", 0)},
		"not owned":                {RouteKey: key(91, "10.0.0.0/8", 0)},
		"no TOS":                   {RouteKey: RouteKey{Table: 90, Prefix: netip.MustParsePrefix("::/0"), TOS: 4}},
		"no next hops":             {RouteKey: key(90, "10.0.0.0/8", 0)},
		"has no next hops":         {RouteKey: key(90, "10.0.0.0/8", 0), Type: RouteBlackhole, NextHops: hop("10.0.0.1", 2)},
		"route type":               {RouteKey: key(90, "10.0.0.0/8", 0), Type: 77},
		"without link":             {RouteKey: key(90, "10.0.0.0/8", 0), NextHops: hop("10.0.0.1", 0)},
		"weight":                   {RouteKey: key(90, "10.0.0.0/8", 0), NextHops: []NextHop{{IfIndex: 2, Weight: 300}}},
		"over an IPv4 gateway":     {RouteKey: key(90, "::/0", 0), NextHops: hop("10.0.0.1", 2)},
		"IPv4-mapped":              {RouteKey: key(90, "::/0", 0), NextHops: hop("::ffff:10.0.0.1", 2)},
		"source of another family": {RouteKey: key(90, "::/0", 0), NextHops: hop("fd00::1", 2), PrefSrc: netip.MustParseAddr("10.0.0.1")},
	} {
		err := f.SetRoute(r)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrTable) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	for want, r := range map[string]Rule{
		"family 0":       {},
		"another family": {Family: FamilyIPv4, From: netip.MustParsePrefix("fd00::/8")},
		"l3mdev":         {Family: FamilyIPv4, L3MDev: true, Table: 7},
		"backwards":      {Family: FamilyIPv4, Priority: 9, Action: RuleGoto, Target: 9},
		"too long":       {Family: FamilyIPv4, IIF: "abcdefghijklmnop"},
	} {
		if err := f.SetRule(r); err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, ErrInvalid) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	for _, err := range []error{
		f.SetAddress(Address{}), f.SetNeighbor(Neighbor{}), f.SetNeighbor(Neighbor{IfIndex: 1}),
		f.SetSysctl(Sysctl{"kernel/hostname", "x"}), f.SetSysctl(Sysctl{"net/../kernel/hostname", "x"}), f.SetSysctl(Sysctl{"net/ipv4/ip_forward", ""}),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%v", err)
		}
	}
	if f.Stats().Desired != 0 || len(f.Diff()) != 0 {
		t.Errorf("something was accepted: %+v %v", f.Stats(), f.Diff())
	}
}

func TestStrings(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{RouteType(77).String(), "RouteType(77)"},
		{RouteBlackhole.String(), "blackhole"},
		{StateHeld.String(), "held"},
		{EventNextHops.String(), "next-hops"},
		{RouteKey{Table: 9, Prefix: netip.MustParsePrefix("10.0.0.0/8"), TOS: 8}.String(), "10.0.0.0/8 table 9 tos 0x8"},
		{NextHopID(0x48460000).String(), "next-hop object 0x48460000"},
		{RuleAction(9).String(), "RuleAction(9)"},
		{(&Error{Op: "add", Key: key(9, "10.0.0.0/8", 1), Err: ErrForeign, Text: "words"}).Error(), "fib: add 10.0.0.0/8 table 9 metric 1: foreign route under the same key (words)"},
		{Rule{Family: FamilyIPv4, Priority: 1, Not: true, From: netip.MustParsePrefix("10.0.0.0/8"), To: netip.MustParsePrefix("0.0.0.0/0"), TOS: 8, Mark: 1, OIF: "v1",
			UIDs: UIDRange{true, 0, 0}, IPProto: 6, SourcePorts: Range{1, 2}, DestPorts: Range{3, 4}, L3MDev: true}.String(),
			"1: not from 10.0.0.0/8 tos 0x8 fwmark 0x1 oif v1 uidrange 0-0 ipproto 6 sport 1-2 dport 3-4 lookup [l3mdev-table]"},
		{Rule{Family: FamilyIPv4, Priority: 1, Action: RuleGoto, Target: 9}.String(), "1: from all goto 9"},
		{Rule{Family: FamilyIPv4, Priority: 1, Action: RuleUnreachable}.String(), "1: from all unreachable"},
		{Difference{Op: "add", Key: key(9, "10.0.0.0/8", 1), Want: "blackhole"}.String(), "add 10.0.0.0/8 table 9 metric 1: want blackhole, have nothing"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// A watcher that is not read loses events, and says how many.
func TestSlowWatcher(t *testing.T) {
	f, _ := stillFIB(Config{}, newFake())
	w := f.Watch(WatchOptions{Buffer: 3})
	for range 5 {
		f.broadcast(fibcore.Event{Kind: fibcore.EventResync})
	}
	f.broadcast(fibcore.Event{Kind: fibcore.EventWrite})
	events := make([]Event, 10)
	n, err := w.Next(t.Context(), events)
	events = events[:n]
	if err != nil || len(events) != 4 || events[3].Kind != EventLost || events[3].Count != 2 {
		t.Errorf("%v %v", events, err)
	}
	w.Close()
	if _, err := w.Next(t.Context(), make([]Event, 1)); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}

// Dry run: differences are known, nothing is written.
func TestDryRun(t *testing.T) {
	m := newFake()
	f, o := stillFIB(Config{DryRun: true}, m)
	if err := o.sync(); err != nil {
		t.Fatal(err)
	}
	hops := []NextHop{{Gateway: netip.MustParseAddr("10.0.0.2"), IfIndex: 2}, {Gateway: netip.MustParseAddr("10.0.1.2"), IfIndex: 3}}
	_ = f.SetRoute(Route{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: hops})
	_ = f.SetRoute(Route{RouteKey: key(90, "10.2.0.0/16", 0), NextHops: hops[:1]})
	_ = f.SetRule(Rule{Family: FamilyIPv4, Priority: 5, Table: 90})
	_ = f.SetAddress(Address{IfIndex: 2, Prefix: netip.MustParsePrefix("10.9.0.1/24")})
	_ = f.SetNeighbor(Neighbor{IfIndex: 2, Addr: netip.MustParseAddr("10.0.0.2")})
	f.Sweep()
	for range 3 {
		if _, err := o.turn(); err != nil {
			t.Fatal(err)
		}
	}
	if d := f.Diff(); len(d) != 5 {
		t.Errorf("%d differences: %v", len(d), d)
	}
	if len(m.writes) > 0 {
		t.Errorf("wrote %v", m.writes)
	}
	if gs := f.Gateways(); len(gs) != 2 || gs[0].Gateway != hops[0].Gateway || gs[1].IfIndex != 3 {
		t.Errorf("gateways: %v", gs)
	}
}

func key(table uint32, prefix string, metric uint32) RouteKey {
	return RouteKey{Table: table, Prefix: netip.MustParsePrefix(prefix), Metric: metric}
}

package fib

import (
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// The border between the types of this package, which users see, and those of the core.
// Types with the same fields are converted as they are; the others are restated here, and
// nowhere else.

func coreConfig(c Config) fibcore.Config {
	return fibcore.Config{Protocol: c.Protocol, PersistentProtocol: c.PersistentProtocol, Tables: slices.Clone(c.Tables),
		NextHopBase: c.NextHopBase, NextHopCount: c.NextHopCount, RTAMultipath: c.RTAMultipath,
		OnForeign: fibcore.ForeignPolicy(c.OnForeign), DryRun: c.DryRun, Audit: c.Audit, AuditRound: c.AuditRound, BatchMessages: c.BatchMessages}
}

// coreRoute uses the storage of hops.
func coreRoute(r *Route, hops []fibcore.NextHop) fibcore.Route {
	for i := range r.NextHops {
		hops = append(hops, fibcore.NextHop(r.NextHops[i]))
	}
	return fibcore.Route{RouteKey: wire.RouteKey(r.RouteKey), Type: wire.RouteType(r.Type), NextHops: hops, PrefSrc: r.PrefSrc, Scope: wire.Scope(r.Scope),
		MTU: r.MTU, AdvMSS: r.AdvMSS, Persistent: r.Persistent, Buckets: r.Buckets, RTAMultipath: r.RTAMultipath}
}

func routeOf(r *fibcore.Route) Route {
	out := Route{RouteKey: RouteKey(r.RouteKey), Type: RouteType(r.Type), PrefSrc: r.PrefSrc, Scope: Scope(r.Scope),
		MTU: r.MTU, AdvMSS: r.AdvMSS, Persistent: r.Persistent, Buckets: r.Buckets, RTAMultipath: r.RTAMultipath}
	if len(r.NextHops) > 0 {
		out.NextHops = make([]NextHop, len(r.NextHops))
	}
	for i := range r.NextHops {
		out.NextHops[i] = NextHop(r.NextHops[i])
	}
	return out
}

func statusOf(s *fibcore.RouteStatus) RouteStatus {
	return RouteStatus{Route: routeOf(&s.Route), State: RouteState(s.State), Present: s.Present, Active: s.Active, NextHopID: s.NextHopID, Err: errorOf(s.Err)}
}

func learnedOf(r *fibcore.Learned) Learned {
	return Learned{Route: routeOf(&r.Route), Protocol: r.Protocol}
}

func coreRule(r Rule) wire.Rule {
	return wire.Rule{Family: wire.Family(r.Family), Priority: r.Priority, From: r.From, To: r.To, IIF: r.IIF, OIF: r.OIF, Mark: r.Mark, Mask: r.Mask, TOS: r.TOS,
		UIDs: wire.UIDRange(r.UIDs), IPProto: r.IPProto, SourcePorts: wire.Range(r.SourcePorts), DestPorts: wire.Range(r.DestPorts), L3MDev: r.L3MDev, Not: r.Not,
		Action: wire.RuleAction(r.Action), Table: r.Table, Target: r.Target, Suppress: r.Suppress, SuppressLength: r.SuppressLength}
}

func ruleOf(r wire.Rule) Rule {
	return Rule{Family: Family(r.Family), Priority: r.Priority, From: r.From, To: r.To, IIF: r.IIF, OIF: r.OIF, Mark: r.Mark, Mask: r.Mask, TOS: r.TOS,
		UIDs: UIDRange(r.UIDs), IPProto: r.IPProto, SourcePorts: Range(r.SourcePorts), DestPorts: Range(r.DestPorts), L3MDev: r.L3MDev, Not: r.Not,
		Action: RuleAction(r.Action), Table: r.Table, Target: r.Target, Suppress: r.Suppress, SuppressLength: r.SuppressLength}
}

func coreAddress(a Address) wire.Address {
	return wire.Address{IfIndex: a.IfIndex, Prefix: a.Prefix, Scope: wire.Scope(a.Scope), NoPrefixRoute: a.NoPrefixRoute, NoDAD: a.NoDAD}
}

func addressOf(a wire.Address) Address {
	return Address{IfIndex: a.IfIndex, Prefix: a.Prefix, Scope: Scope(a.Scope), NoPrefixRoute: a.NoPrefixRoute, NoDAD: a.NoDAD}
}

// errorOf is an error of the core.
func errorOf(err error) error {
	if e, ok := err.(*fibcore.Error); ok {
		return &Error{Op: e.Op, Key: keyOf(e.Key), Err: e.Err, Text: e.Text}
	}
	return err
}

func eventOf(e *fibcore.Event) Event {
	return Event{Kind: EventKind(e.Kind), Time: e.Time, Op: e.Op, Key: keyOf(e.Key), Reason: Reason(e.Reason), Err: errorOf(e.Err), Link: Link(e.Link),
		Gateway: e.Gateway, Addr: e.Addr, Scope: Scope(e.Scope), Permanent: e.Permanent, Gone: e.Gone, Count: e.Count, Protocol: e.Protocol, Port: e.Port}
}

func differenceOf(d *fibcore.Difference) Difference {
	return Difference{Op: d.Op, Key: keyOf(d.Key), Want: d.Want, Have: d.Have}
}

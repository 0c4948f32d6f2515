package show

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// off is shown instead of the state of a BFD session that does not exist.
const off = "off"

// Sessions shows the BGP sessions of a configuration, with the BFD sessions that belong to them.
func Sessions(c *config.Config, list []sessions.Status, bfds []bfd.Status) (out []api.Session) {
	states := map[bfd.Key]string{}
	for _, s := range bfds {
		states[s.Key] = s.State.String()
	}
	for _, one := range list {
		out = append(out, session(c, one, states))
	}
	return out
}

func session(c *config.Config, one sessions.Status, bfds map[bfd.Key]string) api.Session {
	r, p := one.Reflector, one.Peer
	s := api.Session{Domain: one.Domains, NetNS: string(one.NetNS), Name: r.Name, Fabric: r.Fabric, Interface: r.Interface,
		Local: r.Local.Addr, Peer: r.Peer.Addr, State: p.State.String(), Since: p.Since, BFD: cmp.Or(bfds[peering.BFDKey(one.NetNS, r)], off),
		Restart: p.Restart.String(), Ups: p.Established}
	if n := p.Negotiated; n != nil && n.GracefulRestart {
		s.RestartTime = n.Local.GracefulRestart.Time.String()
	}
	if p.LastError != nil {
		s.Error, s.ErrorAt = what(p.LastError), p.LastError.Time
	}
	if e := p.ListenError; e != nil {
		s.ListenError, s.ListenErrorSince = fmt.Sprintf("cannot listen at %v: %v", e.Addr, e.Err), e.Since
		if e.Peers.IsValid() {
			s.ListenError = fmt.Sprintf("listens at %v without the right key: %v", e.Addr, e.Err)
		}
		if p.State != bgp.Established {
			s.Error, s.ErrorAt = strings.TrimPrefix(s.Error+"; "+s.ListenError, "; "), cmp.Or(s.ErrorAt, e.Since)
		}
	}
	if p.Plain != nil {
		s.Plain = p.Plain.Error()
	}
	s.MissingPolicy = p.MissingPolicy.String()
	if w := p.BFDWait; w != nil {
		s.BFDWait, s.BFDWaitUntil, s.BFDHeldDown = w.Since, w.Until, w.HeldDown
	}
	if one.Disabled != nil {
		s.State, s.Since, s.Disabled, s.DisabledText = "Disabled", one.Disabled.Since, one.Disabled.Since, one.Disabled.Text
	}
	detail(&s, p)
	for _, f := range p.Families {
		if f.Family == wire.RTConstrain && (p.Negotiated == nil || !p.Negotiated.Families.Has(f.Family)) {
			continue // most peers do not take it, and need not
		}
		s.Families = append(s.Families, api.FamilyRoutes{Family: familyName(f.Family), Received: f.Paths, Advertised: one.Advertised[f.Family], Stale: f.Stale, Refused: f.Refused.Total(),
			Counted: f.Counted, Maximum: f.PrefixLimit.Maximum, Limit: f.Limit.String(), Blocked: f.Refused[rib.ReasonOverLimit], NoNextHop: f.NoNextHop, RefusedNotKept: f.NotKept})
	}
	if p.LastLimit != nil {
		s.LimitError, s.LimitErrorAt, s.RefusedUntil = what(p.LastLimit), p.LastLimit.Time, p.RefusedUntil
	}
	for _, hop := range one.NextHops {
		s.NextHops = append(s.NextHops, nextHop(c, r, hop, bfds))
	}
	return s
}

// what returns an error of a session without the peer, which is shown beside it and would fill a
// narrow screen.
func what(err *bgp.PeerError) string {
	return strings.TrimPrefix(err.Error(), fmt.Sprintf("bgp: peer %v: ", err.Peer))
}

func nextHop(c *config.Config, r config.Reflector, w sessions.NextHop, bfds map[bfd.Key]string) api.NextHop {
	out := api.NextHop{Domain: w.Domain, Fabric: w.Fabric, Interface: w.Interface, NextHop4: w.NextHop4.Addr, NextHop6: w.NextHop6.Addr,
		Probe: w.Probe.Addr, BFD: off, Alive: w.Alive}
	if p, ok := peering.Probe(c, c.NetNSOf(r, w.Own), w.NextHop); ok {
		out.BFD = cmp.Or(bfds[p.Key], off)
	}
	return out
}

func familyName(f wire.Family) string {
	switch f {
	case wire.IPv6Unicast:
		return string(config.IPv6)
	case wire.L2VPNEVPN:
		return string(config.L2VPN)
	case wire.RTConstrain:
		return string(config.RTConstrain)
	}
	return string(config.IPv4)
}

// BFD shows BFD sessions. netns names the namespace at a path, echo reports whether a session is
// one by echo, last when it left Up.
func BFD(list []bfd.Status, netns func(path string) string, echo func(bfd.Key) bool, last func(bfd.Key) (time.Time, bfd.Reason)) []api.BFD {
	out := []api.BFD{}
	for _, s := range list {
		down, reason := last(s.Key)
		if s.State == bfd.StateDown && s.Downs > 0 && down.IsZero() { // before this run
			down, reason = s.Since, s.Reason
		}
		out = append(out, api.BFD{LastDown: down, LastDownReason: reason.String(), NetNS: netns(s.NetNS), Local: s.Local, Peer: s.Peer, Interface: s.Interface, State: s.State.String(),
			RemoteState: s.RemoteState.String(), Reason: s.Reason.String(), Discr: s.Discr, RemoteDiscr: s.RemoteDiscr,
			Interval: s.TxInterval.String(), Detect: s.DetectTime.String(), RemoteC: s.RemoteC, Echo: echo(s.Key), Downs: s.Downs, Since: s.Since, Sent: s.Sent, Received: s.Received, Refused: s.Refused, Unsent: s.Unsent})
	}
	slices.SortFunc(out, func(a, b api.BFD) int {
		return cmp.Or(strings.Compare(a.NetNS, b.NetNS), strings.Compare(a.Interface, b.Interface), a.Peer.Compare(b.Peer))
	})
	return out
}

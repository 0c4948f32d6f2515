package peering

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Speaker returns the configuration of a domain's BGP speaker. preserved are the families
// of which the kernel still holds what an earlier run put there. Where it listens its peers say
// ([Peer]), which come and go by reloads.
func Speaker(c *config.Config, d config.Domain, preserved []wire.Family) bgp.Config {
	g := c.BGP.GracefulRestart
	restarting := len(preserved) > 0 && !g.Off
	return bgp.Config{NetNS: d.NetNS.Path(), Interface: d.VRF, AS: c.AS, RouterID: c.RouterID.Addr, Multipath: c.BGP.Multipath * len(Members(c, d)),
		GracefulRestart: bgp.GracefulRestart{
			Enabled: !g.Off, Restarting: restarting, ForwardingPreserved: restarting, PreservedFamilies: preserved,
			RestartTime: g.Time.Duration, DeferralTime: g.Deferral.Duration, LongLivedTime: g.LongLived.Duration,
		}}
}

// keepRefused is how many routes that a peer announces and that are refused are kept for who asks, in each
// family: some 200 octets each as a rule, and at most as much as a message with it has.
const keepRefused = 1000

// Peer returns the configuration of one session. linkLocal is our link-local address
// on its interface, the zero Addr if there is none yet.
func Peer(c *config.Config, r config.Reflector, linkLocal netip.Addr) bgp.PeerConfig {
	p := bgp.PeerConfig{
		Addr: r.Peer.Addr, Port: c.BGP.Port, AS: r.AS, LocalAddr: r.Local.Addr, Interface: r.Interface, Listen: true,
		Description: r.Name, Families: families(r.Families),
		HoldTime: holdTime(c.BGP.HoldTime.Duration), ConnectRetry: c.BGP.ConnectRetry.Duration, IdleHold: c.BGP.IdleHold.Duration,
		TTLSecurity: c.BGP.TTLSecurity, MD5Key: c.BGP.MD5,
		NextHopSelf: true, NextHop6: r.NextHop6.Addr, RestartTime: r.RestartTime.Duration,
		PrefixLimits: limits(r), MaxPrefixesHold: r.PrefixLimit.RestartAfter.Duration, KeepRefused: keepRefused,
	}
	if slices.Contains(p.Families, wire.IPv6Unicast) {
		p.LinkLocal = linkLocal
	}
	if r.MD5 != "" {
		p.MD5Key = r.MD5
	}
	if n := r.Neighbor; n != nil {
		p.TTLSecurity, p.Multihop, p.Passive = n.TTLSecurity, int(n.Multihop), n.Connect == "passive"
		p.EBGP = rib.EBGP{LocalAS: n.LocalAS, LocalASNoPrepend: n.LocalASNoPrepend, LocalASReplaceAS: n.LocalASReplaceAS, Role: n.WireRole()}
		p.RoleStrict, p.AllowOwnAS = n.RoleStrict, int(n.AllowOwnAS)
		if n.Unnumbered() {
			p.Addr = p.Addr.WithZone(r.Interface)
			p.IPv6NextHop = slices.Contains(p.Families, wire.IPv4Unicast)
		}
	}
	if s := cmp.Or(r.BFDStrict, c.BFD.Strict); s != "off" && r.BFD != "off" && c.BFD.Process != "off" {
		p.BFDStrict = fsm.StrictConfig{Enabled: true, Required: s == "required", HoldTime: c.BFD.StrictHoldTime.Duration, HoldDown: c.BFD.StrictHoldDown.Duration}
	}
	// What a reflector asks for is no reason to be silent: it passes on what others ask for, if at all, and not always what
	// all of them do (RFC 4684, Section 3.2).
	p.IgnoreMemberships = slices.Contains(p.Families, wire.RTConstrain)
	if c.BGP.AddPath {
		// Not for EVPN: the route distinguisher keeps the routes of two routers apart.
		p.AddPathReceive = slices.DeleteFunc(slices.Clone(p.Families), func(f wire.Family) bool { return f == wire.L2VPNEVPN || f == wire.RTConstrain })
		if len(r.AdvertiseNextHops) > 1 {
			p.AddPathSend = p.AddPathReceive
		}
	}
	if r.Wide() {
		// Paths over our other links outlive the way to the peer. Those over its own link are not
		// used where there are others over live ones.
		p.OffLinkPrefixes = everywhere
	}
	return p
}

// limits returns the prefix limit of each family of a session.
func limits(r config.Reflector) map[wire.Family]rib.PrefixLimit {
	l := r.PrefixLimit
	limit := rib.PrefixLimit{Maximum: *l.Maximum, PathsPerPrefix: *l.PathsPerPrefix, Threshold: l.Threshold}
	switch l.Action {
	case "warn":
		limit.Action = rib.LimitWarn
	case "block":
		limit.Action = rib.LimitBlock
	}
	out := map[wire.Family]rib.PrefixLimit{}
	for _, f := range families(r.Families) {
		out[f] = limit
	}
	return out
}

// holdTime translates the file's 0s, which is none.
func holdTime(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// everywhere holds every address.
var everywhere = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}

func families(names []config.Family) []wire.Family {
	out := make([]wire.Family, len(names))
	for i, f := range names {
		switch f {
		case config.IPv6:
			out[i] = wire.IPv6Unicast
		case config.L2VPN:
			out[i] = wire.L2VPNEVPN
		case config.RTConstrain:
			out[i] = wire.RTConstrain
		default:
			out[i] = wire.IPv4Unicast
		}
	}
	return out
}

// Path is one path of BGP: its gateway, and the peer it came from.
type Path struct {
	// NextHop is where packets go; a link-local one has no zone: it is on the peer's interface.
	NextHop netip.Addr
	Peer    netip.Addr
	// Rank is that of [rib.Path]: equal for paths that may share traffic, least for the best.
	Rank int
	// Bandwidth is that of the path's link bandwidth community, in octets per second; 0 if it has
	// none.
	Bandwidth float32
}

// Remote returns the paths that did not originate here, best first. It allocates; paths alias
// nothing.
func Remote(paths []rib.Path) (out []Path) {
	for i := range paths {
		if p := &paths[i]; !p.Local {
			out = append(out, Path{NextHop: p.Gateway().WithZone(""), Peer: p.Peer, Rank: p.Rank, Bandwidth: p.Weight})
		}
	}
	return out
}

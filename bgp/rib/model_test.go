package rib

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// The model is the slow, obvious implementation that the table is compared with: it keeps
// the paths in a map and computes everything anew from it.

type modelKey struct {
	peer   *modelPeer
	prefix netip.Prefix
	id     uint32
}

type modelPath struct {
	modelKey
	attrs       wire.PathAttrs
	nh          netip.Addr // not valid: self
	stale       bool
	unconfirmed bool

	out          uint16   // path identifier as sent, once it was seen
	cls, sortKey []uint64 // of the last order
}

type modelPeer struct {
	name     string
	cfg      PeerConfig
	in       *In // nil: local
	external bool

	outCfg OutConfig
	sink   *sink
}

type model struct {
	as, routerID, clusterID uint32
	deferred                bool
	multipath               int
	paths                   map[modelKey]*modelPath
	peers                   []*modelPeer
}

func (p *modelPath) pref() uint32 {
	if p.attrs.LocalPref == nil {
		return 100
	}
	return *p.attrs.LocalPref
}

func (p *modelPath) med() uint32 {
	if p.attrs.MED == nil {
		return 0
	}
	return *p.attrs.MED
}

func (p *modelPath) neighbour() uint32 {
	if len(p.attrs.ASPath) == 0 {
		return 0
	}
	return p.attrs.ASPath[0]
}

func (p *modelPath) identifier() netip.Addr {
	if p.attrs.OriginatorID.IsValid() {
		return p.attrs.OriginatorID
	}
	return p.peer.cfg.RouterID
}

func (p *modelPath) has(c wire.Community) bool { return slices.Contains(p.attrs.Communities, c) }

// steps are what the decision process compares one after the other, lower is better: the
// first five, then step 6, then 7 and 8, then those that only make the order strict.
func (p *modelPath) class() []uint64 {
	return []uint64{no(!p.has(wire.CommunityLLGRStale)), no(p.peer.in == nil), uint64(^p.pref()),
		uint64(len(p.attrs.ASPath)), uint64(p.attrs.Origin)}
}

func no(b bool) uint64 {
	if b {
		return 0
	}
	return 1
}

func num(a netip.Addr) uint64 { return uint64(id32(a)) }

// rank counts the distinct lower MEDs among the paths of equal class and neighbour.
func (p *modelPath) rank(all []*modelPath) uint64 {
	lower := map[uint32]bool{}
	for _, q := range all {
		if slices.Equal(p.cls, q.cls) && q.neighbour() == p.neighbour() && q.med() < p.med() {
			lower[q.med()] = true
		}
	}
	return uint64(len(lower))
}

func (p *modelPath) multipathKey(all []*modelPath) []uint64 {
	return append(slices.Clone(p.cls), p.rank(all), no(p.peer.external), no(!p.stale))
}

func (p *modelPath) key(all []*modelPath) []uint64 {
	return append(p.multipathKey(all), num(p.identifier()), uint64(len(p.attrs.ClusterList)),
		num(p.peer.cfg.Addr), uint64(p.id))
}

// order returns the paths to a prefix, best first.
func (m *model) order(prefix netip.Prefix) []*modelPath {
	var all []*modelPath
	for k, p := range m.paths {
		if k.prefix == prefix {
			all = append(all, p)
		}
	}
	for _, p := range all {
		p.cls = p.class()
	}
	for _, p := range all {
		p.sortKey = p.key(all)
	}
	slices.SortFunc(all, func(a, b *modelPath) int { return slices.Compare(a.sortKey, b.sortKey) })
	return all
}

// selectable leaves out what is deferred.
func (m *model) selectable(all []*modelPath) []*modelPath {
	if !m.deferred {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(p *modelPath) bool { return p.peer.in != nil })
}

// exported returns what a peer is sent of a path, false if nothing.
func (m *model) exported(p *modelPath, to *modelPeer) (wire.PathAttrs, netip.Addr, bool) {
	a, nh := p.attrs, p.nh
	reflected := p.peer.in != nil && !p.peer.external && !to.external
	switch {
	case p.has(wire.CommunityNoAdvertise), p.has(wire.CommunityNoExport) && to.external:
		return a, nh, false
	case p.has(wire.CommunityLLGRStale) && !to.outCfg.LongLived:
		return a, nh, false
	case reflected && !p.peer.cfg.Client && !to.cfg.Client:
		return a, nh, false
	}
	if to.external {
		a.ASPath = append([]uint32{m.as}, a.ASPath...)
		if p.peer.in != nil {
			a.MED = nil
		}
		a.LocalPref, a.OriginatorID, a.ClusterList = nil, netip.Addr{}, nil
	} else if a.LocalPref == nil {
		a.LocalPref = ptr(100)
	}
	if reflected {
		if !a.OriginatorID.IsValid() {
			a.OriginatorID = p.peer.cfg.RouterID
		}
		a.ClusterList = append([]netip.Addr{addr32(m.clusterID)}, a.ClusterList...)
	}
	if to.external || to.outCfg.NextHopSelf {
		nh = netip.Addr{}
	}
	if to.outCfg.Export != nil {
		if a, nh = modelExport(p.prefix, a, nh); len(a.Communities) > 3 {
			return a, nh, false
		}
	}
	if !nh.IsValid() {
		nh = to.outCfg.NextHop4.Addr
		if p.prefix.Addr().Is6() {
			nh = to.outCfg.NextHop6.Addr
		}
	}
	return a, nh, nh.IsValid() && (nh.Is4() == p.prefix.Addr().Is4() || nh.Is6() && to.outCfg.ExtendedNextHop)
}

func ptr(v uint32) *uint32 { return &v }

// exportPolicy and modelExport are one policy, written twice. A path with more than three
// communities is rejected.
func exportPolicy(r *Route) Verdict {
	if r.Prefix.Bits()%2 == 0 {
		r.AddCommunity(wire.NewCommunity(65000, 77))
	}
	if r.LocalPref() == 100 {
		r.SetMED(uint32(r.Prefix.Bits()))
	}
	if r.HasCommunity(wire.NewCommunity(65000, 1)) {
		r.SetNextHop(wire.NextHop{})
	}
	if n := len(r.Attrs().Communities()) / 4; n > 3 {
		return Reject
	}
	return Next
}

func modelExport(prefix netip.Prefix, a wire.PathAttrs, nh netip.Addr) (wire.PathAttrs, netip.Addr) {
	a.Communities = slices.Clone(a.Communities)
	if c := wire.NewCommunity(65000, 77); prefix.Bits()%2 == 0 && !slices.Contains(a.Communities, c) {
		a.Communities = append(a.Communities, c)
	}
	if a.LocalPref == nil || *a.LocalPref == 100 {
		a.MED = ptr(uint32(prefix.Bits()))
	}
	if slices.Contains(a.Communities, wire.NewCommunity(65000, 1)) {
		nh = netip.Addr{}
	}
	return a, nh
}

// adjOut returns, as a sorted list, the attributes with which a peer should have a prefix.
func (m *model) adjOut(prefix netip.Prefix, to *modelPeer) (list []string) {
	n := 0
	for _, p := range m.selectable(m.order(prefix)) {
		addPath := to.outCfg.AddPath.Has(familyNo(prefix))
		if a, nh, ok := m.exported(p, to); ok {
			n++
			if p.peer != to {
				id := uint32(0)
				if addPath {
					id = uint32(p.out)
				}
				list = append(list, sent(id, describe(a.Append(nil), wire.NextHop{Addr: nh})))
			}
		}
		if !addPath || to.outCfg.AddPathLimit > 0 && n == to.outCfg.AddPathLimit {
			break
		}
	}
	slices.Sort(list)
	return list
}

func sent(id uint32, text string) string { return fmt.Sprintf("#%d %s", id, text) }

// multipathSet returns the best multipath set, with distinct next hops.
func (m *model) multipathSet(prefix netip.Prefix) (list []*modelPath) {
	all := m.selectable(m.order(prefix))
	for _, p := range all {
		if slices.Compare(p.multipathKey(all), all[0].multipathKey(all)) != 0 || len(list) == m.multipath {
			break
		}
		same := func(q *modelPath) bool { return q.nh == p.nh && p.peer.in != nil }
		if !slices.ContainsFunc(list, same) {
			list = append(list, p)
		}
	}
	return list
}

// randomAttrs draws attributes from so few values that steps of the decision process tie.
func randomAttrs(r *rand.Rand, ibgp bool) wire.PathAttrs {
	a := wire.PathAttrs{Origin: wire.Origin(r.IntN(2))}
	for range r.IntN(3) {
		a.ASPath = append(a.ASPath, uint32(64500+r.IntN(3)))
	}
	if !ibgp {
		a.ASPath = append([]uint32{65001}, a.ASPath...)
	}
	if ibgp && r.IntN(4) > 0 {
		a.LocalPref = ptr(uint32(100 + 100*r.IntN(2)))
	}
	if r.IntN(2) == 0 {
		a.MED = ptr(uint32(r.IntN(4)))
	}
	for c := range r.IntN(4) {
		a.Communities = append(a.Communities, wire.NewCommunity(65000, uint16(c)))
	}
	if r.IntN(16) == 0 {
		special := []wire.Community{wire.CommunityNoAdvertise, wire.CommunityNoExport, wire.CommunityNoLLGR, wire.CommunityLLGRStale}
		a.Communities = append(a.Communities, special[r.IntN(len(special))])
	}
	if ibgp && r.IntN(3) == 0 {
		a.OriginatorID = netip.AddrFrom4([4]byte{9, 9, 9, byte(r.IntN(3))})
		for range r.IntN(3) {
			a.ClusterList = append(a.ClusterList, netip.AddrFrom4([4]byte{8, 8, 8, byte(r.IntN(3))}))
		}
	}
	return a
}

func cmpNLRI(a, b wire.NLRI) int {
	return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.PathID, b.PathID))
}

func (p *modelPath) String() string {
	return fmt.Sprintf("[%s #%d stale=%v %s]", p.peer.name, p.id, p.stale, describe(p.attrs.Append(nil), wire.NextHop{Addr: p.nh}))
}

package rib

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// The model is the slow, obvious implementation that the table is compared with: it keeps
// the paths in a map and computes everything anew from it.
type model struct {
	as, routerID, clusterID uint32
	deferred, held          bool
	allMED                  bool
	multipath               int
	paths                   map[modelKey]*modelPath
	local                   *modelPeer
}

type modelKey struct {
	peer   *modelPeer
	prefix netip.Prefix
	id     uint32
}

type modelPath struct {
	modelKey
	attrs       wire.PathAttrs
	nh          wire.NextHop // without Addr: self
	stale       bool
	twice       bool // stale since before the last restart
	unconfirmed bool
	failed      bool // kept by DropRedundant
	moved       bool // not advertised

	out          uint16   // path identifier as sent, once it was seen
	cls, sortKey []uint64 // of the last order
}

type modelPeer struct {
	name     string
	cfg      PeerConfig
	imports  *rule
	in       *In // nil: local
	external bool
	own      [2]netip.Addr     // our addresses of the last session
	refused  map[modelKey]bool // announced in this session, but refused; true if it awaits confirmation
	kept     map[modelKey]bool // the same for In.Refused: with and without a limit, and what is beyond it
	blocked  int               // announcements beyond the limit
	sink     *sink             // nil without a session
	outCfg   OutConfig         // of the session, or the last
	border   EBGP              // when that was configured
	exports  *rule
	when     *rule // of the default route
	shape    *rule // of the default route
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

// class is what steps 1 to 5 of the decision process compare, lower is better.
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
func (p *modelPath) rank(all []*modelPath, allMED bool) uint64 {
	lower := map[uint32]bool{}
	for _, q := range all {
		if slices.Equal(p.cls, q.cls) && (allMED || q.neighbour() == p.neighbour()) && q.med() < p.med() {
			lower[q.med()] = true
		}
	}
	return uint64(len(lower))
}

// multipathKey is what steps 1 to 8 compare, key all of them.
func (p *modelPath) multipathKey(all []*modelPath, allMED bool) []uint64 {
	return append(slices.Clone(p.cls), p.rank(all, allMED), no(p.peer.external), no(!p.stale), no(!p.moved))
}

func (p *modelPath) key(all []*modelPath, allMED bool) []uint64 {
	addr := p.peer.cfg.Addr.As16()
	return append(p.multipathKey(all, allMED), num(p.identifier()), uint64(len(p.attrs.ClusterList)), uint64(p.peer.cfg.Addr.BitLen()),
		binary.BigEndian.Uint64(addr[:8]), binary.BigEndian.Uint64(addr[8:]), uint64(p.id))
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
		p.sortKey = p.key(all, m.allMED)
	}
	slices.SortFunc(all, func(a, b *modelPath) int { return slices.Compare(a.sortKey, b.sortKey) })
	return all
}

// of returns the paths of a peer and family.
func (m *model) of(p *modelPeer, fam wire.Family) (list []*modelPath) {
	for k, path := range m.paths {
		if k.peer == p && familyNo(k.prefix) == fam {
			list = append(list, path)
		}
	}
	return list
}

func (m *model) drop(p *modelPath) { delete(m.paths, p.modelKey) }

// counted returns how many announcements of a session count against a limit, and how many of
// one prefix.
func (m *model) counted(p *modelPeer, prefix netip.Prefix) (all, same int) {
	count := func(k modelKey) {
		if k.peer != p || familyNo(k.prefix) != familyNo(prefix) {
			return
		}
		if all++; k.prefix == prefix {
			same++
		}
	}
	for k, x := range m.paths {
		if !x.stale {
			count(k)
		}
	}
	for k := range p.refused {
		count(k)
	}
	return all, same
}

// announce takes in what a peer announces. It reports false if the session is to be ended.
func (m *model) announce(p *modelPeer, n wire.NLRI, a wire.PathAttrs, nh wire.NextHop) bool {
	k := modelKey{p, n.Prefix, n.PathID}
	limit := p.cfg.Limits[familyNo(n.Prefix)]
	_, known := p.refused[k]
	if old := m.paths[k]; old != nil && !old.stale {
		known = true
	}
	all, same := m.counted(p, n.Prefix)
	beyond := !known && (limit.Maximum > 0 && all >= limit.Maximum || limit.PathsPerPrefix > 0 && same >= limit.PathsPerPrefix)
	taken := m.take(p, k, a, nh, beyond && limit.Action != LimitWarn)
	if delete(p.kept, k); !taken || beyond && limit.Action != LimitWarn {
		p.kept[k] = false
	}
	switch {
	case beyond && limit.Action != LimitWarn:
		if taken {
			p.blocked++
		}
		return limit.Action == LimitBlock
	case taken || !limit.active():
		delete(p.refused, k)
	default:
		p.refused[k] = false
	}
	return true
}

// take decides on a path. It reports false if it is refused for a reason other than the limit.
func (m *model) take(p *modelPeer, k modelKey, a wire.PathAttrs, nh wire.NextHop, beyond bool) bool {
	old := m.paths[k]
	delete(m.paths, k)
	defer m.showMoved()
	r := &modelRoute{prefix: k.prefix, attrs: a, nh: nh}
	switch {
	case a.OriginatorID.IsValid() && id32(a.OriginatorID) == m.routerID, slices.Contains(a.ClusterList, addr32(m.clusterID)):
		return false
	case times(a.ASPath, m.as) > p.cfg.AllowOwnAS, nh.Addr.IsValid() && slices.Contains(p.own[:], nh.Addr):
		return false
	case nh.Addr.Is6() && nh.Addr.IsLinkLocalUnicast() && !p.cfg.Addr.IsLinkLocalUnicast():
		return false
	case p.external && !m.eligible(p, &r.attrs):
		return false
	case p.imports != nil && p.imports.model(r) == VerdictReject:
		return false
	case beyond:
		return true
	}
	if p.external && slices.Contains(r.attrs.Communities, wire.CommunityGracefulShutdown) {
		r.attrs.LocalPref = ptr(0)
	}
	x := &modelPath{modelKey: k, attrs: r.attrs, nh: r.nh}
	if old != nil {
		x.out = old.out
	}
	m.enter(x, old == nil)
	return true
}

// enter enters a path, in place of those which others have kept as the last ones. If a client adds
// it, stale ones of other clients that are not better have moved.
func (m *model) enter(x *modelPath, added bool) {
	m.paths[x.modelKey] = x
	maps.DeleteFunc(m.paths, func(k modelKey, p *modelPath) bool {
		return k.prefix == x.prefix && k.peer != x.peer && p.failed
	})
	for k, p := range m.paths {
		if k.prefix == x.prefix && k.peer != x.peer && added && p.stale && x.peer.reflected() && p.peer.reflected() && slices.Compare(x.class(), p.class()) <= 0 {
			p.moved = true
		}
	}
	m.showMoved()
}

// showMoved takes back what has nowhere to have moved to: no path as good of a client, or ours; and what is
// best all the same.
func (m *model) showMoved() {
	var back []*modelPath
	for _, p := range m.paths {
		if !p.moved {
			continue
		}
		all := m.order(p.prefix)
		if all[0].moved || !slices.ContainsFunc(all, func(q *modelPath) bool {
			return !q.moved && !q.failed && (q.peer.in == nil || q.peer.reflected()) && slices.Compare(q.class(), p.class()) <= 0
		}) {
			back = append(back, p)
		}
	}
	for _, p := range back {
		p.moved = false
	}
}

// reflected reports whether a peer is a client of the route reflector.
func (p *modelPeer) reflected() bool { return p.in != nil && p.cfg.Client && !p.external }

func times(path []uint32, as uint32) (n int) {
	for _, x := range path {
		if x == as {
			n++
		}
	}
	return n
}

func (m *model) withdraw(p *modelPeer, n wire.NLRI) {
	k := modelKey{p, n.Prefix, n.PathID}
	delete(m.paths, k)
	delete(p.refused, k)
	delete(p.kept, k)
	m.showMoved()
}

// forgetRefused forgets what was refused in a session that ended, of one family.
func (p *modelPeer) forgetRefused(fam wire.Family) {
	for _, all := range []map[modelKey]bool{p.refused, p.kept} {
		maps.DeleteFunc(all, func(k modelKey, _ bool) bool { return familyNo(k.prefix) == fam })
	}
}

func (m *model) markStale(p *modelPeer, fam wire.Family) {
	defer m.showMoved()
	p.forgetRefused(fam)
	for _, x := range m.of(p, fam) {
		if x.stale && !x.twice {
			m.drop(x)
		}
		x.stale = true
	}
}

func (m *model) markLongLived(p *modelPeer, fam wire.Family) {
	defer m.showMoved()
	for _, x := range m.of(p, fam) {
		switch {
		case !x.stale:
		case x.has(wire.CommunityNoLLGR):
			m.drop(x)
		default:
			if !x.has(wire.CommunityLLGRStale) {
				x.twice = false
			}
			x.attrs.Communities = with(x.attrs.Communities, wire.CommunityLLGRStale)
		}
	}
}

func (m *model) sweep(p *modelPeer, fam wire.Family) {
	defer m.showMoved()
	for _, x := range m.of(p, fam) {
		if x.stale {
			m.drop(x)
		}
	}
}

func (m *model) beginRefresh(p *modelPeer, fam wire.Family) {
	for _, x := range m.of(p, fam) {
		x.unconfirmed = true
	}
	for _, all := range []map[modelKey]bool{p.refused, p.kept} {
		for k := range all {
			if familyNo(k.prefix) == fam {
				all[k] = true
			}
		}
	}
}

func (m *model) endRefresh(p *modelPeer, fam wire.Family) {
	defer m.showMoved()
	for _, x := range m.of(p, fam) {
		if x.unconfirmed {
			m.drop(x)
		}
	}
	for _, all := range []map[modelKey]bool{p.refused, p.kept} {
		maps.DeleteFunc(all, func(k modelKey, unconfirmed bool) bool { return familyNo(k.prefix) == fam && unconfirmed })
	}
}

func (m *model) dropAll(p *modelPeer, fam wire.Family) {
	defer m.showMoved()
	p.forgetRefused(fam)
	for _, x := range m.of(p, fam) {
		m.drop(x)
	}
}

// fails drops the paths over a way that is dead, all or only those that another peer offers, too.
func (m *model) fails(p *modelPeer, fam wire.Family, all bool, except []netip.Prefix) {
	defer m.showMoved()
	for _, x := range m.of(p, fam) {
		if slices.ContainsFunc(except, func(n netip.Prefix) bool { return n.Contains(x.nh.Addr) }) {
			continue
		}
		other := func(q *modelPath) bool { return q.peer != p && !q.stale }
		if all || slices.ContainsFunc(m.order(x.prefix), other) {
			m.drop(x)
		} else {
			x.failed = true
		}
	}
}

// selectable leaves out what is deferred.
func (m *model) selectable(all []*modelPath) []*modelPath {
	if !m.deferred {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(p *modelPath) bool { return p.peer.in != nil })
}

// exported returns what a peer is sent of a path, false if nothing.
func (m *model) exported(p *modelPath, to *modelPeer) (wire.PathAttrs, wire.NextHop, bool) {
	a, nh := p.attrs, p.nh
	reflected := p.peer.in != nil && !p.peer.external && !to.external
	switch {
	case p.moved:
		return a, nh, false
	case p.has(wire.CommunityNoAdvertise), (p.has(wire.CommunityNoExport) || p.has(wire.CommunityNoExportSubconfed)) && to.external:
		return a, nh, false
	case to.external && otc(&a) != 0 && (to.border.Role == wire.RoleCustomer || to.border.Role == wire.RolePeer || to.border.Role == wire.RoleRSClient):
		return a, nh, false
	case p.has(wire.CommunityLLGRStale) && !to.outCfg.LongLived:
		return a, nh, false
	case reflected && !p.peer.cfg.Client && !to.cfg.Client:
		return a, nh, false
	}
	if p.peer.in != nil {
		nh.LinkLocal = netip.Addr{} // good on its own link only
	}
	if to.external {
		m.border(&a, to)
		if p.peer.in != nil {
			a.MED = nil
			a.ExtCommunities = slices.DeleteFunc(slices.Clone(a.ExtCommunities), func(c wire.ExtCommunity) bool { return c>>62&1 == 1 })
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
	if to.outCfg.NextHopSelf || to.external && !keeps(nh.Addr, to) {
		nh = wire.NextHop{}
	}
	if to.exports != nil {
		r := &modelRoute{prefix: p.prefix, attrs: a, nh: nh, local: p.peer.in == nil}
		if to.exports.model(r) == VerdictReject {
			return a, nh, false
		}
		a, nh = r.attrs, r.nh
	}
	a, nh, ok := m.sendable(p.prefix, a, nh, to)
	if p.peer.in != nil && nh.Addr.Is6() && nh.Addr.IsLinkLocalUnicast() && !nh.LinkLocal.IsValid() && !slices.Contains(to.own[:], nh.Addr) {
		ok = false // good on its own link only
	}
	return a, nh, ok
}

// sendable fills in the next hop, and decides whether a message can be made of it.
func (m *model) sendable(prefix netip.Prefix, a wire.PathAttrs, nh wire.NextHop, to *modelPeer) (wire.PathAttrs, wire.NextHop, bool) {
	if !nh.Addr.IsValid() {
		nh = to.outCfg.NextHop4
		if prefix.Addr().Is6() {
			nh = to.outCfg.NextHop6
		}
	}
	room := 4096
	if to.outCfg.ExtendedMessages {
		room = 65535
	}
	return a, nh, messageLen(prefix, a, nh, to) <= room && nh.Addr.IsValid() && (nh.Addr.Is4() == prefix.Addr().Is4() || nh.Addr.Is6() && to.outCfg.ExtendedNextHop)
}

// messageLen is the length of an UPDATE that announces one prefix.
func messageLen(prefix netip.Prefix, a wire.PathAttrs, nh wire.NextHop, to *modelPeer) int {
	n := 19 + 2 + 2 + len(a.Append(nil)) + 1 + (prefix.Bits()+7)/8
	if !to.outCfg.AS4 {
		n -= 2 * len(a.ASPath)
		if slices.ContainsFunc(a.ASPath, func(as uint32) bool { return as > 0xffff }) {
			n += 3 + 2 + 4*len(a.ASPath) // AS4_PATH
		}
	}
	if to.outCfg.AddPath.Has(familyNo(prefix)) {
		n += 4
	}
	switch {
	case nh.Addr.Is4() && prefix.Addr().Is4():
		return n + 3 + 4
	case nh.Addr.Is4():
		return n + 4 + 5 + 4
	case nh.LinkLocal.IsValid():
		return n + 4 + 5 + 32
	}
	return n + 4 + 5 + 16
}

func ptr(v uint32) *uint32 { return &v }

// adjOut returns, as a sorted list, the attributes with which a peer should have a prefix.
func (m *model) adjOut(prefix netip.Prefix, to *modelPeer) (list []string) {
	if !to.outCfg.Families.Has(familyNo(prefix)) {
		return nil
	}
	addPath := to.outCfg.AddPath.Has(familyNo(prefix))
	if text, ok := m.defaultRoute(prefix, to); ok {
		if addPath {
			return []string{sent(1, text)}
		}
		return []string{sent(0, text)}
	}
	n := 0
	for _, p := range m.selectable(m.order(prefix)) {
		if a, nh, ok := m.exported(p, to); ok {
			n++
			if p.peer != to {
				id := uint32(0)
				if addPath {
					id = uint32(p.out)
				}
				list = append(list, sent(id, describe(a.Append(nil), nh)))
			}
		}
		if !addPath || to.outCfg.AddPathLimit > 0 && n == to.outCfg.AddPathLimit {
			break
		}
	}
	slices.Sort(list)
	return list
}

// defaultRoute returns with what a peer should have a default route that is originated for it.
func (m *model) defaultRoute(prefix netip.Prefix, to *modelPeer) (text string, ok bool) {
	fam := familyNo(prefix)
	if prefix.Bits() != 0 || !to.outCfg.Default.Families.Has(fam) {
		return "", false
	}
	met := to.when == nil
	for k := range m.paths {
		if met || familyNo(k.prefix) != fam {
			continue
		}
		best := m.order(k.prefix)[0]
		r := &modelRoute{prefix: k.prefix, attrs: best.attrs, nh: best.nh, local: best.peer.in == nil}
		met = (r.local || !m.deferred) && to.when.model(r) != VerdictReject
	}
	if !met {
		return "", false
	}
	x := *to
	x.exports = to.shape
	a, nh, ok := m.exported(&modelPath{modelKey: modelKey{peer: m.local, prefix: prefix}}, &x)
	return describe(a.Append(nil), nh), ok
}

func sent(id uint32, text string) string { return fmt.Sprintf("#%d %s", id, text) }

// gateway is where packets go: on a session over link-local addresses to the link-local next hop, on
// the interface of the session.
func (p *modelPath) gateway() (a netip.Addr) {
	if a = p.nh.Addr; !strings.HasPrefix(p.peer.cfg.Addr.String(), "fe80") {
		return a
	}
	if p.nh.LinkLocal.IsValid() {
		a = p.nh.LinkLocal
	}
	if strings.HasPrefix(a.String(), "fe80") {
		a = a.WithZone(p.peer.cfg.Addr.Zone())
	}
	return a
}

// multipathSet returns the best multipath set, with distinct gateways.
func (m *model) multipathSet(prefix netip.Prefix) (list []*modelPath) {
	all := m.selectable(m.order(prefix))
	for _, p := range all {
		if slices.Compare(p.multipathKey(all, m.allMED), all[0].multipathKey(all, m.allMED)) != 0 || len(list) == m.multipath {
			break
		}
		same := func(q *modelPath) bool { return q.gateway() == p.gateway() && p.peer.in != nil }
		if !slices.ContainsFunc(list, same) {
			list = append(list, p)
		}
	}
	return list
}

func cmpNLRI(a, b wire.NLRI) int {
	return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.PathID, b.PathID))
}

func (p *modelPath) String() string {
	return fmt.Sprintf("[%s #%d stale=%v %s]", p.peer.name, p.id, p.stale, describe(p.attrs.Append(nil), p.nh))
}

package rib

import (
	"net/netip"
	"slices"
	"unsafe"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// groupKey is everything that shapes what is sent to a peer, except who the peer is.
type groupKey struct {
	families, addPath wire.FamilySet  // Families and AddPath
	limit             int             // AddPathLimit
	as4, long, mixed  bool            // AS4, ExtendedMessages, ExtendedNextHop
	longLived, self   bool            // LongLived; NextHopSelf, or an eBGP peer
	defaultOnly       bool            // DefaultMembership
	ignore            bool            // IgnoreMemberships
	nextHop           [2]wire.NextHop // NextHop4 and NextHop6
	external, client  bool            // an eBGP peer; a route reflector client
	as                uint32          // of an eBGP peer
	ebgp              exportKey       // of an eBGP peer
	export            unsafe.Pointer  // identity of the Export func value
	defaults          defaultKey      // Default
}

func keyOf(in *In, c OutConfig) groupKey {
	k := groupKey{families: c.Families, addPath: c.AddPath & c.Families, limit: c.AddPathLimit,
		as4: c.AS4, long: c.ExtendedMessages, mixed: c.ExtendedNextHop, longLived: c.LongLived,
		self: c.NextHopSelf || in.external, defaultOnly: c.DefaultMembership, ignore: c.IgnoreMemberships, nextHop: [2]wire.NextHop{c.NextHop4, c.NextHop6},
		external: in.external, client: in.client}
	if in.external {
		k.as, k.ebgp = in.as, in.ebgp.exportKey()
		if c.NextHopSelf {
			k.ebgp.unchanged, k.ebgp.thirdParty = false, ""
		}
		if k.ebgp.unchanged || k.ebgp.thirdParty != "" {
			k.ebgp.peer = in.addr.WithZone("")
		}
	}
	k.export = identity(c.Export)
	k.defaults = c.Default.key(c.Families)
	return k
}

// group is an update group: the Adj-RIB-Out that sessions with one export view share.
//
// It hears of changed destinations like any reader. When a session that has sent
// everything asks for more, produce looks at what is dirty, compares what should be
// advertised with what is, and encodes the differences, packed by attribute set,
// into a chunk that all members copy from, each at its own pace. A member that
// would keep too many chunks alive is left behind: it gets a dirty set of its
// own and reads from what the group advertises until it has caught up.
//
// No path is sent back to the peer that it came from, and yet the members share messages: a
// message holds paths of one peer only, and that peer's session leaves it out.
type group struct {
	reader
	t           *Table         // the table, whose mutex guards the group
	key         groupKey       // what all members have in common
	who         uint32         // identity, for attrStore.change
	export      Policy         // changes or refuses what is advertised
	defaults    defaults       // default routes that it originates
	members     []*Out         // sessions that are open
	lagging     int            // members that are behind
	thirdParty  []netip.Prefix // see EBGP
	constrained bool           // EVPN routes go only to members that want them: see filter
	sole        *In            // the only member so far: its own paths are not even considered

	round   uint64  // how often a member has begun to wait for a notification
	told    uint64  // round when all were notified last
	demand  demand  // members by what they want, if the group is constrained
	carried carried // what is advertised by route target, if the group is constrained

	adverts    adverts    // what is advertised: after each chunk, what its members know
	unsendable unsendable // destinations whose attributes fit into no message

	chunks  []*chunk // those that a member still needs are chunks[first:]
	first   int      // index of the oldest chunk that a member still needs
	base    uint64   // sequence number of chunks[first]
	backlog int      // octets in them
}

// maxBacklog bounds the octets that wait for the slowest member of a group. It is a few
// times what fits into a socket's send buffer.
const maxBacklog = 4 << 20

// groupFor finds the group of a session, or makes it.
func (t *Table) groupFor(in *In, c OutConfig) *group {
	key := keyOf(in, c)
	for _, g := range t.groups {
		if g.key == key {
			return g
		}
	}
	t.lastWho++
	g := &group{t: t, key: key, who: t.lastWho, export: c.Export, sole: in, constrained: c.constrained()}
	g.defaults = defaults{families: key.defaults.families, when: c.Default.When, policy: c.Default.Policy}
	if key.ebgp.thirdParty != "" {
		g.thirdParty = slices.Clone(in.ebgp.ThirdParty)
	}
	for f, fam := range families {
		if key.addPath != 0 || f == constraintFamily && !key.client && !key.external { // see bestFor
			g.interest[f] = levelAny
		}
		g.families[f] = key.families.Has(fam)
		g.single[f] = key.addPath.Has(fam) && key.limit == 0
	}
	g.reader.wake = g.wakeAll
	if g.constrained {
		g.reader.wakeFor = g.wakeFor
	}
	t.groups = append(t.groups, g)
	t.readers = append(t.readers, &g.reader)
	for left := key.families; left != 0; left = left.Without(firstOf(left)) {
		fam := firstOf(left)
		for id := t.prefixes.next(fam, 0); id != 0; id = t.prefixes.next(fam, id+1) {
			if !g.originatesAt(id) {
				g.put(t, id)
			}
		}
	}
	g.putDefaults() // last: whether their condition holds is known then
	return g
}

// dropGroup forgets a group without members. Nobody can find it any more, so the mutex may be
// let go now and then.
func (t *Table) dropGroup(g *group) {
	t.dropReader(&g.reader)
	t.groups = slices.DeleteFunc(t.groups, func(x *group) bool { return x == g })
	g.clear(t)
	for f := range families {
		n := 0
		for id := g.adverts.next(f, 0); id != 0; id = g.adverts.next(f, id+1) {
			for a := range g.adverts.of(id) {
				t.attrs.release(a.attr)
			}
			g.adverts.forget(id)
			t.unpin(id)
			if n++; n%slabSize == 0 {
				t.mu.Unlock()
				t.mu.Lock()
			}
		}
	}
	t.attrs.forget(g.who)
}

// wakeAll notifies the members that there is something to send.
func (g *group) wakeAll() {
	if g.told == g.round { // nobody has begun to wait since
		return
	}
	g.told = g.round
	for _, o := range g.members {
		o.wake()
	}
}

// join adds a session. The first one follows from the start; others first catch up with
// what the group advertises already.
func (g *group) join(o *Out) {
	if len(g.members) > 0 {
		g.admitAll(o.in)
		o.behind = true
		g.lagging++
		o.dump = dump{families: g.key.families}
		if g.constrained && o.constraint.want != nil && !o.constraint.ready { // it wants nothing yet
			o.dump.families = o.dump.families.Without(wire.L2VPNEVPN)
		}
	} else {
		o.seq = g.tail()
	}
	g.members = append(g.members, o)
	g.admit(o)
	o.eor = eorFresh
}

// admitAll ends the time of the sole member, if another one comes: its own paths count from
// now on.
func (g *group) admitAll(newcomer *In) {
	if g.sole == nil || g.sole == newcomer {
		return
	}
	in := g.sole
	g.sole = nil
	for f := range in.lists {
		if !g.families[f] {
			continue
		}
		for id := in.lists[f].head; id != 0; id = g.t.paths.at(id).later {
			p := g.t.paths.at(id)
			g.t.tell(&g.reader, p.dest, p.out)
		}
	}
}

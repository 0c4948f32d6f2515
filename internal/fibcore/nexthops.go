package fibcore

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// nexthops are the next-hop objects and groups, desired and in the kernel.
type nexthops struct {
	env    *env
	links  *links
	idFree func(id uint32) // forgets the forms of a next-hop id that is no more

	base, count, cursor uint32
	proto               uint8 // ours
	serial              uint64

	byKey  map[objectKey]*object
	byID   map[uint32]*object
	hops   map[uint32]hop
	groups map[string]*group
	kernel map[uint32]*kernelGroup
	// Where to look for leftovers: the groups of kernel without owner, and the ids of which collect
	// has to look whether they are in use.
	unowned map[uint32]*kernelGroup
	idle    map[uint32]struct{}
	// The ids of byID whose object the kernel has not as it should be, and those of which list does
	// not know yet.
	lacking  map[uint32]struct{}
	unlisted map[uint32]struct{}
	dirty    []*group
	// Where to look when a next hop comes or goes: there may be one for each host of a fleet,
	// and all of a link go at once.
	wanting  sets[gatewayKey, *group]   // groups, by the next hops that they want
	using    sets[uint32, *kernelGroup] // the kernel's groups, by the ids of their members; reshape changes it
	down     map[gatewayKey]bool
	toDelete []*object                          // to delete at once
	strays   brake.Table[uint32]                // of the deletion of what others make in our range, with our protocol number
	probes   map[wire.NeighborKey]wire.Neighbor // to be looked for again, see Core.Probe
	vanished bool                               // routes may have a group that does not exist any more
	version  uint64                             // counts what changes in the kernel
	// garbage says that collect may find something.
	garbage bool
	// changed says that NextHops has a new answer.
	changed bool
	list    []NextHopObject // the answer, but for what is unlisted
	// The groups that are unreported, and the desired ones that are replaced.
	unreported     []*kernelGroup
	unreportedWant []*group
	replacements   []*group
}

func (c *nexthops) init(env *env, links *links, idFree func(uint32)) {
	*c = nexthops{env: env, links: links, idFree: idFree, base: env.config.NextHopBase, count: env.config.NextHopCount, proto: env.config.Protocol,
		byKey: map[objectKey]*object{}, byID: map[uint32]*object{}, hops: map[uint32]hop{}, strays: brake.Table[uint32]{},
		groups: map[string]*group{}, kernel: map[uint32]*kernelGroup{},
		unowned: map[uint32]*kernelGroup{}, idle: map[uint32]struct{}{}, lacking: map[uint32]struct{}{}, unlisted: map[uint32]struct{}{}, down: map[gatewayKey]bool{},
		wanting: sets[gatewayKey, *group]{}, using: sets[uint32, *kernelGroup]{},
		probes: map[wire.NeighborKey]wire.Neighbor{}}
}

func (c *nexthops) owns(id uint32) bool { return id >= c.base && id-c.base < c.count }

// allocate returns a free id; 0 when there is none. Ids are not used again
// before the range has been used up.
func (c *nexthops) allocate() uint32 {
	for range c.count {
		id := c.base + c.cursor
		c.cursor = (c.cursor + 1) % c.count
		_, taken := c.hops[id]
		if !taken && c.byID[id] == nil && c.kernel[id] == nil {
			return id
		}
	}
	return 0
}

func keyOf(l *wire.NextHop, family wire.Family) objectKey {
	if l.Gateway.IsValid() {
		family = wire.FamilyOf(l.Gateway)
	}
	return objectKey{family: family, gateway: l.Gateway, link: l.IfIndex, onlink: l.OnLink}
}

// object finds or makes the object of k; nil when the ids have run out.
func (c *nexthops) object(k objectKey) *object {
	if b := c.byKey[k]; b != nil {
		return b
	}
	id := c.allocate()
	if id == 0 {
		return nil
	}
	b := &object{key: k, id: id}
	c.byKey[k], c.byID[id] = b, b
	c.idChanged(id)
	return b
}

// right is what the kernel should have under the id of b.
func (c *nexthops) right(b *object) hop {
	h := hop{objectKey: b.key, proto: c.proto}
	h.clone = false
	return h
}

// live reports whether the kernel has b as it should be.
func (c *nexthops) live(b *object) bool {
	h, ok := c.hops[b.id]
	return ok && h == c.right(b)
}

// newID gives b another id: another program's object has taken the one it had.
func (c *nexthops) newID(b *object) {
	delete(c.byID, b.id)
	c.idChanged(b.id)
	if b.id = c.allocate(); b.id == 0 {
		delete(c.byKey, b.key)
		return
	}
	c.byID[b.id] = b
	c.idChanged(b.id)
}

// groupRecord returns the kernelGroup of an id in our range, making one.
func (c *nexthops) groupRecord(id uint32) *kernelGroup {
	if !c.owns(id) {
		return nil
	}
	g := c.kernel[id]
	if g == nil {
		g = &kernelGroup{id: id}
		c.kernel[id], c.unowned[id] = g, g
	}
	return g
}

// disown takes the owner off k.
func (c *nexthops) disown(k *kernelGroup) {
	k.owner = nil
	if c.kernel[k.id] == k {
		c.unowned[k.id] = k
	}
}

// forget removes the record of a group.
func (c *nexthops) forget(id uint32) {
	delete(c.kernel, id)
	delete(c.unowned, id)
}

// moved notes that a group has another place in the kernel: its wants must be resolved.
func (c *nexthops) moved(g *group) {
	if !g.replaced {
		g.replaced = true
		c.replacements = append(c.replacements, g)
	}
}

// reportGroup and reportWanted note that the followers of a group's routes do not know how it is.
func (c *nexthops) reportGroup(k *kernelGroup) {
	if !k.unreported {
		k.unreported = true
		c.unreported = append(c.unreported, k)
	}
}

func (c *nexthops) reportWanted(g *group) {
	if !g.unreported {
		g.unreported = true
		c.unreportedWant = append(c.unreportedWant, g)
	}
}

// hopChanged notes that what the kernel has under an id, other than a group, is another.
func (c *nexthops) hopChanged(id uint32) {
	c.idChanged(id)
	c.changed = true
}

// idChanged notes that an id has another object, here or in the kernel.
func (c *nexthops) idChanged(id uint32) {
	c.idle[id], c.unlisted[id] = struct{}{}, struct{}{}
	if b := c.byID[id]; b != nil && !c.live(b) {
		c.lacking[id] = struct{}{}
	} else {
		delete(c.lacking, id)
	}
}

// group finds or makes the desired group of next hops. Routes of both families have one group, if
// all its next hops are IPv6 gateways: groups of equal content would be one to looseGroups, and a
// successor would write what is right already.
func (c *nexthops) group(family wire.Family, nextHops []wire.NextHop, buckets uint16) *group {
	if !slices.ContainsFunc(nextHops, func(l wire.NextHop) bool { return !l.Gateway.Is6() }) {
		family = wire.FamilyIPv6
	}
	key := string(appendNextHops([]byte{byte(family), byte(buckets), byte(buckets >> 8)}, nextHops))
	g := c.groups[key]
	if g == nil {
		c.serial++
		g = &group{serial: c.serial, key: key, family: family, nextHops: nextHops, buckets: buckets, users: map[*want]struct{}{}}
		c.groups[key] = g
		for i := range nextHops {
			c.wanting.add(gatewayOf(&nextHops[i]), g)
		}
		c.touch(g)
	}
	return g
}

func (c *nexthops) touch(g *group) {
	if !g.dirty {
		g.dirty = true
		c.dirty = append(c.dirty, g)
	}
}

// touchNextHops marks all groups that have a next hop for which f is true.
func (c *nexthops) touchNextHops(f func(l *wire.NextHop) bool) {
	for _, g := range c.groups {
		if slices.ContainsFunc(g.nextHops, func(l wire.NextHop) bool { return f(&l) }) {
			c.touch(g)
		}
	}
}

// touchGateway marks all groups that want b.
func (c *nexthops) touchGateway(b *object) {
	for g := range c.wanting[gatewayKey{b.key.link, b.key.gateway}] {
		c.touch(g)
	}
}

// drop forgets a group that no want uses any more; its kernel group is left
// over and will be collected, unless it is wanted again before.
func (c *nexthops) drop(g *group) {
	delete(c.groups, g.key)
	for i := range g.nextHops {
		c.wanting.remove(gatewayOf(&g.nextHops[i]), g)
		if b := c.byKey[keyOf(&g.nextHops[i], g.family)]; b != nil {
			c.idle[b.id] = struct{}{}
		}
	}
	if g.now != nil {
		c.disown(g.now)
		g.now = nil
	}
	c.garbage = true
}

// idleTimer is the kernel's default of NHA_RES_GROUP_IDLE_TIMER, 120 s in clock
// ticks of 10 ms. The default of the unbalanced timer is 0.
const idleTimer = 12000

// members computes what g should consist of, and the objects that must be made
// before. keep means: leave the kernel's group as it is, since nothing better
// can be had. An object that another program keeps changing is left out until it may be
// repaired again, if there is another.
func (c *nexthops) members(g *group, up func(link int32) bool, now time.Time) (want shape, make []*object, keep bool) {
	pick := func(dead bool) {
		for i := range g.nextHops {
			l := &g.nextHops[i]
			if !up(l.IfIndex) || !dead && c.down[gatewayKey{l.IfIndex, l.Gateway}] {
				continue
			}
			b := c.object(keyOf(l, g.family))
			if b == nil {
				continue
			}
			if !c.live(b) {
				if now.Before(b.next) {
					c.env.wake(b.next)
					continue
				}
				if b.foreign && !b.brake.Ready(now) {
					c.env.wake(b.brake.Next)
					continue
				}
				make = append(make, b)
			}
			want.members = append(want.members, wire.Member{ID: b.id, Weight: l.Weight})
		}
	}
	pick(false)
	if len(want.members) == 0 {
		if g.now != nil && g.now.exists && len(g.now.members) > 0 {
			return want, nil, true
		}
		pick(true)
	}
	slices.SortFunc(want.members, compareMembers)
	if want.buckets = g.buckets; want.buckets > 0 {
		want.idle = idleTimer
	}
	return want, make, false
}

func compareMembers(a, b wire.Member) int { return cmp.Compare(a.ID, b.ID) }

// looseGroups lists kernel groups without owner by their content; of several
// with the same, the one with the most routes.
func (c *nexthops) looseGroups() map[string]*kernelGroup {
	loose := map[string]*kernelGroup{}
	for _, k := range c.unowned {
		if !k.exists || k.alien || k.proto != c.proto {
			continue
		}
		key := k.shape.key()
		best := loose[key]
		if best == nil || k.uses > best.uses || k.uses == best.uses && k.id < best.id {
			loose[key] = k
		}
	}
	return loose
}

func (s *shape) key() string {
	b := binary.NativeEndian.AppendUint16(make([]byte, 0, 64), s.buckets)
	b = binary.NativeEndian.AppendUint32(b, s.idle)
	b = binary.NativeEndian.AppendUint32(b, s.unbalanced)
	for _, m := range s.members {
		b = binary.NativeEndian.AppendUint32(b, m.ID)
		b = binary.NativeEndian.AppendUint16(b, m.Weight)
	}
	return string(b)
}

// reshape changes what k consists of.
func (c *nexthops) reshape(k *kernelGroup, s shape) {
	c.version++
	for _, m := range k.members {
		c.using.remove(m.ID, k)
		c.idle[m.ID] = struct{}{}
	}
	k.shape = s
	for _, m := range k.members {
		c.using.add(m.ID, k)
	}
}

// objectsOf returns the objects of a gateway, by id.
func (c *nexthops) objectsOf(k gatewayKey) (list []*object) {
	for _, family := range []wire.Family{wire.FamilyIPv4, wire.FamilyIPv6} {
		for _, onlink := range []bool{false, true} {
			for _, clone := range []bool{false, true} {
				if b := c.byKey[objectKey{family, k.Gateway, k.IfIndex, onlink, clone}]; b != nil {
					list = append(list, b)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b *object) int { return cmp.Compare(a.id, b.id) })
	return list
}

// gone takes a single object out of the model, as the kernel did: every group
// shrinks, and a group of which it was the last member ceases to exist, with
// its routes. It returns those groups.
func (c *nexthops) gone(id uint32) (emptied []*kernelGroup) {
	if _, ok := c.hops[id]; !ok {
		return nil
	}
	delete(c.hops, id)
	c.version++
	c.hopChanged(id)
	c.garbage = true
	for k := range c.using[id] {
		left := k.shape
		left.members = slices.DeleteFunc(slices.Clone(k.members), func(m wire.Member) bool { return m.ID == id })
		c.reshape(k, left)
		c.reportGroup(k)
		if k.owner != nil {
			c.touch(k.owner)
		}
		if len(k.members) == 0 {
			emptied = append(emptied, k)
		}
	}
	slices.SortFunc(emptied, func(a, b *kernelGroup) int { return cmp.Compare(a.id, b.id) })
	return emptied
}

// vanish takes a kernel group out of the model. The caller sees to the routes.
func (c *nexthops) vanish(k *kernelGroup) {
	c.reshape(k, shape{})
	k.exists, c.garbage = false, true
	if k.owner != nil {
		c.touch(k.owner)
		k.owner.now = nil
		c.disown(k)
	}
	if k.uses == 0 {
		c.forget(k.id)
	}
}

// rest reports, of our groups in the kernel that have b, how many have another member
// that is not leaving, and which have nothing else.
func (c *nexthops) rest(b *object, leaving map[uint32]bool) (others int, alone []*kernelGroup) {
	for k := range c.using[b.id] {
		if !k.exists || k.proto != c.proto {
			continue
		}
		if slices.ContainsFunc(k.members, func(m wire.Member) bool { return m.ID != b.id && !leaving[m.ID] }) {
			others++
		} else {
			alone = append(alone, k)
		}
	}
	slices.SortFunc(alone, func(a, b *kernelGroup) int { return cmp.Compare(a.id, b.id) })
	return others, alone
}

func sortMembers(ms []wire.Member) { slices.SortFunc(ms, compareMembers) }

func (c *nexthops) unuse(k *kernelGroup) {
	if k.uses--; k.uses > 0 {
		return
	}
	k.since = c.env.clock
	c.garbage = true
	c.env.wake(k.since.Add(linger))
	if !k.exists {
		c.forget(k.id)
		c.idFree(k.id)
	}
}

// nextHopList lists the next-hop objects of ours that are in the kernel now, by id. The list
// must not be changed.
func (c *nexthops) nextHopList() []NextHopObject {
	if len(c.unlisted) == 0 {
		return c.list
	}
	c.list = slices.DeleteFunc(c.list, func(o NextHopObject) bool { _, other := c.unlisted[o.ID]; return other })
	for id := range c.unlisted {
		if b := c.byID[id]; b != nil && c.live(b) {
			c.list = append(c.list, NextHopObject{ID: b.id, Gateway: b.key.gateway, IfIndex: int(b.key.link)})
		}
	}
	slices.SortFunc(c.list, func(a, b NextHopObject) int { return cmp.Compare(a.ID, b.ID) })
	clear(c.unlisted)
	return c.list
}

// needs reports whether a next-hop object or group with this id in the kernel is of use for
// a desired route.
func (c *nexthops) needs(id uint32) bool {
	h, single := c.hops[id]
	for _, g := range c.groups {
		if g.now != nil && g.now.id == id {
			return true
		}
		if single && slices.ContainsFunc(g.nextHops, func(l wire.NextHop) bool { return l.Gateway == h.gateway && l.IfIndex == h.link }) {
			return true
		}
	}
	return false
}

// urgent reports whether StepFailover has something to do, or will have.
func (c *nexthops) urgent() bool { return len(c.toDelete) > 0 }

// groupError returns why g is not in the kernel: its own error, or that of the last of
// its next hops that the kernel refused.
func (c *nexthops) groupError(g *group) (text string, err error) {
	if g.err != nil {
		return g.text, g.err
	}
	for i := range g.nextHops {
		if b := c.byKey[keyOf(&g.nextHops[i], g.family)]; b != nil && !c.live(b) && b.err != nil {
			text, err = b.text, b.err
		}
	}
	return text, err
}

// probe notes a neighbour to be probed. There are as many as gateways and guests at most.
func (c *nexthops) probe(n wire.Neighbor) {
	c.probes[wire.NeighborKey{IfIndex: n.IfIndex, Addr: n.Addr}] = n
}

// urgentDue reports whether failover has something to do now.
func (c *nexthops) urgentDue(now time.Time) bool {
	return slices.ContainsFunc(c.toDelete, func(b *object) bool { return !now.Before(b.next) })
}

// waiting reports whether g waits for its time, or for an object to be tried again.
func (c *nexthops) waiting(g *group, now time.Time) bool {
	if now.Before(g.next) || g.foreign && !g.brake.Ready(now) {
		return true
	}
	for i := range g.nextHops {
		b := c.byKey[keyOf(&g.nextHops[i], g.family)]
		if b != nil && !c.live(b) && (now.Before(b.next) || b.foreign && !b.brake.Ready(now)) {
			return true
		}
	}
	return false
}

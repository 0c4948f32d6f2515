package fibcore

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// objectKey is the content of a single next-hop object. Objects exist as
// members of groups only: a route with one next hop carries it itself, so that the
// deletion of a dead member never takes a route along.
type objectKey struct {
	family  wire.Family // of the gateway, or of the route if there is none
	gateway netip.Addr
	link    int32
	onlink  bool
	// clone marks the second object of a gateway that is dead, made for
	// groups that have nothing else, so that the first can be deleted.
	clone bool
}

// object is a single next-hop object that groups want, and the id that it has, or
// is to have. What the kernel has under that id is a hop.
type object struct {
	key     objectKey
	id      uint32
	err     error     // why the kernel refused it
	text    string    // its words
	next    time.Time // no new attempt before; zero: any time
	step    time.Duration
	foreign bool // somebody else deleted or changed it: to make it is a repair
	by      origin
	brake   brake.Brake // of repairs
}

// hop is what the kernel has under an id of our range that is no group. It is
// comparable.
type hop struct {
	objectKey // clone is false
	proto     uint8
	alien     bool // blackhole, encapsulation, FDB: never made here
}

// kernelGroup is a group of our id range in the kernel, or one that routes
// still point at although it has gone.
type kernelGroup struct {
	id     uint32
	exists bool
	shape
	proto uint8
	alien bool   // of a kind that is never made here
	uses  int    // entries whose form has it
	owner *group // nil: left over
	news  bool   // members have changed, and the followers of its routes have not been told
	since time.Time
}

// shape is what makes two groups the same.
type shape struct {
	members          []wire.Member // sorted
	buckets          uint16        // of a resilient one
	idle, unbalanced uint32        // its timers, in clock ticks
}

func (s *shape) equal(t *shape) bool {
	return s.buckets == t.buckets && s.idle == t.idle && s.unbalanced == t.unbalanced && slices.Equal(s.members, t.members)
}

// group is a desired set of next hops that wants share.
type group struct {
	serial   uint64 // order of creation
	key      string
	family   wire.Family
	nextHops []wire.NextHop
	buckets  uint16
	wants    int
	now      *kernelGroup // nil: none yet
	dirty    bool
	moved    bool // now is another: the wants must be resolved
	news     bool // why it is not complete has changed, and the followers of its routes have not been told
	err      error
	text     string // the kernel's words
	next     time.Time
	step     time.Duration
	foreign  bool // somebody else deleted or changed it: to make it is a repair
	by       origin
	brake    brake.Brake // of repairs
}

// gatewayKey names a gateway for GatewayDown.
type gatewayKey struct {
	IfIndex int32
	Gateway netip.Addr
}

// objects is the pool of next-hop objects and groups.
type objects struct {
	base, count, cursor uint32
	proto               uint8 // ours
	serial              uint64

	byKey  map[objectKey]*object
	byID   map[uint32]*object
	hops   map[uint32]hop
	groups map[string]*group
	kernel map[uint32]*kernelGroup
	dirty  []*group
	down   map[gatewayKey]bool
	dying  []*object           // to delete at once
	strays brake.Table[uint32] // of the deletion of what others make in our range, with our protocol number
	// tick is the next time at which something held back may be tried.
	tick time.Time
	// garbage says that collect may find something.
	garbage bool
	// changed says that NextHops has a new answer.
	changed bool
	// news says that some group has news.
	news bool
}

func (o *objects) init(c Config) {
	o.base, o.count, o.proto = c.NextHopBase, c.NextHopCount, c.Protocol
	o.byKey, o.byID, o.hops = map[objectKey]*object{}, map[uint32]*object{}, map[uint32]hop{}
	o.strays = brake.Table[uint32]{}
	o.groups, o.kernel, o.down = map[string]*group{}, map[uint32]*kernelGroup{}, map[gatewayKey]bool{}
}

func (o *objects) owns(id uint32) bool { return id >= o.base && id-o.base < o.count }

// allocate returns a free id; 0 when there is none. Ids are not used again
// before the range has been used up.
func (o *objects) allocate() uint32 {
	for range o.count {
		id := o.base + o.cursor
		o.cursor = (o.cursor + 1) % o.count
		_, taken := o.hops[id]
		if !taken && o.byID[id] == nil && o.kernel[id] == nil {
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
func (o *objects) object(k objectKey) *object {
	if b := o.byKey[k]; b != nil {
		return b
	}
	id := o.allocate()
	if id == 0 {
		return nil
	}
	b := &object{key: k, id: id}
	o.byKey[k], o.byID[id] = b, b
	return b
}

// right is what the kernel should have under the id of b.
func (o *objects) right(b *object) hop {
	h := hop{objectKey: b.key, proto: o.proto}
	h.clone = false
	return h
}

// live reports whether the kernel has b as it should be.
func (o *objects) live(b *object) bool {
	h, ok := o.hops[b.id]
	return ok && h == o.right(b)
}

// rehome gives b another id: somebody else's object has taken the one it had.
func (o *objects) rehome(b *object) {
	delete(o.byID, b.id)
	if b.id = o.allocate(); b.id == 0 {
		delete(o.byKey, b.key)
		return
	}
	o.byID[b.id] = b
}

// groupRecord returns the kernelGroup of an id in our range, making one.
func (o *objects) groupRecord(id uint32) *kernelGroup {
	if !o.owns(id) {
		return nil
	}
	g := o.kernel[id]
	if g == nil {
		g = &kernelGroup{id: id}
		o.kernel[id] = g
	}
	return g
}

// group finds or makes the desired group of next hops.
func (o *objects) group(family wire.Family, nextHops []wire.NextHop, buckets uint16) *group {
	key := string(appendNextHops([]byte{byte(family), byte(buckets), byte(buckets >> 8)}, nextHops))
	g := o.groups[key]
	if g == nil {
		o.serial++
		g = &group{serial: o.serial, key: key, family: family, nextHops: nextHops, buckets: buckets}
		o.groups[key] = g
		o.touch(g)
	}
	return g
}

func (o *objects) touch(g *group) {
	if !g.dirty {
		g.dirty = true
		o.dirty = append(o.dirty, g)
	}
}

// touchNextHops marks all groups that have a next hop for which f is true.
func (o *objects) touchNextHops(f func(l *wire.NextHop) bool) {
	for _, g := range o.groups {
		if slices.ContainsFunc(g.nextHops, func(l wire.NextHop) bool { return f(&l) }) {
			o.touch(g)
		}
	}
}

// touchGateway marks all groups that want b.
func (o *objects) touchGateway(b *object) {
	link, gateway := b.key.link, b.key.gateway
	o.touchNextHops(func(l *wire.NextHop) bool { return l.IfIndex == link && l.Gateway == gateway })
}

// drop forgets a group that no want uses any more; its kernel group is left
// over and will be collected, unless it is wanted again before.
func (o *objects) drop(g *group) {
	delete(o.groups, g.key)
	if g.now != nil {
		g.now.owner = nil
		g.now = nil
	}
	o.garbage = true
}

// idleTimer is the kernel's default of NHA_RES_GROUP_IDLE_TIMER, 120 s in clock
// ticks of 10 ms. The default of the unbalanced timer is 0.
const idleTimer = 12000

// members computes what g should consist of, and the objects that must be made
// before. keep means: leave the kernel's group as it is, since nothing better
// can be had. An object that somebody else keeps changing is left out until it may be
// repaired again, if there is another.
func (o *objects) members(g *group, up func(link int32) bool, now time.Time) (want shape, make []*object, keep bool) {
	pick := func(dead bool) {
		for i := range g.nextHops {
			l := &g.nextHops[i]
			if !up(l.IfIndex) || !dead && o.down[gatewayKey{l.IfIndex, l.Gateway}] {
				continue
			}
			b := o.object(keyOf(l, g.family))
			if b == nil {
				continue
			}
			if !o.live(b) {
				if now.Before(b.next) {
					o.wake(b.next)
					continue
				}
				if b.foreign && !b.brake.Ready(now) {
					o.wake(b.brake.Next)
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

func (o *objects) wake(t time.Time) {
	if o.tick.IsZero() || t.Before(o.tick) {
		o.tick = t
	}
}

// looseGroups lists kernel groups without owner by their content; of several
// with the same, the one with the most routes.
func (o *objects) looseGroups() map[string]*kernelGroup {
	loose := map[string]*kernelGroup{}
	for _, k := range o.kernel {
		if !k.exists || k.alien || k.proto != o.proto || k.owner != nil {
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

func (k *kernelGroup) has(id uint32) bool {
	return slices.ContainsFunc(k.members, func(m wire.Member) bool { return m.ID == id })
}

// gone takes a single object out of the model, as the kernel did: every group
// shrinks, and a group of which it was the last member ceases to exist, with
// its routes. It returns those groups.
func (o *objects) gone(id uint32) (emptied []*kernelGroup) {
	if _, ok := o.hops[id]; !ok {
		return nil
	}
	delete(o.hops, id)
	o.changed, o.garbage = true, true
	for _, k := range o.kernel {
		if !k.has(id) {
			continue
		}
		k.members = slices.DeleteFunc(slices.Clone(k.members), func(m wire.Member) bool { return m.ID == id })
		k.news, o.news = true, true
		if k.owner != nil {
			o.touch(k.owner)
		}
		if len(k.members) == 0 {
			emptied = append(emptied, k)
		}
	}
	slices.SortFunc(emptied, func(a, b *kernelGroup) int { return cmp.Compare(a.id, b.id) })
	return emptied
}

// vanish takes a kernel group out of the model. The caller sees to the routes.
func (o *objects) vanish(k *kernelGroup) {
	k.exists, k.shape, o.changed, o.garbage = false, shape{}, true, true
	if k.owner != nil {
		o.touch(k.owner)
		k.owner.now = nil
		k.owner = nil
	}
	if k.uses == 0 {
		delete(o.kernel, k.id)
	}
}

// rest reports, of our groups in the kernel that have b, how many have another member
// that is not leaving, and which have nothing else.
func (o *objects) rest(b *object, leaving map[uint32]bool) (others int, alone []*kernelGroup) {
	for _, k := range o.kernel {
		if !k.exists || k.proto != o.proto || !k.has(b.id) {
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

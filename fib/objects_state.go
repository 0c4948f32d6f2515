package fib

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// objectKey is the content of a single next-hop object. Objects exist as
// members of groups only: a route with one leg carries it itself, so that the
// deletion of a dead member never takes a route along.
type objectKey struct {
	family  Family // of the gateway, or of the route if there is none
	gateway netip.Addr
	link    int32
	onlink  bool
	// clone marks the second object of a gateway that is dead, made for
	// groups that have nothing else, so that the first can be deleted.
	clone bool
}

// object is a single next-hop object, wanted or in the kernel.
type object struct {
	key   objectKey
	id    uint32
	live  bool      // in the kernel
	alien bool      // somebody else's, though in our id range: only occupies the id
	err   error     // why the kernel refused it
	text  string    // its words
	next  time.Time // no new attempt before; zero: any time
	step  time.Duration
}

// kernelGroup is a group of our id range in the kernel, or one that routes
// still point at although it has gone.
type kernelGroup struct {
	id      uint32
	exists  bool
	alien   bool // not made by this package: never adopted
	members []member
	buckets uint16 // resilient
	uses    int    // entries whose form has it
	owner   *group // nil: left over
	news    bool   // members have changed, and the followers of its routes have not been told
	since   time.Time
}

// group is a desired set of legs that wants share.
type group struct {
	serial  uint64 // order of creation
	key     string
	family  Family
	legs    []leg
	buckets uint16
	wants   int
	now     *kernelGroup // nil: none yet
	dirty   bool
	moved   bool // now is another: the wants must be resolved
	news    bool // why it is not complete has changed, and the followers of its routes have not been told
	err     error
	text    string // the kernel's words
	next    time.Time
	step    time.Duration
}

// gatewayKey names a gateway for GatewayDown.
type gatewayKey struct {
	link    int32
	gateway netip.Addr
}

// objects is the pool of next-hop objects and groups.
type objects struct {
	base, count, cursor uint32
	serial              uint64

	byKey  map[objectKey]*object
	byID   map[uint32]*object
	groups map[string]*group
	kernel map[uint32]*kernelGroup
	dirty  []*group
	down   map[gatewayKey]bool
	dying  []*object // to delete at once
	// tick is the next time at which something held back may be tried.
	tick time.Time
	// garbage says that collect may find something.
	garbage bool
	// changed says that NextHops has a new answer.
	changed bool
	// news says that some group has news.
	news bool
}

func (o *objects) owns(id uint32) bool { return id >= o.base && id-o.base < o.count }

// allocate returns a free id; 0 when there is none. Ids are not used again
// before the range has been used up.
func (o *objects) allocate() uint32 {
	for range o.count {
		id := o.base + o.cursor
		o.cursor = (o.cursor + 1) % o.count
		if o.byID[id] == nil && o.kernel[id] == nil {
			return id
		}
	}
	return 0
}

func keyOf(l *leg, family Family) objectKey {
	if l.gateway.IsValid() {
		family = familyOf(l.gateway)
	}
	return objectKey{family: family, gateway: l.gateway, link: l.link, onlink: l.onlink}
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

// group finds or makes the desired group of legs.
func (o *objects) group(family Family, legs []leg, buckets uint16) *group {
	key := string(appendLegs([]byte{byte(family), byte(buckets), byte(buckets >> 8)}, legs))
	g := o.groups[key]
	if g == nil {
		o.serial++
		g = &group{serial: o.serial, key: key, family: family, legs: legs, buckets: buckets}
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

// touchLegs marks all groups that have a leg for which f is true.
func (o *objects) touchLegs(f func(l *leg) bool) {
	for _, g := range o.groups {
		if slices.ContainsFunc(g.legs, func(l leg) bool { return f(&l) }) {
			o.touch(g)
		}
	}
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

// members computes what g should consist of, and the objects that must be made
// before. keep means: leave the kernel's group as it is, since nothing better
// can be had.
func (o *objects) members(g *group, up func(link int32) bool, now time.Time) (want []member, make []*object, keep bool) {
	pick := func(dead bool) {
		for i := range g.legs {
			l := &g.legs[i]
			if !up(l.link) || !dead && o.down[gatewayKey{l.link, l.gateway}] {
				continue
			}
			b := o.object(keyOf(l, g.family))
			if b == nil {
				continue
			}
			if !b.live {
				if now.Before(b.next) {
					o.wake(b.next)
					continue
				}
				make = append(make, b)
			}
			want = append(want, member{b.id, l.weight})
		}
	}
	pick(false)
	if len(want) == 0 {
		if g.now != nil && g.now.exists && len(g.now.members) > 0 {
			return nil, nil, true
		}
		pick(true)
	}
	slices.SortFunc(want, compareMembers)
	return want, make, false
}

func compareMembers(a, b member) int { return cmp.Compare(a.id, b.id) }

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
		if !k.exists || k.alien || k.owner != nil {
			continue
		}
		key := membersKey(k.members, k.buckets)
		best := loose[key]
		if best == nil || k.uses > best.uses || k.uses == best.uses && k.id < best.id {
			loose[key] = k
		}
	}
	return loose
}

func membersKey(ms []member, buckets uint16) string {
	b := native.AppendUint16(make([]byte, 0, 64), buckets)
	for _, m := range ms {
		b = native.AppendUint32(b, m.id)
		b = native.AppendUint16(b, m.weight)
	}
	return string(b)
}

// gone takes a single object out of the model, as the kernel did: every group
// shrinks, and a group of which it was the last member ceases to exist, with
// its routes. It returns those groups.
func (o *objects) gone(b *object) (emptied []*kernelGroup) {
	if !b.live {
		return nil
	}
	b.live = false
	o.changed, o.garbage = true, true
	for _, k := range o.kernel {
		n := len(k.members)
		k.members = slices.DeleteFunc(k.members, func(m member) bool { return m.id == b.id })
		if len(k.members) == n {
			continue
		}
		k.news, o.news = true, true
		if k.owner != nil {
			o.touch(k.owner)
		}
		if len(k.members) == 0 {
			emptied = append(emptied, k)
		}
	}
	return emptied
}

// vanish takes a kernel group out of the model. The caller sees to the routes.
func (o *objects) vanish(k *kernelGroup) {
	k.exists, k.members, o.changed = false, nil, true
	if k.owner != nil {
		o.touch(k.owner)
		k.owner.now = nil
		k.owner = nil
	}
	if k.uses == 0 {
		delete(o.kernel, k.id)
	}
}

// rest reports, of the kernel groups that have b, how many have another member that is
// not leaving, and which have nothing else.
func (o *objects) rest(b *object, leaving map[uint32]bool) (others int, alone []*kernelGroup) {
	for _, k := range o.kernel {
		if !k.exists || !slices.ContainsFunc(k.members, func(m member) bool { return m.id == b.id }) {
			continue
		}
		if slices.ContainsFunc(k.members, func(m member) bool { return m.id != b.id && !leaving[m.id] }) {
			others++
		} else {
			alone = append(alone, k)
		}
	}
	return others, alone
}

func sortMembers(ms []member) { slices.SortFunc(ms, compareMembers) }

package bfdcore

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// NextHop is a next-hop object, or a group of them, as the kernel has it.
type NextHop struct {
	ID      uint32     // NHA_ID
	Link    int        // interface index
	Gateway netip.Addr // NHA_GATEWAY; the zero Addr: none
	Group   []Member   // nil: not a group
	Kind    uint16     // NHA_GROUP_TYPE; 0: plain multipath
	Proto   uint8      // the routing protocol that made it (rtm_protocol of rtnetlink(7))
}

// Member is a member of a group, struct nexthop_grp of linux/nexthop.h.
type Member struct {
	ID     uint32 // of the next-hop object
	Weight uint16 // as the kernel has it: one less than the weight
}

// Kernel is what a [Failover] asks of the kernel. A NextHop that does not exist is
// ErrNoNextHop.
type Kernel interface {
	NextHop(id uint32) (NextHop, error)
	Groups() ([]NextHop, error)
	Delete(id uint32) error
	// Replace sets the members of a group.
	Replace(group NextHop) error
}

// ErrNoNextHop is what [Kernel.NextHop] returns for an object that does not exist.
var ErrNoNextHop = errors.New("no such object")

// DeadNextHop is a next-hop object that dies with a session.
type DeadNextHop struct {
	ID      uint32     // NHA_ID
	Link    int        // interface index that the object must still have
	Gateway netip.Addr // gateway that the object must still have
	// Strict: an alternative counts only if a session watches it, since the client has
	// named the sessions that do.
	Strict bool
	// Guarded: one of those sessions is up, or none was named.
	Guarded bool
}

// Failover takes the next-hop objects of a dead session out of the kernel. Everything is
// checked right before each deletion, as what a client left may be old: the object must
// still be the one meant (ids are reused), a session that guards an alternative must be
// up, and each group that has the object must keep a member that is not known to be dead.
type Failover struct {
	Kernel Kernel // what it acts on
	// Up says of each object that a session watches whether one of its sessions is up.
	Up     map[uint32]bool
	groups []NextHop        // all of the kernel, kept up to date as objects are deleted
	of     map[uint32][]int // of groups, those that had an object at the beginning
}

// Begin reads the groups. It must come first.
func (f *Failover) Begin() (err error) {
	f.groups, err = f.Kernel.Groups()
	f.of = map[uint32][]int{}
	for i := range f.groups {
		for _, m := range f.groups[i].Group {
			f.of[m.ID] = append(f.of[m.ID], i)
		}
	}
	return err
}

// Delete deletes one object, or returns why it stays.
func (f *Failover) Delete(d DeadNextHop) error {
	have, err := f.Kernel.NextHop(d.ID)
	switch {
	case err != nil:
		return err
	case have.Group != nil:
		return errors.New("is a group now")
	case have.Link != d.Link || have.Gateway != d.Gateway:
		return fmt.Errorf("is another object now: gateway %v, link %d", have.Gateway, have.Link)
	case !d.Guarded:
		return errors.New("no session that guards an alternative is up")
	case f.Up[d.ID]:
		return errors.New("another session that watches it is up")
	}
	if err := f.spare(d); err != nil {
		return f.shrink(d, err)
	}
	if err := f.Kernel.Delete(d.ID); err != nil {
		return err
	}
	for _, i := range f.of[d.ID] {
		f.groups[i].Group = f.groups[i].without(d.ID)
	}
	return nil
}

// spare makes sure that the object is in a group, and that every group it is in keeps a
// living member.
func (f *Failover) spare(d DeadNextHop) error {
	member := false
	for _, i := range f.of[d.ID] {
		in, alive := f.members(&f.groups[i], d)
		member = member || in
		if in && !alive {
			return fmt.Errorf("group %d would be left without a living member", f.groups[i].ID)
		}
	}
	if !member {
		return errors.New("is in no group: its routes have no alternative")
	}
	return nil
}

// shrink is for an object that must stay for the sake of one group: it is taken out of the
// others, each by a message of its own, which costs the kernel time in proportion to
// their routes. It returns why the object stayed.
func (f *Failover) shrink(d DeadNextHop, why error) error {
	n := 0
	for _, i := range f.of[d.ID] {
		g := &f.groups[i]
		if in, alive := f.members(g, d); !in || !alive || g.Kind != 0 {
			continue
		}
		rest := *g
		rest.Group = g.without(d.ID)
		if err := f.Kernel.Replace(rest); err != nil {
			return fmt.Errorf("%w; group %d: %w", why, g.ID, err)
		}
		g.Group = rest.Group
		n++
	}
	if n > 0 {
		return fmt.Errorf("%w; taken out of %d others", why, n)
	}
	return why
}

// members reports whether a group has the object, and whether it has another member that
// is not known to be dead: watched by a session that is up or, unless d is strict, by
// none.
func (f *Failover) members(g *NextHop, d DeadNextHop) (in, alive bool) {
	for _, m := range g.Group {
		if m.ID == d.ID {
			in = true
			continue
		}
		up, watched := f.Up[m.ID]
		alive = alive || up || !watched && !d.Strict
	}
	return in, alive
}

// without is the group's members but one.
func (n *NextHop) without(id uint32) []Member {
	return slices.DeleteFunc(slices.Clone(n.Group), func(m Member) bool { return m.ID == id })
}

package fakekernel

import (
	"container/list"
	"iter"
	"math/bits"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// routes is all routes, by prefix, and in the order in which their keys came.
type routes struct {
	prefixes map[prefixKey][]*group  // one a metric
	order    *list.List              // of groups
	tables   map[tableKey]*list.List // of the groups of a table, in the same order
	users    map[use]int             // of next-hop objects, by family
	lengths  map[lengthKey]int       // how many keys have a length
	masks    map[tableKey]mask       // which lengths there are in a table, whatever the TOS
}

type tableKey struct {
	family wire.Family
	table  uint32
}

// mask is a set of prefix lengths.
type mask [3]uint64

func (m *mask) set(bits int) { m[bits>>6] |= 1 << (bits & 63) }

// downFrom returns the longest length that is at most bits, -1 if there is none.
func (m *mask) downFrom(most int) int {
	if most < 0 {
		return -1
	}
	for i := most >> 6; i >= 0; i-- {
		x := m[i]
		if i == most>>6 {
			x &= 1<<(most&63)<<1 - 1
		}
		if x != 0 {
			return i<<6 + bits.Len64(x) - 1
		}
	}
	return -1
}

// prefixKey is what a route is looked up by: its prefix, and in one word its table, family, length and
// TOS. Without padding it is hashed at once.
type prefixKey struct{ hi, lo, rest uint64 }

func newPrefixKey(family wire.Family, table uint32, hi, lo uint64, bits, tos uint8) prefixKey {
	return prefixKey{hi, lo, uint64(table)<<24 | uint64(family)<<16 | uint64(bits)<<8 | uint64(tos)}
}

type lengthKey struct {
	family    wire.Family
	table     uint32
	bits, tos uint8
}

// use is a next-hop object as the routes of a family use it.
type use struct {
	id     uint32
	family wire.Family
}

// group is the routes under one key, in the kernel's order: never empty.
type group struct {
	routes         []*Route
	order, inTable *list.Element
}

func newRoutes() routes {
	return routes{map[prefixKey][]*group{}, list.New(), map[tableKey]*list.List{}, map[use]int{}, map[lengthKey]int{}, map[tableKey]mask{}}
}

func (r *Route) prefixKey() prefixKey {
	return newPrefixKey(r.Family, r.Table, r.Hi, r.Lo, r.Bits, r.TOS)
}

func (r *Route) tableKey() tableKey { return tableKey{r.Family, r.Table} }

func (r *Route) lengthKey() lengthKey { return lengthKey{r.Family, r.Table, r.Bits, r.TOS} }

// group returns the group with the key of r, nil if there is none.
func (t *routes) group(r *Route) *group {
	for _, g := range t.prefixes[r.prefixKey()] {
		if g.routes[0].Metric == r.Metric {
			return g
		}
	}
	return nil
}

// under returns the routes under the key of r.
func (t *routes) under(r *Route) []*Route {
	if g := t.group(r); g != nil {
		return g.routes
	}
	return nil
}

// metrics iterates over the routes of a prefix, whatever their metric.
func (t *routes) metrics(k prefixKey) iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for _, g := range t.prefixes[k] {
			for _, r := range g.routes {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// insert puts r at an index of those under its key.
func (t *routes) insert(r *Route, at int) {
	if g := t.group(r); g != nil {
		g.routes = slices.Insert(g.routes, at, r)
	} else {
		table := t.tables[r.tableKey()]
		if table == nil {
			table = list.New()
			t.tables[r.tableKey()] = table
		}
		g = &group{routes: []*Route{r}}
		g.order, g.inTable = t.order.PushBack(g), table.PushBack(g)
		k := r.prefixKey()
		t.prefixes[k] = append(t.prefixes[k], g)
		t.lengths[r.lengthKey()]++
		m := t.masks[r.tableKey()]
		m.set(int(r.Bits))
		t.masks[r.tableKey()] = m
	}
	t.count(r, 1)
}

// replace puts r in the place of the first one under its key, which it returns.
func (t *routes) replace(r *Route) (old *Route) {
	list := t.under(r)
	old, list[0] = list[0], r
	t.count(old, -1)
	t.count(r, 1)
	return old
}

// remove takes r out.
func (t *routes) remove(r *Route) {
	g := t.group(r)
	g.routes = slices.DeleteFunc(g.routes, func(q *Route) bool { return q == r })
	t.count(r, -1)
	if len(g.routes) > 0 {
		return
	}
	t.order.Remove(g.order)
	table := t.tables[r.tableKey()]
	if table.Remove(g.inTable); table.Len() == 0 {
		delete(t.tables, r.tableKey())
	}
	k := r.prefixKey()
	if rest := slices.DeleteFunc(t.prefixes[k], func(x *group) bool { return x == g }); len(rest) > 0 {
		t.prefixes[k] = rest
	} else {
		delete(t.prefixes, k)
	}
	if t.lengths[r.lengthKey()]--; t.lengths[r.lengthKey()] == 0 {
		delete(t.lengths, r.lengthKey())
		t.remask(r.tableKey())
	}
}

// remask makes the mask of a table anew, after a length has gone.
func (t *routes) remask(k tableKey) {
	var m mask
	for l := range t.lengths {
		if l.family == k.family && l.table == k.table {
			m.set(int(l.bits))
		}
	}
	if t.masks[k] = m; m == (mask{}) {
		delete(t.masks, k)
	}
}

// count counts the use of a next-hop object.
func (t *routes) count(r *Route, n int) {
	if r.NextHopID == 0 {
		return
	}
	u := use{r.NextHopID, r.Family}
	if t.users[u] += n; t.users[u] == 0 {
		delete(t.users, u)
	}
}

// all iterates over all routes. They may be removed meanwhile.
func (t *routes) all() iter.Seq[*Route] { return each(t.order) }

// of iterates over the routes of a family, of table 0 over those of all tables. They must not be removed
// meanwhile.
func (t *routes) of(family wire.Family, table uint32) iter.Seq[*Route] {
	if table != 0 {
		if l := t.tables[tableKey{family, table}]; l != nil {
			return each(l)
		}
		return func(func(*Route) bool) {}
	}
	return func(yield func(*Route) bool) {
		for r := range t.all() {
			if r.Family == family && !yield(r) {
				return
			}
		}
	}
}

// each iterates over the routes of groups. They may be removed meanwhile.
func each(groups *list.List) iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for e := groups.Front(); e != nil; {
			next := e.Next()
			list := e.Value.(*group).routes
			if len(list) > 1 {
				list = slices.Clone(list)
			}
			for _, r := range list {
				if !yield(r) {
					return
				}
			}
			e = next
		}
	}
}

package rib

// pathMerge reads the paths of a pathIndex, best first, and gives each its rank as it comes
// by. One class comes after the other. Within a class those of rank 0 come first: what has
// the lowest MED of its group, merged by steps 7 to 12; then those of rank 1, and so on.
type pathMerge struct {
	t     *Table     // the table
	x     *pathIndex // the index that is read
	head  place      // the next of x.heads
	class uint32     // a path of the class that is being read, 0 at first
	rank  uint8      // that is being read, 255 for all from there on
	heap  []cursor   // of each group whose paths of this rank have begun, the next one
	later []cursor   // of each group that has paths of the next rank, the first of these
}

// cursor is a path and its place in pathIndex.order.
type cursor struct {
	id uint32 // number of the path
	at place  // where order has it
}

func (m *pathMerge) begin(t *Table, x *pathIndex) {
	*m = pathMerge{t: t, x: x, heap: m.heap[:0], later: m.later[:0]}
}

// next returns the next path, 0 at the end.
func (m *pathMerge) next() uint32 {
	t := m.t
	for {
		var c cursor
		head := m.x.heads.at(m.head)
		switch {
		case head != 0 && m.sameClass(head) && (len(m.heap) == 0 || t.compareRest(t.paths.at(head), t.paths.at(m.heap[0].id)) < 0):
			c = cursor{head, m.x.find(t, t.paths.at(head))}
			m.head = m.x.heads.next(m.head)
		case len(m.heap) > 0:
			c = m.pop()
		case len(m.later) > 0:
			m.rank += min(1, 255-m.rank)
			m.heap, m.later = m.later, m.heap
			for i := len(m.heap)/2 - 1; i >= 0; i-- {
				m.down(i)
			}
			continue
		case head != 0:
			m.class, m.rank = head, 0
			continue
		default:
			return 0
		}
		m.follow(c)
		return c.id
	}
}

func (m *pathMerge) sameClass(id uint32) bool {
	if m.class == 0 {
		return false
	}
	a, b := m.t.paths.at(m.class), m.t.paths.at(id)
	c, _ := compareClass(a, b, m.t.attrs.sum(a.attr), m.t.attrs.sum(b.attr))
	return c == 0
}

// follow sets the rank of a path, and notes what comes after it in its group.
func (m *pathMerge) follow(c cursor) {
	t := m.t
	p := t.paths.at(c.id)
	p.rank = m.rank
	at := m.x.order.next(c.at)
	id := m.x.order.at(at)
	if !m.x.sameGroup(t, id, p) {
		return
	}
	if t.attrs.sum(t.paths.at(id).attr).med != t.attrs.sum(p.attr).med {
		m.later = append(m.later, cursor{id, at})
		return
	}
	m.heap = append(m.heap, cursor{id, at})
	m.up(len(m.heap) - 1)
}

func (m *pathMerge) better(i, j int) bool {
	t := m.t
	return t.compareRest(t.paths.at(m.heap[i].id), t.paths.at(m.heap[j].id)) < 0
}

// pop takes the best out of the heap.
func (m *pathMerge) pop() cursor {
	c := m.heap[0]
	last := len(m.heap) - 1
	m.heap[0] = m.heap[last]
	m.heap = m.heap[:last]
	m.down(0)
	return c
}

func (m *pathMerge) up(i int) {
	for i > 0 && m.better(i, (i-1)/2) {
		m.heap[i], m.heap[(i-1)/2] = m.heap[(i-1)/2], m.heap[i]
		i = (i - 1) / 2
	}
}

func (m *pathMerge) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(m.heap) {
			return
		}
		if child+1 < len(m.heap) && m.better(child+1, child) {
			child++
		}
		if !m.better(child, i) {
			return
		}
		m.heap[i], m.heap[child] = m.heap[child], m.heap[i]
		i = child
	}
}

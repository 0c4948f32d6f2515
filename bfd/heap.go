package bfd

import "time"

// timers is a heap of sessions by the time they next want attention, four
// children a node: shallower than two and kinder to the cache. A session is moved
// when it was served or wants attention earlier than before; a detection time
// that moves later with every packet is left where it is. Sessions that are due at the same
// time come in the order of their slots, whatever has happened before.
type timers []timer

type timer struct {
	at   time.Duration // when e is due
	slot int           // e.slot
	e    *entry        // at its place in the heap
}

// before reports whether t comes before u.
func (t *timer) before(u *timer) bool { return t.at < u.at || t.at == u.at && t.slot < u.slot }

// set puts e at the given time, inserting it if it is not in the heap.
func (h *timers) set(e *entry, at time.Duration) {
	if e.place < 0 {
		e.place = len(*h)
		*h = append(*h, timer{at, e.slot, e})
		h.up(e.place)
		return
	}
	t := &(*h)[e.place]
	later := at > t.at
	if t.at = at; later {
		h.down(e.place)
	} else {
		h.up(e.place)
	}
}

// remove takes e out.
func (h *timers) remove(e *entry) {
	if e.place < 0 {
		return
	}
	i, last := e.place, len(*h)-1
	h.put(i, (*h)[last])
	(*h)[last] = timer{}
	*h = (*h)[:last]
	e.place = -1
	if i < last {
		h.up(i)
		h.down(i)
	}
}

func (h *timers) put(i int, t timer) {
	(*h)[i] = t
	t.e.place = i
}

func (h *timers) up(i int) {
	t := (*h)[i]
	for i > 0 {
		parent := (i - 1) / 4
		if !t.before(&(*h)[parent]) {
			break
		}
		h.put(i, (*h)[parent])
		i = parent
	}
	h.put(i, t)
}

func (h *timers) down(i int) {
	t := (*h)[i]
	for {
		least, first := -1, &t
		for c := 4*i + 1; c <= 4*i+4 && c < len(*h); c++ {
			if u := &(*h)[c]; u.before(first) {
				least, first = c, u
			}
		}
		if least < 0 {
			break
		}
		h.put(i, *first)
		i = least
	}
	h.put(i, t)
}

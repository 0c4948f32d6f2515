package fib

// entry is everything known about one route key: 48 octets. An entry exists as
// long as the route is desired, in the kernel with our protocol, or in flight.
type entry struct {
	key  rkey
	want *want // nil: not desired
	have *form // our route in the kernel; nil: absent
	seen uint32
	mark mark
}

// mark is a set of flags of an entry.
type mark uint16

const (
	markDirty     mark = 1 << iota // in the queue
	markBusy                       // in the batch that is being written
	markStale                      // adopted from the kernel, never desired
	markDoomed                     // DeleteRoute was called: delete even before Sweep
	markForeign                    // a foreign route is under the key
	markContested                  // add failed with EEXIST: who is it?
	markYielding                   // ErrForeign was reported, policy says do not write
	markFailed                     // has a record in core.failures
	markRepair                     // the next write is a repair
)

const chunkSize = 1024

// store holds entries by key and by a small number, in chunks that never move.
type store struct {
	index  map[rkey]uint32
	chunks []*[chunkSize]entry
	free   []uint32
	n      uint32 // entries ever used
}

func (s *store) at(i uint32) *entry { return &s.chunks[i/chunkSize][i%chunkSize] }

func (s *store) find(k *rkey) (uint32, *entry) {
	i, ok := s.index[*k]
	if !ok {
		return 0, nil
	}
	return i, s.at(i)
}

// get finds or makes the entry of k.
func (s *store) get(k *rkey) (uint32, *entry) {
	if i, ok := s.index[*k]; ok {
		return i, s.at(i)
	}
	var i uint32
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		i = s.n
		if s.n++; int(i/chunkSize) == len(s.chunks) {
			s.chunks = append(s.chunks, new([chunkSize]entry))
		}
	}
	s.index[*k] = i
	e := s.at(i)
	*e = entry{key: *k}
	return i, e
}

func (s *store) release(i uint32) {
	e := s.at(i)
	delete(s.index, e.key)
	*e = entry{}
	s.free = append(s.free, i)
	if len(s.index) == 0 { // give the memory back
		*s = store{index: map[rkey]uint32{}}
	}
}

// used reports whether e is an entry and not a hole.
func (e *entry) used() bool { return e.want != nil || e.have != nil || e.mark != 0 }

// all calls f for every entry.
func (s *store) all(f func(i uint32, e *entry)) {
	for i := range s.n {
		if e := s.at(i); e.used() {
			f(i, e)
		}
	}
}

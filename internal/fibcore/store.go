package fibcore

import (
	"math/bits"
	"math/rand/v2"
)

// entry is everything known about one route key: 48 octets. An entry exists as
// long as the route is desired, in the kernel with our protocol, or in flight.
type entry struct {
	key  rkey
	want *want  // nil: not desired
	have *form  // our route in the kernel; nil: absent
	seen uint32 // the pass in which a dump last had it, or in which have has changed
	mark mark
}

// mark is a set of flags of an entry.
type mark uint32

const (
	markDirty     mark = 1 << iota // in the queue
	markBusy                       // in the batch that is being written
	markStale                      // adopted from the kernel, never desired
	markDeleted                    // DeleteRoute was called: delete even before Sweep
	markForeign                    // a foreign route is under the key
	markContested                  // who has the key is read before anything is written
	markYielding                   // ErrForeign was reported, policy says do not write
	markFailed                     // has a record in core.failures
	markRepair                     // the next write is a repair
	markBehind                     // have is there, but another program's route stands before it
	markAround                     // another program's route stands behind ours
	markStolen                     // another program has taken ours away: a route of its own under the key is replaced
	markLost                       // was as desired, until the kernel or another program took it away
	markChanged                    // in core.noted
	markRefused                    // an addition failed with EEXIST
	markBeside                     // what stands beside have is deleted when the brake allows it
	markMissed                     // two audits have not seen it: a difference if the next dump lacks it, too
	markSuspect                    // an audit has found a difference, and nothing has changed since
)

const chunkSize = 1024

// store holds entries by a small number, in chunks that never move, and finds
// them by key: open addressing with linear probing over slots of 8 octets, each
// an entry's number and 32 bits of its hash. A Go map with 24-octet keys would
// cost four times the memory and twice the time.
type store struct {
	slots  []slot // power of two; at most 3/4 in use
	count  uint32
	seed   uint64
	chunks []*[chunkSize]entry
	free   []uint32
	n      uint32 // entries ever used
	// metrics are those of the entries: few, and mostly the first of them.
	metrics []metricUse
}

type metricUse struct {
	metric uint32
	n      int
}

// slot refers to entry ref-1; ref 0 is empty.
type slot struct{ ref, tag uint32 }

const firstSlots = 64

func newStore() store {
	return store{slots: make([]slot, firstSlots), seed: rand.Uint64()}
}

func (s *store) at(i uint32) *entry { return &s.chunks[i/chunkSize][i%chunkSize] }

// hash mixes a key, secretly enough that routes chosen by another program do not
// collide on purpose.
func (s *store) hash(k *rkey) uint32 {
	h, l := bits.Mul64(k.hi^s.seed, k.lo^0x9e3779b97f4a7c15)
	x := uint64(k.metric)<<32 | uint64(k.table)<<16 | uint64(k.bits)<<8 | uint64(k.tos)
	h, l = bits.Mul64(h^l^k.hi^s.seed, x^0xd6e8feb86659fd93^k.lo)
	return uint32((h ^ l) >> 16)
}

// probe returns the slot of k, or the empty one where it belongs.
func (s *store) probe(k *rkey, tag uint32) uint32 {
	mask := uint32(len(s.slots) - 1)
	for i := tag & mask; ; i = (i + 1) & mask {
		v := s.slots[i]
		if v.ref == 0 || v.tag == tag && s.at(v.ref-1).key == *k {
			return i
		}
	}
}

func (s *store) find(k *rkey) (uint32, *entry) {
	v := s.slots[s.probe(k, s.hash(k))]
	if v.ref == 0 {
		return 0, nil
	}
	return v.ref - 1, s.at(v.ref - 1)
}

// get finds or makes the entry of k.
func (s *store) get(k *rkey) (uint32, *entry) {
	tag := s.hash(k)
	at := s.probe(k, tag)
	if ref := s.slots[at].ref; ref != 0 {
		return ref - 1, s.at(ref - 1)
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
	s.slots[at] = slot{i + 1, tag}
	s.useMetric(k.metric, 1)
	if s.count++; int(s.count) > len(s.slots)/4*3 {
		s.resize(2 * len(s.slots))
	}
	e := s.at(i)
	*e = entry{key: *k}
	return i, e
}

func (s *store) resize(n int) {
	old := s.slots
	s.slots = make([]slot, n)
	mask := uint32(n - 1)
	for _, v := range old {
		if v.ref != 0 {
			i := v.tag & mask
			for s.slots[i].ref != 0 {
				i = (i + 1) & mask
			}
			s.slots[i] = v
		}
	}
}

func (s *store) release(i uint32) {
	e := s.at(i)
	s.useMetric(e.key.metric, -1)
	s.unslot(s.probe(&e.key, s.hash(&e.key)))
	*e = entry{}
	s.free = append(s.free, i)
	if s.count--; s.count == 0 { // give the memory back
		*s = newStore()
	}
}

// mostMetrics is how many different metrics are kept apart.
const mostMetrics = 64

func (s *store) useMetric(metric uint32, n int) {
	for i := range s.metrics {
		if m := &s.metrics[i]; m.metric == metric {
			m.n += n
			return
		}
	}
	if len(s.metrics) < mostMetrics {
		s.metrics = append(s.metrics, metricUse{metric, n})
	}
}

// others reports whether there may be an entry like k with another metric.
func (s *store) others(k rkey) bool {
	if len(s.metrics) == mostMetrics {
		return true
	}
	for _, m := range s.metrics {
		if m.metric == k.metric || m.n == 0 {
			continue
		}
		other := k
		other.metric = m.metric
		if _, e := s.find(&other); e != nil {
			return true
		}
	}
	return false
}

// unslot empties a slot and moves back those that probing had pushed behind it.
func (s *store) unslot(hole uint32) {
	mask := uint32(len(s.slots) - 1)
	for i := hole; ; {
		i = (i + 1) & mask
		v := s.slots[i]
		if v.ref == 0 {
			break
		}
		if home := v.tag & mask; (i-home)&mask >= (i-hole)&mask {
			s.slots[hole], hole = v, i
		}
	}
	s.slots[hole] = slot{}
}

// used reports whether e is an entry and not a hole.
func (e *entry) used() bool { return e.want != nil || e.have != nil || e.mark != 0 }

// all calls f for every entry. f must not release the last one.
func (s *store) all(f func(i uint32, e *entry)) {
	for i := uint32(0); i < s.n; i++ {
		if e := s.at(i); e.used() {
			f(i, e)
		}
	}
}

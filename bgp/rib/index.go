package rib

// The prefix tables and the attribute table are open-addressing hash tables of
// slab indices. A slot is 4 octets: 26 bits of index and 6 bits of hash, which
// spare most of the cache misses of a comparison. 0 is an empty slot and
// slotGone one whose entry was deleted.
const (
	slotIDBits = 26
	slotIDMask = 1<<slotIDBits - 1
	slotGone   = slotIDMask
)

type index struct {
	slots []uint32 // see slotFor; 0: free, slotGone: deleted
	n     int      // live entries
	gone  int      // deleted slots
}

const indexMin = 64

// slotFor is what a slot holds for an entry. The position comes from the low bits of
// the hash, the tag from the high ones.
func slotFor(hash uint64, id uint32) uint32 { return uint32(hash>>58)<<slotIDBits | id }

// add enters an id that is not there yet. hashOf is asked for entries that move when
// the table grows.
func (ix *index) add(hash uint64, id uint32, hashOf func(uint32) uint64) {
	if (ix.n+ix.gone+1)*4 > len(ix.slots)*3 {
		ix.resize(hashOf)
	}
	mask := uint64(len(ix.slots) - 1)
	i := hash & mask
	for ; ix.slots[i] != 0; i = (i + 1) & mask {
		if ix.slots[i] == slotGone {
			ix.gone--
			break
		}
	}
	ix.slots[i] = slotFor(hash, id)
	ix.n++
}

// remove deletes an id that is there.
func (ix *index) remove(hash uint64, id uint32, hashOf func(uint32) uint64) {
	mask := uint64(len(ix.slots) - 1)
	want := slotFor(hash, id)
	i := hash & mask
	for ix.slots[i] != want {
		i = (i + 1) & mask
	}
	ix.n--
	if ix.slots[(i+1)&mask] == 0 {
		ix.slots[i] = 0
	} else {
		ix.slots[i] = slotGone
		ix.gone++
	}
	if len(ix.slots) > indexMin && ix.n*8 < len(ix.slots) {
		ix.resize(hashOf)
	}
}

// resize rebuilds the table so that it is between a quarter and a half full.
func (ix *index) resize(hashOf func(uint32) uint64) {
	size := indexMin
	for size < 2*(ix.n+1) {
		size *= 2
	}
	old := ix.slots
	ix.slots, ix.gone = make([]uint32, size), 0
	mask := uint64(size - 1)
	for _, s := range old {
		if s == 0 || s == slotGone {
			continue
		}
		i := hashOf(s&slotIDMask) & mask
		for ix.slots[i] != 0 {
			i = (i + 1) & mask
		}
		ix.slots[i] = s
	}
}

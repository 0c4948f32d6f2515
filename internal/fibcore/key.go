package fibcore

import "github.com/hyperfib/hyperfib/internal/fibcore/wire"

// rkey is RouteKey, packed: 24 octets without pointers, so that half a million
// of them cost the garbage collector nothing.
type rkey struct {
	hi, lo uint64 // IPv4 in the low half of lo
	metric uint32
	table  uint16 // index into tables, with the family
	bits   uint8
	tos    uint8
}

// tableFamily is what rkey.table stands for.
type tableFamily struct {
	table  uint32
	family wire.Family
}

// tables numbers (table, family) pairs in the order of their appearance.
type tables struct {
	index map[tableFamily]uint16
	list  []tableFamily
	last  tableFamily // one-entry cache
	lastI uint16
}

// of returns the number of tf, making one if there is none. ok is false when
// 65,535 are in use.
func (t *tables) of(tf tableFamily) (uint16, bool) {
	if tf == t.last && len(t.list) > 0 {
		return t.lastI, true
	}
	i, ok := t.index[tf]
	if !ok {
		if len(t.list) > 0xfffe {
			return 0, false
		}
		i = uint16(len(t.list))
		t.list = append(t.list, tf)
		t.index[tf] = i
	}
	t.last, t.lastI = tf, i
	return i, true
}

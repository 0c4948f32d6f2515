package vxlan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// op is what is to be done about one entry.
type op uint8

const (
	opNone    op = iota // neither wanted nor ours
	opKeep              // wanted and there
	opAdd               // wanted and missing
	opReplace           // wanted, and there with another VTEP
	opDelete            // ours and not wanted
	opBlocked           // wanted, but another program's entry is in the way
)

func (o op) String() string {
	return enum.String("op", []string{"none", "keep", "add", "replace", "delete", "blocked"}, o)
}

// write is a change of one entry.
type write struct {
	op op
	Entry
}

// origin is whose an entry in the kernel is.
type origin uint8

const (
	foreign origin = iota
	ours
	learned // by the kernel from traffic: anyone may replace it
)

// destination is where the frames for a MAC go.
type destination struct {
	vtep   netip.Addr
	origin origin
}

// table is the forwarding table of one device: as wanted, where the origin is ours
// throughout, or as the kernel has it.
type table struct {
	flood map[netip.Addr]origin
	macs  map[MAC]destination
}

func newTable() table {
	return table{flood: make(map[netip.Addr]origin), macs: make(map[MAC]destination)}
}

// floodOp decides about one destination of the flood list.
func floodOp(want, have *table, vtep netip.Addr) op {
	_, wanted := want.flood[vtep]
	origin, there := have.flood[vtep]
	switch {
	case wanted && there:
		return opKeep
	case wanted:
		return opAdd
	case there && origin == ours:
		return opDelete
	}
	return opNone
}

// macOp decides about one MAC. The second result is the entry's VTEP: the one
// wanted, or the one to delete.
func macOp(want, have *table, mac MAC) (op, netip.Addr) {
	w, wanted := want.macs[mac]
	h, there := have.macs[mac]
	switch {
	case wanted && !there:
		return opAdd, w.vtep
	case wanted && h.vtep == w.vtep && h.origin != learned:
		return opKeep, w.vtep
	case wanted && h.origin == foreign:
		return opBlocked, w.vtep
	case wanted:
		return opReplace, w.vtep
	case there && h.origin == ours:
		return opDelete, h.vtep
	}
	return opNone, h.vtep
}

// diff returns the changes that make have into want on link, deletions first, in a
// fixed order, and counts the rest. It is a pure function of the two tables.
func diff(link int, want, have *table) (writes []write, r Result) {
	note := func(o op, mac MAC, vtep netip.Addr) {
		switch o {
		case opNone:
			r.Foreign++
		case opKeep:
			r.Kept++
		default:
			writes = append(writes, write{o, Entry{IfIndex: link, MAC: mac, VTEP: vtep}})
		}
	}
	for v := range have.flood {
		note(floodOp(want, have, v), MAC{}, v)
	}
	for v := range want.flood {
		if _, there := have.flood[v]; !there {
			note(opAdd, MAC{}, v)
		}
	}
	for mac := range have.macs {
		o, v := macOp(want, have, mac)
		note(o, mac, v)
	}
	for mac, w := range want.macs {
		if _, there := have.macs[mac]; !there {
			note(opAdd, mac, w.vtep)
		}
	}
	slices.SortFunc(writes, compare)
	return writes, r
}

// compare orders writes: deletions before the rest, then by address.
func compare(a, b write) int {
	rank := func(w write) int {
		if w.op == opDelete {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), slices.Compare(a.MAC[:], b.MAC[:]), a.VTEP.Compare(b.VTEP))
}

// apply notes in have that w has been carried out.
func (have *table) apply(w write) {
	switch {
	case w.op == opDelete && w.MAC.IsZero():
		delete(have.flood, w.VTEP)
	case w.op == opDelete:
		delete(have.macs, w.MAC)
	case w.MAC.IsZero():
		have.flood[w.VTEP] = ours
	default:
		have.macs[w.MAC] = destination{w.VTEP, ours}
	}
}

// merge makes a table of a dump. What this process wrote stays ours even if the
// kernel's mark is gone.
func merge(dump []dumped, before *table) table {
	t := table{flood: make(map[netip.Addr]origin), macs: make(map[MAC]destination, len(dump))}
	for _, e := range dump {
		switch {
		case e.MAC.IsZero():
			if e.origin != ours && e.plain && before.flood[e.VTEP] == ours {
				e.origin = ours
			}
			t.flood[e.VTEP] = e.origin
		case e.MAC.IsUnicast():
			if b := before.macs[e.MAC]; e.origin == foreign && e.plain && b.origin == ours && b.vtep == e.VTEP {
				e.origin = ours
			}
			t.macs[e.MAC] = destination{e.VTEP, e.origin}
		}
	}
	return t
}

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
	opReplace           // wanted, and there with another value
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
	repair bool // of what another program has removed or changed
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

// place is where a bridge has a MAC.
type place struct {
	here   bool // behind our device: neither behind another port, nor the host's own
	origin origin
}

// neighbor is what the kernel knows of an address.
type neighbor struct {
	mac    MAC
	origin origin
	fixed  bool // in the state that we write: it is never probed, and does not age
}

// table is what belongs to one interface: as wanted, where the origin is ours
// throughout, or as the kernel has it.
type table struct {
	flood     map[netip.Addr]origin
	macs      map[MAC]destination
	neighbors map[netip.Addr]neighbor
	// bridge has what the interface's bridge has of it, and of other ports; nil: it is no port. What is
	// wanted there is not in it: it follows from macs.
	bridge map[MAC]place
}

func newTable() table {
	return table{flood: make(map[netip.Addr]origin), macs: make(map[MAC]destination), neighbors: make(map[netip.Addr]neighbor)}
}

// decide says what is to be done about the entry that k is about, and returns it: as it is wanted, or as it
// is to be deleted.
func decide(want, have *table, k entryKey) (op, Entry) {
	e := Entry{IfIndex: k.link, Table: k.table, MAC: k.mac}
	o := opNone
	switch {
	case k.table == TableNeighbors:
		e.Addr = k.addr
		o, e.MAC = neighborOp(want, have, k.addr)
	case k.table == TableBridge:
		o = bridgeOp(want, have, k.mac)
	case k.mac.IsZero():
		o, e.VTEP = floodOp(want, have, k.addr), k.addr
	default:
		o, e.VTEP = macOp(want, have, k.mac)
	}
	return o, e
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

// bridgeOp decides about one MAC in the bridge.
func bridgeOp(want, have *table, mac MAC) op {
	_, wanted := want.macs[mac]
	wanted = wanted && have.bridge != nil
	h, there := have.bridge[mac]
	switch {
	case wanted && !there:
		return opAdd
	case wanted && h.here && h.origin != learned:
		return opKeep
	case wanted && h.origin == foreign:
		return opBlocked
	case wanted:
		return opReplace
	case h.here && h.origin == ours:
		return opDelete
	}
	return opNone
}

// neighborOp decides about one address. The second result is the MAC wanted, or the one that is there.
func neighborOp(want, have *table, addr netip.Addr) (op, MAC) {
	w, wanted := want.neighbors[addr]
	h, there := have.neighbors[addr]
	switch {
	case wanted && !there:
		return opAdd, w.mac
	case wanted && h.mac == w.mac && (h.origin == ours && h.fixed || h.origin == foreign):
		return opKeep, w.mac
	case wanted && h.origin == foreign:
		return opBlocked, w.mac
	case wanted:
		return opReplace, w.mac
	case there && h.origin == ours:
		return opDelete, h.mac
	}
	return opNone, h.mac
}

// keys iterates over what is wanted, and what is ours in the kernel; some come twice. With all, also
// over the rest of what is in the kernel.
func keys(link int, want, have *table, all bool) func(yield func(entryKey) bool) {
	return func(yield func(entryKey) bool) {
		for _, t := range []*table{want, have} {
			for v, o := range t.flood {
				if (all || o == ours) && !yield(entryKey{link: link, addr: v}) {
					return
				}
			}
			for mac, dst := range t.macs {
				if (all || dst.origin == ours) && !yield(entryKey{link: link, mac: mac}) {
					return
				}
			}
			for a, n := range t.neighbors {
				if (all || n.origin == ours) && !yield(entryKey{link: link, table: TableNeighbors, addr: a}) {
					return
				}
			}
		}
		if have.bridge == nil {
			return
		}
		for mac := range want.macs {
			if !yield(entryKey{link: link, table: TableBridge, mac: mac}) {
				return
			}
		}
		for mac, p := range have.bridge {
			if (all || p.here && p.origin == ours) && !yield(entryKey{link: link, table: TableBridge, mac: mac}) {
				return
			}
		}
	}
}

// diff returns the changes that make have into want on link, deletions first, in a
// fixed order, and counts the rest. It is a pure function of the two tables.
func diff(link int, want, have *table) (writes []write, r Result) {
	seen := make(map[entryKey]struct{}, len(have.macs)+len(have.flood))
	for k := range keys(link, want, have, true) {
		if _, twice := seen[k]; twice {
			continue
		}
		seen[k] = struct{}{}
		switch o, e := decide(want, have, k); {
		case o == opNone && k.table == TableDevice:
			r.Foreign++
		case o == opNone:
		case o == opKeep:
			r.Kept++
		default:
			writes = append(writes, write{op: o, Entry: e})
		}
	}
	slices.SortFunc(writes, compare)
	return writes, r
}

// compare orders writes: deletions before the rest, then by table, so that a frame that the bridge sends to
// the device finds its VTEP there, then by address.
func compare(a, b write) int {
	rank := func(w write) int {
		if w.op == opDelete {
			return -int(w.Table)
		}
		return 1 + int(w.Table)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), slices.Compare(a.MAC[:], b.MAC[:]), a.VTEP.Compare(b.VTEP), a.Addr.Compare(b.Addr))
}

// apply notes in have that w has been carried out.
func (have *table) apply(w write) {
	switch {
	case w.Table == TableNeighbors && w.op == opDelete:
		delete(have.neighbors, w.Addr)
	case w.Table == TableNeighbors:
		have.neighbors[w.Addr] = neighbor{w.MAC, ours, true}
	case w.Table == TableBridge && have.bridge == nil: // it is no port any more
	case w.Table == TableBridge && w.op == opDelete:
		delete(have.bridge, w.MAC)
	case w.Table == TableBridge:
		have.bridge[w.MAC] = place{true, ours}
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

// observe notes in have, the table of link, what the kernel has told of an entry.
func (have *table) observe(e dumped, link int, gone bool, managed func(port int) bool) {
	switch {
	case e.Table == TableNeighbors && gone:
		delete(have.neighbors, e.Addr)
	case e.Table == TableNeighbors:
		have.neighbors[e.Addr] = e.neighbor()
	case e.Table == TableBridge && have.bridge == nil: // it is no port any more
	case e.Table == TableBridge && gone:
		delete(have.bridge, e.MAC)
	case e.Table == TableBridge:
		have.bridge[e.MAC] = e.place(link, managed)
	case e.MAC.IsZero() && gone:
		delete(have.flood, e.VTEP)
	case e.MAC.IsZero():
		have.flood[e.VTEP] = e.origin
	case gone:
		delete(have.macs, e.MAC)
	default:
		have.macs[e.MAC] = destination{e.VTEP, e.origin}
	}
}

// merge makes a table of a dump. What this process wrote stays ours even if the
// kernel's mark is gone.
func merge(dump []dumped, before *table) table {
	t := newTable()
	t.macs = make(map[MAC]destination, len(dump))
	for _, e := range dump {
		switch {
		case e.Table == TableNeighbors:
			t.neighbors[e.Addr] = e.neighbor()
		case e.Table == TableBridge: // see mergeBridge
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

// mergeBridge adds to the table of link, a port of master, what that has. Another port that is managed
// may lose what is ours to this one.
func (t *table) mergeBridge(dump []dumped, link, master int, managed func(port int) bool) {
	t.bridge = make(map[MAC]place, len(t.macs))
	for _, e := range dump {
		if e.Table == TableBridge && e.master == master {
			t.bridge[e.MAC] = e.place(link, managed)
		}
	}
}

// place is where e has its MAC, seen from the port link.
func (e *dumped) place(link int, managed func(port int) bool) place {
	p := place{e.IfIndex == link && !e.local, e.origin}
	switch {
	case p.here || e.origin != ours:
	case managed(e.IfIndex):
		p.origin = learned
	default:
		p.origin = foreign
	}
	return p
}

func (e *dumped) neighbor() neighbor { return neighbor{e.MAC, e.origin, e.plain} }

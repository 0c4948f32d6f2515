package fib

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Probe has the kernel look for a neighbour again, whatever it has concluded from
// an earlier silence. It is not a wish: it is done once, and failure is not
// reported.
//
// Without a MAC, an entry that the kernel holds for dead (NUD_FAILED) is asked for
// at once; one that is believed is left alone, and where there is none, none is
// made. Next-hop groups avoid a dead neighbour, so nobody would send there, and
// nobody would ask, for as long as the entry happens to live. The members of groups
// are probed without being asked for, whenever they are made.
//
// With a MAC, the entry is made or changed to be at it until the kernel has
// confirmed that (NUD_STALE): packets flow before the first answer. This is for who
// knows a neighbour that has just come, for example a guest.
func (f *FIB) Probe(ifindex int, addr netip.Addr, mac [6]byte) {
	if ifindex <= 0 || !addr.IsValid() {
		return
	}
	f.lock()
	f.probe(Neighbor{IfIndex: ifindex, Addr: addr.WithZone(""), MAC: mac})
	f.unlock()
	f.poke()
}

// probe notes a neighbour for the owner. There are as many as gateways and guests
// at most.
func (c *core) probe(n Neighbor) { c.probes[neighborKey{n.IfIndex, n.Addr, false}] = n }

// writeProbes sends what was noted. The kernel knows no entry for most.
func (o *owner) writeProbes() error {
	o.lock()
	if len(o.probes) == 0 {
		o.unlock()
		return nil
	}
	w := o.writer
	w.Reset()
	keys := slices.SortedFunc(maps.Keys(o.probes), func(a, b neighborKey) int {
		return cmp.Or(cmp.Compare(a.link, b.link), a.addr.Compare(b.addr))
	})
	for _, k := range keys[:min(len(keys), o.config.BatchMessages)] {
		w.Add(appendProbe(w.Buffer(), w.Seq(), o.probes[k]))
		delete(o.probes, k)
	}
	o.unlock()
	_, err := w.Flush()
	return err
}

func appendProbe(b []byte, seq uint32, n Neighbor) []byte {
	start := len(b)
	flags, state, ntf := uint16(rtnl.NLM_F_REQUEST), uint16(0), byte(rtnl.NTF_USE)
	if n.MAC != [6]byte{} {
		flags |= rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE
		state, ntf = rtnl.NUD_STALE, 0
	}
	b = rtnl.Begin(b, rtnl.RTM_NEWNEIGH, flags, seq)
	b = append(b, byte(familyOf(n.Addr)), 0, 0, 0)
	b = native.AppendUint32(b, uint32(n.IfIndex))
	b = native.AppendUint16(b, state)
	b = append(b, ntf, 0)
	b = rtnl.AppendAddr(b, rtnl.NDA_DST, n.Addr)
	if state != 0 {
		b = rtnl.AppendBytes(b, rtnl.NDA_LLADDR, n.MAC[:])
	}
	return rtnl.End(b, start)
}

package junos

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// path is what one client announced for a prefix, as it is passed on.
type path struct {
	from  netip.Addr // the client
	id    netip.Addr // who originated it
	attrs wire.Attrs
	next  wire.NextHop
	stale bool
}

func (p path) equal(o path) bool {
	return p.from == o.from && p.next == o.next && bytes.Equal(p.attrs, o.attrs)
}

// imported makes the path of a client's announcement: the group's community is
// added, and so is what a reflector adds (RFC 4456, Section 8). ok is false if it
// has been here before.
func imported(g *group, from, id netip.Addr, attrs wire.Attrs, next wire.NextHop) (p path, ok bool) {
	originator, has := attrs.OriginatorID()
	if !has {
		originator = id
	}
	list, _ := attrs.Get(wire.AttrClusterList)
	for i := 0; i+4 <= len(list); i += 4 {
		if netip.AddrFrom4([4]byte(list[i:])) == g.cluster {
			return path{}, false
		}
	}
	communities, _ := attrs.Get(wire.AttrCommunities)
	if !attrs.Communities().Contains(g.community) {
		communities = binary.BigEndian.AppendUint32(slices.Clone(communities), uint32(g.community))
	}
	edited := attrs.AppendEdited(nil,
		wire.Edit{Attr: wire.NewAttr(wire.AttrCommunities, communities)},
		wire.Edit{Attr: wire.NewAttr(wire.AttrOriginatorID, originator.AsSlice())},
		wire.Edit{Attr: wire.NewAttr(wire.AttrClusterList, append(g.cluster.AsSlice(), list...))})
	return path{from: from, id: originator, attrs: edited, next: next}, true
}

// better orders paths as the decision process does, as far as paths of iBGP differ
// here: LOCAL_PREF, length of AS_PATH, originator, client.
func better(a, b path) int {
	pref := func(p path) uint32 {
		if v, ok := p.attrs.LocalPref(); ok {
			return v
		}
		return 100
	}
	return cmp.Or(cmp.Compare(pref(b), pref(a)), cmp.Compare(a.attrs.ASPath().Len(), b.attrs.ASPath().Len()),
		a.id.Compare(b.id), a.from.Compare(b.from))
}

// table holds the paths to every prefix, best first.
type table map[netip.Prefix][]path

// set replaces a client's path.
func (t table) set(prefix netip.Prefix, p path) {
	t.remove(prefix, p.from)
	t[prefix] = append(t[prefix], p)
	slices.SortFunc(t[prefix], better)
}

func (t table) remove(prefix netip.Prefix, from netip.Addr) {
	left := slices.DeleteFunc(t[prefix], func(p path) bool { return p.from == from })
	if t[prefix] = left; len(left) == 0 {
		delete(t, prefix)
	}
}

// of lists the prefixes that a client announced, only the stale ones if wanted.
func (t table) of(from netip.Addr, stale bool) (out []netip.Prefix) {
	for prefix, paths := range t {
		if slices.ContainsFunc(paths, func(p path) bool { return p.from == from && (p.stale || !stale) }) {
			out = append(out, prefix)
		}
	}
	return out
}

func (t table) markStale(from netip.Addr) {
	for _, paths := range t {
		for i := range paths {
			if paths[i].from == from {
				paths[i].stale = true
			}
		}
	}
}

// export lists what a client of a group is shown of a prefix, best first: at most
// count paths with the group's community that did not come from it.
func (t table) export(prefix netip.Prefix, g *group, to netip.Addr, count int) (out []path) {
	for _, p := range t[prefix] {
		if p.from == to || len(out) == count || !p.attrs.Communities().Contains(g.community) {
			continue
		}
		out = append(out, p)
	}
	return out
}

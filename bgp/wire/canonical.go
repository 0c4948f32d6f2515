package wire

import "encoding/binary"

// AppendAttrs appends the path attributes of u to b in canonical form and returns
// the extended slice; the canonical form begins at len(b). Attributes that were
// discarded are not in it. It does not alias the message.
func (u *Update) AppendAttrs(b []byte) Attrs {
	if u.messy {
		return u.rewrite(b)
	}
	for _, r := range u.runs[:u.nruns] {
		b = append(b, u.attrs[r[0]:r[1]]...)
	}
	return b
}

// rewrite is AppendAttrs for messages that are not in order.
func (u *Update) rewrite(b []byte) Attrs {
	var at [256]uint16 // of the first attribute of each type, 1-based
	for pos := 0; pos < len(u.attrs); {
		a, rest, ok := cutAttr(u.attrs[pos:])
		if !ok {
			break
		}
		if at[a.Type] == 0 {
			at[a.Type] = uint16(pos) + 1
		}
		pos = len(u.attrs) - len(rest)
	}
	get := func(t AttrType) (a Attr, ok bool) {
		if at[t] != 0 && u.keep[t>>6]&(1<<(t&63)) != 0 {
			a, _, ok = cutAttr(u.attrs[at[t]-1:])
		}
		return a, ok
	}
	for i := range at {
		a, ok := get(AttrType(i))
		if !ok || specs[a.Type].drop {
			continue
		}
		if !specs[a.Type].known {
			a.Flags |= FlagPartial
		}
		if !u.opt.AS4 {
			a.Value = widen(a, get)
		}
		if a.Type == AttrLargeCommunities {
			a.Value = LargeCommunities(a.Value).distinct()
		}
		b = a.Append(b)
	}
	return b
}

// widen returns the value of a with 4-octet AS numbers, taken from the AS4
// attributes where RFC 6793, Section 4.2.3, allows it: if the AS number in AGGREGATOR is not
// AS_TRANS, "the AS4_AGGREGATOR attribute and the AS4_PATH attribute SHALL be ignored", since a
// speaker that does not know them has aggregated after one that does.
func widen(a Attr, get func(AttrType) (Attr, bool)) []byte {
	aggregator, aggregated := get(AttrAggregator)
	trusted := !aggregated || binary.BigEndian.Uint16(aggregator.Value) == ASTrans
	switch a.Type {
	case AttrAggregator:
		if v4, ok := get(AttrAS4Aggregator); ok && trusted {
			return v4.Value
		}
		return append([]byte{0, 0}, a.Value...)
	case AttrASPath:
		if v4, ok := get(AttrAS4Path); ok && trusted {
			return mergePaths(a.Value, v4.Value)
		}
		return widenPath(nil, a.Value, 1<<30)
	}
	return a.Value
}

// widenPath appends to b the first n AS numbers (as pathLen counts) of a 2-octet
// path, with the confederation segments before and right after them.
func widenPath(b, path []byte, n int) []byte {
	for len(path) >= 2 {
		t, count := SegmentType(path[0]), int(path[1])
		take := count
		switch t {
		case ASSequence:
			take = min(count, n)
			n -= take
		case ASSet:
			if n == 0 {
				take = 0
			}
			n = max(n-1, 0)
		}
		if take == 0 {
			break
		}
		b = append(b, byte(t), byte(take))
		for i := range take {
			b = append(b, 0, 0, path[2+2*i], path[3+2*i])
		}
		if take < count {
			break
		}
		path = path[2+2*count:]
	}
	return b
}

// mergePaths puts the leading AS numbers of the 2-octet path that AS4_PATH lacks in
// front of it. Confederation segments in AS4_PATH are left out. RFC 6793, Section 4.2.3:
//
// "If the number of AS numbers in the AS_PATH attribute is less than the number of AS numbers
// in the AS4_PATH attribute, then the AS4_PATH attribute SHALL be ignored, and the AS_PATH
// attribute SHALL be taken as the AS path information."
//
// "Note that a valid AS_CONFED_SEQUENCE or AS_CONFED_SET path segment SHALL be prepended if it
// is either the leading path segment or is adjacent to a path segment that is prepended."
func mergePaths(path, path4 []byte) []byte {
	missing := pathLen(path, 2) - pathLen(path4, 4)
	if missing < 0 {
		return widenPath(nil, path, 1<<30)
	}
	v := widenPath(nil, path, missing)
	for s := range ASPath(path4).Segments() {
		if s.Type > ASSequence {
			continue
		}
		last := lastSegment(v)
		if s.Type == ASSequence && last >= 0 && v[last] == byte(ASSequence) && int(v[last+1])+s.Len() <= 255 {
			v[last+1] += byte(s.Len())
			v = append(v, s.Raw...)
			continue
		}
		v = append(append(v, byte(s.Type), byte(s.Len())), s.Raw...)
	}
	return v
}

// lastSegment is where the last segment of a 4-octet path starts, -1 if it is empty.
func lastSegment(v []byte) int {
	at := -1
	for next := 0; next < len(v); next += 2 + 4*int(v[next+1]) {
		at = next
	}
	return at
}

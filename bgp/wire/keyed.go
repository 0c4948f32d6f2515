package wire

import (
	"encoding/binary"
	"iter"
)

// Keyed is one NLRI of a family whose NLRI are no prefixes of addresses, EVPN or RTConstrain, as a RIB
// looks at it: a key of octets that names it, and the rest, which is replaced with its attributes.
// [List.EVPN] and [List.Memberships] have what is in it.
type Keyed struct {
	Family Family
	Octets []byte // without the path identifier; aliases the message
	PathID uint32 // 0 without ADD-PATH
}

// Keyed iterates over the NLRI of l, if its family is EVPN or RTConstrain. An NLRI that is paired with an
// [*Error] is to be treated as a withdraw by itself. One that is malformed so that it has no name has no octets. A List that Update.Parse has not checked may end
// with another one beside the zero Keyed, where it is malformed. It allocates nothing.
func (l List) Keyed() iter.Seq2[Keyed, error] {
	return func(yield func(Keyed, error) bool) {
		switch l.Family {
		case L2VPNEVPN, RTConstrain:
			eachKeyed(l, yield)
		}
	}
}

func eachKeyed(l List, yield func(Keyed, error) bool) {
	for b := l.Raw; len(b) > 0; {
		k, size, err := cutKeyed(l, b)
		if !yield(k, err) || size == 0 {
			return
		}
		b = b[size:]
	}
}

// cutKeyed reads the NLRI at the start of b, a part of l. The size is 0 if it is malformed.
func cutKeyed(l List, b []byte) (k Keyed, size int, err error) {
	k.Family = l.Family
	if l.Family == RTConstrain {
		if k.Octets, k.PathID, size = cutMembership(b, l.AddPath); size > 0 {
			return k, size, lengthError(k.Octets[0])
		}
		return Keyed{}, 0, errNLRI
	}
	n, size := cutEVPN(b, l.AddPath)
	if size == 0 {
		return Keyed{}, 0, errNLRI
	}
	k.PathID = n.PathID
	if n.named() {
		k.Octets = n.Octets
	}
	return k, size, n.routeError(l.noMAC)
}

// AppendKey appends what names the NLRI: see [EVPN] and [Membership.AppendKey].
func (k Keyed) AppendKey(b []byte) []byte {
	if k.Family == RTConstrain {
		return membershipOf(k.Octets).AppendKey(b)
	}
	return EVPN{Octets: k.Octets}.AppendKey(b)
}

// AppendRest appends what does not name it: see [EVPN]. A membership has nothing of that kind.
func (k Keyed) AppendRest(b []byte) []byte {
	if k.Family == RTConstrain {
		return b
	}
	return EVPN{Octets: k.Octets}.AppendRest(b)
}

// AddKeyed is [Builder.Add] for a message of EVPN or RTConstrain: it adds the NLRI that has a key and a
// rest, with a path identifier if ADD-PATH is negotiated for the family. A key of EVPN alone, as in a
// withdrawal, gets zeros for the rest.
func (b *Builder) AddKeyed(key, rest []byte, pathID uint32) bool {
	at := len(b.b)
	end := at + len(key)
	if b.family != RTConstrain {
		end = at + SizeEVPN(key, rest)
	}
	if b.addPath {
		end += 4
	}
	if end > b.limit {
		return false
	}
	if b.addPath {
		b.b = binary.BigEndian.AppendUint32(b.b, pathID)
	}
	if b.family == RTConstrain {
		b.b = append(b.b, key...)
	} else {
		b.b = AppendEVPN(b.b, key, rest)
	}
	return true
}

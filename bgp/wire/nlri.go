package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
)

// NLRI is one prefix in an UPDATE, with its path identifier where ADD-PATH is
// negotiated (RFC 7911), else 0. It is comparable.
type NLRI struct {
	Prefix netip.Prefix // always masked
	PathID uint32
}

// String returns the prefix, followed by "#id" if there is a path identifier.
func (n NLRI) String() string {
	if n.PathID == 0 {
		return n.Prefix.String()
	}
	return fmt.Sprintf("%v#%d", n.Prefix, n.PathID)
}

// NextHop is where routes lead to: an IPv4 address, or an IPv6 address with an
// optional link-local one beside it (RFC 2545, Section 3). It is comparable; the
// zero value is no next hop.
type NextHop struct {
	Addr      netip.Addr
	LinkLocal netip.Addr // the zero Addr if there is none
}

// List is a run of encoded NLRI of one family. The zero value is empty. It aliases
// the message it came from.
type List struct {
	Family  Family
	AddPath bool   // path identifiers are present
	Raw     []byte // well-formed if the List comes from Update.Parse
}

// Empty reports whether l has no NLRI.
func (l List) Empty() bool { return len(l.Raw) == 0 }

// ErrNotUnicast comes with an NLRI that is well-formed but names no unicast
// destination: multicast, loopback, IPv6 link-local. It is to be logged and ignored
// (RFC 4271, Section 6.3).
var ErrNotUnicast = &Error{Disposition: AttributeDiscard, Code: CodeUpdate, Subcode: SubNetwork, Message: TypeUpdate,
	RFC: "RFC 4271, Section 6.3", Text: "prefix is not unicast: ignored"}

var errNLRI = &Error{Disposition: SessionReset, Code: CodeUpdate, Subcode: SubNetwork, Message: TypeUpdate,
	RFC: "RFC 7606, Section 5.3", Text: "malformed NLRI"}

// All iterates over the NLRI of l. An NLRI is paired with [ErrNotUnicast] if it is
// to be ignored. A List that Update.Parse has not checked may end with another
// [*Error] beside the zero NLRI, where it is malformed. A range over it allocates nothing
// in a function; in a function literal Go 1.26 may move the loop's body to the heap.
func (l List) All() iter.Seq2[NLRI, error] {
	return func(yield func(NLRI, error) bool) { // small: it is inlined into its caller, and nothing escapes
		if l.Family == IPv4Unicast {
			each4(l.Raw, l.AddPath, yield)
		} else if l.Family == IPv6Unicast {
			each6(l.Raw, l.AddPath, yield)
		}
	}
}

// each4 is All for IPv4.
func each4(b []byte, addPath bool, yield func(NLRI, error) bool) {
	var a [4]byte
	for i := 0; i < len(b); {
		var id uint32
		if addPath {
			if len(b)-i < 5 {
				yield(NLRI{}, errNLRI)
				return
			}
			id = binary.BigEndian.Uint32(b[i:])
			i += 4
		}
		bits := uint(b[i])
		i++
		size := int(bits+7) >> 3
		if bits > 32 || len(b)-i < size {
			yield(NLRI{}, errNLRI)
			return
		}
		var v uint32
		if len(b)-i >= 4 { // nearly always: read more than is needed
			v = binary.BigEndian.Uint32(b[i:])
		} else {
			for j, x := range b[i:] {
				v |= uint32(x) << (24 - 8*j)
			}
		}
		i += size
		v &= uint32(^uint64(0) << (32 - bits))
		var err error
		if v >= 127<<24 && notUnicast4(v, bits) {
			err = ErrNotUnicast
		}
		binary.BigEndian.PutUint32(a[:], v)
		if !yield(NLRI{netip.PrefixFrom(netip.AddrFrom4(a), int(bits)), id}, err) {
			return
		}
	}
}

// notUnicast4: loopback and multicast. The rest of 240.0.0.0/4 may one day be used.
func notUnicast4(v uint32, bits uint) bool {
	return v>>28 == 14 && bits >= 4 || v>>24 == 127 && bits >= 8
}

// each6 is All for IPv6.
func each6(b []byte, addPath bool, yield func(NLRI, error) bool) {
	for len(b) > 0 {
		var id uint32
		if addPath {
			if len(b) < 5 {
				yield(NLRI{}, errNLRI)
				return
			}
			id = binary.BigEndian.Uint32(b)
			b = b[4:]
		}
		bits := uint(b[0])
		size := int(bits+7) >> 3
		if bits > 128 || len(b) <= size {
			yield(NLRI{}, errNLRI)
			return
		}
		var a [16]byte
		if len(b) >= 17 {
			a = [16]byte(b[1:17])
		} else {
			copy(a[:], b[1:])
		}
		b = b[1+size:]
		mask6(&a, bits)
		n := NLRI{netip.PrefixFrom(netip.AddrFrom16(a), int(bits)), id}
		var err error
		if a[0] >= 0xfe && notUnicast6(&a, bits) || bits == 128 && n.Prefix.Addr().IsLoopback() {
			err = ErrNotUnicast
		}
		if !yield(n, err) {
			return
		}
	}
}

// notUnicast6: multicast and link-local.
func notUnicast6(a *[16]byte, bits uint) bool {
	return a[0] == 0xff && bits >= 8 || a[0] == 0xfe && a[1]&0xc0 == 0x80 && bits >= 10
}

// mask6 clears what follows the first bits bits of a.
func mask6(a *[16]byte, bits uint) {
	hi, lo := ^uint64(0), ^uint64(0)
	if bits < 64 {
		hi, lo = ^(^uint64(0) >> bits), 0
	} else {
		lo = ^(^uint64(0) >> (bits - 64))
	}
	binary.BigEndian.PutUint64(a[:8], binary.BigEndian.Uint64(a[:8])&hi)
	binary.BigEndian.PutUint64(a[8:], binary.BigEndian.Uint64(a[8:])&lo)
}

// wellFormed reports whether every NLRI of l has a length that its family allows
// and ends where l ends (RFC 7606, Section 5.3).
func (l List) wellFormed() bool {
	b, most, skip := l.Raw, byte(l.Family.bits()), 0
	if l.AddPath {
		skip = 4
	}
	i := 0
	for i+skip < len(b) {
		n := b[i+skip]
		if n > most {
			return false
		}
		step := skip + 1 + int(n+7)>>3
		// Neighbours mostly have the same length: a branch that predicts it is faster
		// than an address that waits for the octet before.
		for i += step; i+skip < len(b) && b[i+skip] == n; i += step {
		}
	}
	return i == len(b)
}

// AppendNLRI appends n as it stands in an UPDATE, with the path identifier if
// addPath is set.
func AppendNLRI(b []byte, n NLRI, addPath bool) []byte {
	if addPath {
		b = binary.BigEndian.AppendUint32(b, n.PathID)
	}
	bits := n.Prefix.Bits()
	b = append(b, byte(bits))
	if n.Prefix.Addr().Is4() {
		a := n.Prefix.Addr().As4()
		return append(b, a[:(bits+7)>>3]...)
	}
	a := n.Prefix.Addr().As16()
	return append(b, a[:(bits+7)>>3]...)
}

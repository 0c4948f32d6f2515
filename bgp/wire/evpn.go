package wire

import (
	"encoding/binary"
	"iter"
)

// EVPN is one EVPN NLRI (RFC 7432, Section 7), with its path identifier where ADD-PATH is
// negotiated, else 0:
//
//	Route Type (1), Length (1) in octets, Route Type specific (Length)
//
// Package bgp/evpn has what is in it. Here it is what an UPDATE and a RIB need of it: where it ends,
// and which of its fields name the route. RFC 7432, Section 7.2, of type 2: "For the purpose of BGP
// route key processing, only the Ethernet Tag ID, MAC Address Length, MAC Address, IP Address
// Length, and IP Address fields are considered to be part of the prefix in the NLRI. The Ethernet
// Segment Identifier, MPLS Label1, and MPLS Label2 fields are to be treated as route attributes as
// opposed to being part of the route." So two NLRI that differ only in these are one route, and the
// later one replaces the other. Key and rest are the two halves:
//
//	type                         key, after Route Type (1)                      rest
//	1 Ethernet A-D               RD (8), ESI (10), Tag (4)                      label (3)
//	2 MAC/IP                     RD (8), Tag (4), 48 (1), MAC (6), bits (1), IP ESI (10), labels (3 or 6)
//	3 inclusive multicast        RD (8), Tag (4), bits (1), IP                  -
//	4 Ethernet segment           RD (8), ESI (10), bits (1), IP                 -
//	5 IP prefix                  RD (8), Tag (4), bits (1), prefix (4 or 16)    ESI (10), gateway (4 or 16), label (3)
//	others                       all of it                                      -
//
// RFC 7606, Section 5.4, has a speaker discard routes of types that it does not recognize, "unless the
// relevant specification for that address family specifies otherwise". Here they are kept, by all of
// their octets: what makes use of routes passes over them, and a reflector that drops what is newer
// than itself would keep its clients from using it. A policy can refuse them (rib.Route.Key).
//
// Type 5 is of RFC 9136, Section 3.1. The key has no Length octet: its own length and the type tell it.
type EVPN struct {
	Octets []byte // from Route Type on, as long as its Length says; aliases the message
	PathID uint32 // 0 without ADD-PATH
}

// Route types whose fields are known here.
const (
	evpnAD        = 1
	evpnMACIP     = 2
	evpnMulticast = 3
	evpnSegment   = 4
	evpnPrefix    = 5
)

// Sizes of EVPN fields, in octets.
const (
	sizeRD    = 8
	sizeESI   = 10
	sizeTag   = 4
	sizeLabel = 3
)

// ErrEVPNOverlay comes with an IP prefix route with two overlay indexes: "A route containing a
// non-zero GW IP and a non-zero ESI (at the same time) SHOULD be treat as withdraw" (RFC 9136, Section
// 3.2).
var ErrEVPNOverlay = &Error{Disposition: TreatAsWithdraw, Code: CodeUpdate, Subcode: SubNetwork, Message: TypeUpdate,
	RFC: "RFC 9136, Section 3.2", Text: "IP prefix route with an ESI and a gateway"}

// ErrEVPNLabel comes with an IP prefix route that leads nowhere: "If the received label is zero and the
// route does not contain an Overlay Index, it MUST be "treat as withdraw"" (RFC 9136, Section 3.1). The
// label is all of its 24 bits, since it may be a VNI. The index may be the ESI, the gateway, or the MAC
// address in a Router's MAC community of the UPDATE (Section 3.2): it comes only with a list of
// Update.MPReach.
var ErrEVPNLabel = &Error{Disposition: TreatAsWithdraw, Code: CodeUpdate, Subcode: SubNetwork, Message: TypeUpdate,
	RFC: "RFC 9136, Section 3.1", Text: "IP prefix route without a label or an overlay index"}

// ErrEVPNFields comes with a route of types 1 to 5 whose fields do not fill its length, or have a value that leaves open
// where the next one begins: a MAC address of other than 48 bits, an address of 33. RFC 7606, Section 5.3, has the
// session reset for an NLRI whose length is inconsistent with its family, since nobody knows then where the next one
// begins. Here the Length octet says that, and what is behind it is a matter of the route's type. So such a route is
// treated as one of a type that is not recognized, "discarding them" (Section 5.4); if the fields that name it are there,
// what was announced under its name before is withdrawn.
var ErrEVPNFields = &Error{Disposition: RouteWithdraw, Code: CodeUpdate, Subcode: SubNetwork, Message: TypeUpdate,
	RFC: "RFC 7606, Section 5.4", Text: "malformed EVPN route"}

// EVPN iterates over the NLRI of l, if its family is EVPN. An NLRI is paired with
// [ErrEVPNOverlay] or [ErrEVPNLabel] if it is to be treated as a withdraw by itself, with [ErrEVPNFields] if it is
// malformed and may not even have a name. A List that Update.Parse has not
// checked may end with another [*Error] beside the zero EVPN, where it is malformed. It allocates
// nothing.
func (l List) EVPN() iter.Seq2[EVPN, error] {
	return func(yield func(EVPN, error) bool) {
		if l.Family == L2VPNEVPN {
			eachEVPN(l, yield)
		}
	}
}

func eachEVPN(l List, yield func(EVPN, error) bool) {
	for b := l.Raw; len(b) > 0; {
		n, size := cutEVPN(b, l.AddPath)
		if size == 0 {
			yield(EVPN{}, errNLRI)
			return
		}
		if !yield(n, n.routeError(l.noMAC)) {
			return
		}
		b = b[size:]
	}
}

// cutEVPN reads the NLRI at the start of b. The size is 0 if it is malformed.
func cutEVPN(b []byte, addPath bool) (n EVPN, size int) {
	if addPath {
		if len(b) < 4 {
			return EVPN{}, 0
		}
		n.PathID = binary.BigEndian.Uint32(b)
		b, size = b[4:], 4
	}
	if len(b) < 2 || len(b)-2 < int(b[1]) {
		return EVPN{}, 0
	}
	end := 2 + int(b[1])
	n.Octets = b[:end:end]
	return n, size + end
}

// wellFormedEVPN reports whether each NLRI ends where it should. RFC 7606, Section 5.3, counts an NLRI
// that runs past the end as a syntactic error of the attribute: the session is reset. See
// [ErrEVPNFields] for what is wrong within an NLRI.
func wellFormedEVPN(b []byte, addPath bool) bool {
	for len(b) > 0 {
		_, size := cutEVPN(b, addPath)
		if size == 0 {
			return false
		}
		b = b[size:]
	}
	return true
}

// fieldsEVPN reports whether the fields of each NLRI are as its type wants them.
func fieldsEVPN(b []byte, addPath bool) bool {
	for len(b) > 0 {
		n, size := cutEVPN(b, addPath)
		if size == 0 || !n.wellFormed() {
			return false
		}
		b = b[size:]
	}
	return true
}

func (n EVPN) wellFormed() bool { return wellFormedRoute(n.Octets[0], n.Octets[2:]) }

// named reports whether the fields that name the route are there, whatever is behind them.
func (n EVPN) named() bool {
	v := n.Octets[2:]
	switch n.Octets[0] {
	case evpnAD:
		return len(v) >= sizeRD+sizeESI+sizeTag
	case evpnMACIP:
		const ipLen = sizeRD + sizeESI + sizeTag + 1 + 6
		return len(v) > ipLen && v[sizeRD+sizeESI+sizeTag] == 48 && (v[ipLen] == 0 || v[ipLen] == 32 || v[ipLen] == 128) && len(v) > ipLen+int(v[ipLen]>>3)
	}
	return n.wellFormed()
}

// wellFormedRoute reports whether the fields of a route of a known type fill its length exactly.
func wellFormedRoute(typ byte, v []byte) bool {
	switch typ {
	case evpnAD: // RD (8), ESI (10), Ethernet Tag ID (4), MPLS Label (3): RFC 7432, Section 7.1
		return len(v) == sizeRD+sizeESI+sizeTag+sizeLabel
	case evpnMACIP: // RD, ESI, Tag, MAC Address Length (1), MAC (6), IP Address Length (1), IP (0, 4, 16), Label1 (3), Label2 (0, 3): Section 7.2
		const ipLen = sizeRD + sizeESI + sizeTag + 1 + 6
		if len(v) <= ipLen || v[sizeRD+sizeESI+sizeTag] != 48 {
			return false
		}
		rest := len(v) - ipLen - 1 - int(v[ipLen]>>3)
		return (v[ipLen] == 0 || v[ipLen] == 32 || v[ipLen] == 128) && (rest == sizeLabel || rest == 2*sizeLabel)
	case evpnMulticast: // RD, Tag, IP Address Length (1), Originating Router's IP Address: Section 7.3
		return addressAt(v, sizeRD+sizeTag)
	case evpnSegment: // RD, ESI, IP Address Length (1), Originating Router's IP Address: Section 7.4
		return addressAt(v, sizeRD+sizeESI)
	case evpnPrefix: // RD, ESI, Tag, IP Prefix Length (1), IP Prefix, GW IP Address, MPLS Label (3): RFC 9136, Section 3.1: 34 or 58 octets
		const bits = sizeRD + sizeESI + sizeTag
		return len(v) == bits+1+2*4+sizeLabel && v[bits] <= 32 || len(v) == bits+1+2*16+sizeLabel && v[bits] <= 128
	}
	return true
}

// addressAt reports whether v ends with an address after its length in bits at i.
func addressAt(v []byte, i int) bool {
	return len(v) == i+5 && v[i] == 32 || len(v) == i+17 && v[i] == 128
}

// routeError returns what is wrong with a route by itself.
func (n EVPN) routeError(noMAC bool) error {
	if !n.wellFormed() {
		return ErrEVPNFields
	}
	return n.overlayError(noMAC)
}

// overlayError returns what is wrong with an IP prefix route: it has more than one overlay index, or neither
// one nor a label. noMAC says that there is none in a community either.
func (n EVPN) overlayError(noMAC bool) error {
	if n.Octets[0] != evpnPrefix {
		return nil
	}
	v := n.Octets[2:]
	size := (len(v) - sizeRD - sizeESI - sizeTag - 1 - sizeLabel) / 2
	esi, gateway := !zero(v[sizeRD:sizeRD+sizeESI]), !zero(v[len(v)-sizeLabel-size:len(v)-sizeLabel])
	switch {
	case esi && gateway:
		return ErrEVPNOverlay
	case noMAC && !esi && !gateway && zero(v[len(v)-sizeLabel:]):
		return ErrEVPNLabel
	}
	return nil
}

// routerMAC reports whether the UPDATE has a Router's MAC community: 0x06, 0x03, MAC (6) (RFC 9135,
// Section 8.1).
func (u *Update) routerMAC() bool {
	for a := range u.Attrs() {
		if a.Type != AttrExtCommunities {
			continue
		}
		for c := range ExtCommunities(a.Value).All() {
			if c>>48 == 0x0603 {
				return true
			}
		}
		break // of several the first counts
	}
	return false
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// AppendKey appends what names the route, which is well-formed. Of an IP prefix, bits after its length are 0.
func (n EVPN) AppendKey(b []byte) []byte {
	v := n.Octets[2:]
	b = append(b, n.Octets[0])
	switch n.Octets[0] {
	case evpnAD:
		return append(b, v[:sizeRD+sizeESI+sizeTag]...)
	case evpnMACIP:
		const ipLen = sizeRD + sizeESI + sizeTag + 1 + 6
		return append(append(b, v[:sizeRD]...), v[sizeRD+sizeESI:ipLen+1+int(v[ipLen]>>3)]...)
	case evpnPrefix:
		const at = sizeRD + sizeESI
		b = append(append(b, v[:sizeRD]...), v[at:at+sizeTag+1]...)
		bits := int(v[at+sizeTag])
		p := v[at+sizeTag+1 : len(v)-sizeLabel]
		for i, x := range p[:len(p)/2] {
			b = append(b, x&^(0xff>>max(0, min(8, bits-8*i))))
		}
		return b
	}
	return append(b, v...)
}

// AppendRest appends what does not name the route: it may change, and is withdrawn with it.
func (n EVPN) AppendRest(b []byte) []byte {
	v := n.Octets[2:]
	switch n.Octets[0] {
	case evpnAD:
		return append(b, v[sizeRD+sizeESI+sizeTag:]...)
	case evpnMACIP:
		const ipLen = sizeRD + sizeESI + sizeTag + 1 + 6
		return append(append(b, v[sizeRD:sizeRD+sizeESI]...), v[ipLen+1+int(v[ipLen]>>3):]...)
	case evpnPrefix:
		size := (len(v) - sizeRD - sizeESI - sizeTag - 1 - sizeLabel) / 2
		return append(append(b, v[sizeRD:sizeRD+sizeESI]...), v[len(v)-sizeLabel-size:]...)
	}
	return b
}

// restSize returns how long the shortest rest of a key is.
func restSize(key []byte) int {
	switch key[0] {
	case evpnAD:
		return sizeLabel
	case evpnMACIP:
		return sizeESI + sizeLabel
	case evpnPrefix:
		return sizeESI + len(key) - 1 - sizeRD - sizeTag - 1 + sizeLabel
	}
	return 0
}

// SizeEVPN returns how many octets [AppendEVPN] appends.
func SizeEVPN(key, rest []byte) int { return 1 + len(key) + max(len(rest), restSize(key)) }

// AppendEVPN appends the NLRI that has a key and a rest, without a path identifier; it is the reverse
// of [EVPN.AppendKey] and [EVPN.AppendRest]. A key alone, as in a withdrawal, gets zeros for the
// rest: no receiver looks at them, but the length must be right.
func AppendEVPN(b, key, rest []byte) []byte {
	n := restSize(key)
	if len(rest) == 0 && n > 0 {
		var zeros [sizeESI + 16 + sizeLabel]byte
		rest = zeros[:n]
	}
	b = append(b, key[0], byte(len(key)-1+len(rest)))
	switch key[0] {
	case evpnMACIP, evpnPrefix: // the ESI stands behind the RD
		b = append(b, key[1:1+sizeRD]...)
		b = append(b, rest[:sizeESI]...)
		b = append(b, key[1+sizeRD:]...)
		return append(b, rest[sizeESI:]...)
	}
	return append(append(b, key[1:]...), rest...)
}

// wellFormedPMSI reports whether the value of a PMSI Tunnel attribute is long enough, and its tunnel
// identifier an address if it must be one (RFC 6514, Section 5):
//
//	Flags (1), Tunnel Type (1), MPLS Label (3), Tunnel Identifier
//
// Of ingress replication, type 6, the identifier is the address of the tunnel's end.
func wellFormedPMSI(v []byte) bool {
	return len(v) >= 5 && (v[1] != 6 || len(v) == 5+4 || len(v) == 5+16)
}

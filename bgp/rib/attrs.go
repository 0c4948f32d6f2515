package rib

import (
	"encoding/binary"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Attrs is the attribute set of a path: what the NLRI of an UPDATE share, next hop
// included. It is a view of interned octets that are never modified: it stays valid
// for ever and is safe for concurrent use. Fields are parsed when they are asked for.
// The zero value has no attributes and no next hop.
type Attrs struct {
	wire.Attrs
	tail []byte // what follows them: see appendTail
}

// NextHop returns the next hop. Its Addr is not valid for a local path that leaves
// the next hop to each session.
func (a Attrs) NextHop() wire.NextHop {
	var n wire.NextHop
	b := a.nextHop()
	if len(b) == 32 {
		n.LinkLocal = netip.AddrFrom16([16]byte(b[16:]))
		b = b[:16]
	}
	n.Addr, _ = netip.AddrFromSlice(b)
	return n
}

// EVPN returns the NLRI of an EVPN route with these attributes whose key is key (see [wire.EVPN]). It
// allocates; the result aliases nothing.
func (a Attrs) EVPN(key []byte) wire.EVPN {
	return wire.EVPN{Octets: wire.AppendEVPN(nil, key, a.rest())}
}

// nextHop returns the octets of the next hop: 0, 4, 16 or 32.
func (a Attrs) nextHop() []byte {
	if len(a.tail) == 0 {
		return nil
	}
	return a.tail[1 : 1+a.tail[0]]
}

// rest returns what an NLRI has beside its key, nothing for a prefix.
func (a Attrs) rest() []byte {
	if len(a.tail) == 0 {
		return nil
	}
	return a.tail[1+a.tail[0]:]
}

// appendTail appends what follows the attributes of a set: length (1) of the next hop, and the next hop. The
// rest of an NLRI comes after it: see attrStore.with.
func appendTail(b []byte, n wire.NextHop) []byte {
	at := len(b)
	b = appendNextHop(append(b, 0), n)
	b[at] = byte(len(b) - at - 1)
	return b
}

// appendTailOctets is appendTail for a next hop as octets.
func appendTailOctets(b, nextHop []byte) []byte {
	return append(append(b, byte(len(nextHop))), nextHop...)
}

// appendNextHop appends the octets of n.
func appendNextHop(b []byte, n wire.NextHop) []byte {
	switch {
	case !n.Addr.IsValid():
		return b
	case n.Addr.Is4():
		a := n.Addr.As4()
		return append(b, a[:]...)
	}
	a := n.Addr.As16()
	b = append(b, a[:]...)
	if n.LinkLocal.IsValid() {
		a = n.LinkLocal.As16()
		b = append(b, a[:]...)
	}
	return b
}

// summary is what the decision process and export ask of an attribute set again and
// again, so it is read once, when the set is interned.
type summary struct {
	localPref  uint32 // 100 if there is none
	med        uint32 // 0 if there is none
	neighbour  uint32 // neighbouring AS, 0 if the path is empty, or with AlwaysCompareMED
	originator uint32 // ORIGINATOR_ID, 0 if there is none
	pathLen    uint16 // length of AS_PATH as the decision process counts it
	clusters   uint8  // length of CLUSTER_LIST, at most 255
	origin     uint8  // ORIGIN: 0 IGP, 1 EGP, 2 incomplete
	marks      marks  // facts about the set
}

// marks are facts about an attribute set.
type marks uint16

const (
	markLLGRStale      marks = 1 << iota // carries LLGR_STALE (RFC 9494, Section 3.2)
	markNoLLGR                           // carries NO_LLGR
	markNoAdvertise                      // carries NO_ADVERTISE (RFC 1997, "Well-known Communities")
	markNoExport                         // carries NO_EXPORT or NO_EXPORT_SUBCONFED
	markLoopAS                           // our AS is in AS_PATH
	markLoopOriginator                   // ORIGINATOR_ID is our router id
	markLoopCluster                      // our cluster is in CLUSTER_LIST
	markShutdown                         // carries GRACEFUL_SHUTDOWN (RFC 8326, Section 5)
	markOTC                              // has an OTC attribute (RFC 9234, Section 5)
)

// defaultLocalPref is what a path without LOCAL_PREF is worth. RFC 4271, Section 5.1.5, leaves the
// value open; 100 is what every implementation uses.
const defaultLocalPref = 100

// own is who we are, for the loop checks, and AlwaysCompareMED.
type own struct {
	as, routerID, clusterID uint32
	allMED                  bool
}

func summarize(a wire.Attrs, us own) summary {
	s := summary{localPref: defaultLocalPref, origin: uint8(wire.OriginIncomplete)}
	for b := []byte(a); len(b) >= 3; {
		t, v, rest := cut(b)
		s.note(t, v, us)
		b = rest
	}
	return s
}

// note takes one attribute in.
func (s *summary) note(t wire.AttrType, v []byte, us own) {
	switch t {
	case wire.AttrOrigin:
		s.origin = v[0]
	case wire.AttrASPath:
		p := wire.ASPath(v)
		s.pathLen = uint16(min(p.Len(), 0xffff))
		if !us.allMED {
			s.neighbour, _ = p.First()
		}
		if p.Contains(us.as) {
			s.marks |= markLoopAS
		}
	case wire.AttrMED:
		s.med = binary.BigEndian.Uint32(v)
	case wire.AttrLocalPref:
		s.localPref = binary.BigEndian.Uint32(v)
	case wire.AttrOriginatorID:
		s.originator = binary.BigEndian.Uint32(v)
		if s.originator == us.routerID {
			s.marks |= markLoopOriginator
		}
	case wire.AttrClusterList:
		s.clusters = uint8(min(len(v)/4, 255))
		if wire.ClusterList(v).Contains(addr32(us.clusterID)) {
			s.marks |= markLoopCluster
		}
	case wire.AttrOnlyToCustomer:
		s.marks |= markOTC
	case wire.AttrCommunities:
		for c := range wire.Communities(v).All() {
			s.marks |= communityMarks(c)
		}
	}
}

func communityMarks(c wire.Community) marks {
	switch c {
	case wire.CommunityLLGRStale:
		return markLLGRStale
	case wire.CommunityNoLLGR:
		return markNoLLGR
	case wire.CommunityNoAdvertise:
		return markNoAdvertise
	case wire.CommunityGracefulShutdown:
		return markShutdown
	case wire.CommunityNoExport, wire.CommunityNoExportSubconfed:
		return markNoExport
	}
	return 0
}

// cut takes one attribute off b, which is canonical and not empty.
func cut(b []byte) (t wire.AttrType, value, rest []byte) {
	head, n := 3, int(b[2])
	if b[0]&wire.FlagExtended != 0 {
		head, n = 4, int(b[2])<<8|int(b[3])
	}
	return wire.AttrType(b[1]), b[head : head+n], b[head+n:]
}

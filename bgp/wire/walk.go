package wire

import (
	"encoding/binary"
	"fmt"
)

// walk goes over the path attributes once: checks each of them and finds the runs
// of octets that are in canonical form already.
func (u *Update) walk() {
	// Attribute Flags (1), Attribute Type Code (1), Attribute Length (1; 2 if the flag Extended
	// Length is set), Attribute Value; repeated (RFC 4271, Section 4.3).
	b := u.attrs
	start, at := 0, 0 // the current run, where we are
	last := AttrType(0)
	for at < len(b) {
		if len(b)-at < 3 {
			u.overrun(b[at:])
			break
		}
		flags, t := b[at], AttrType(b[at+1])
		n, hdr := int(b[at+2]), 3
		if flags&FlagExtended != 0 {
			if len(b)-at < 4 {
				u.overrun(b[at:])
				break
			}
			n, hdr = n<<8|int(b[at+3]), 4
		}
		end := at + hdr + n
		if end > len(b) {
			u.overrun(b[at:])
			break
		}
		bit, s := uint64(1)<<(t&63), &specs[t]
		verbatim := false
		switch {
		case u.seen[t>>6]&bit != 0:
			u.duplicate(t)
		case s.known && (flags^s.flags)&optionalTrs != 0:
			u.seen[t>>6] |= bit
			u.flags(t, b[at:end])
		default:
			u.seen[t>>6] |= bit
			if !plainly(s, n, u.opt.IBGP) && !u.check(s, t, flags, b[at+hdr:end], b[at:end]) {
				break
			}
			u.keep[t>>6] |= bit
			verbatim = true
			if t <= last || flags&0x1f != 0 && (flags&0xf != 0 || n <= 255) ||
				!s.known && flags&FlagPartial == 0 || !u.opt.AS4 && (t == AttrASPath || t == AttrAggregator) {
				u.messy = true
			}
			last = t
		}
		if !verbatim {
			u.run(start, at)
			start = end
		}
		at = end
	}
	u.run(start, at)
}

// run notes that b[start:end] of the attributes can be copied as it is.
func (u *Update) run(start, end int) {
	switch {
	case start == end:
	case u.nruns == len(u.runs):
		u.messy = true
	default:
		u.runs[u.nruns] = [2]uint16{uint16(start), uint16(end)}
		u.nruns++
	}
}

// plainly reports whether an attribute of n octets is right and no more need be
// asked: a short cut past check that the compiler inlines.
func plainly(s *attrSpec, n int, ibgp bool) bool {
	switch s.rule {
	case ruleFixed:
		return n == int(s.size)
	case ruleInternal:
		return ibgp && n == int(s.size)
	case ruleWords:
		return n > 0 && n&3 == 0
	case ruleInternalWords:
		return ibgp && n > 0 && n&3 == 0
	}
	return false
}

// check verifies one attribute that came for the first time, with the right flags.
// It reports whether the attribute becomes part of Attrs.
func (u *Update) check(s *attrSpec, t AttrType, flags uint8, v, raw []byte) bool {
	switch s.rule {
	case ruleNone:
		return u.unknown(s, t, flags, raw)
	case ruleInternal, ruleInternalWords:
		if !u.opt.IBGP {
			return u.discard(errExternal[t])
		}
	case ruleMultiple:
		if n := len(v); n > 0 && n%int(s.size) == 0 {
			u.messy = u.messy || t == AttrLargeCommunities && LargeCommunities(v).repeats()
			return true
		}
	case ruleSpecial:
		return u.special(s, t, v, raw)
	}
	return u.length(TreatAsWithdraw, s, t, raw)
}

// special checks the attributes that have more to them than a length.
func (u *Update) special(s *attrSpec, t AttrType, v, raw []byte) bool {
	n := len(v)
	switch t {
	case AttrOrigin: // Value (1): 0 IGP, 1 EGP, 2 INCOMPLETE
		if n != 1 {
			return u.length(TreatAsWithdraw, s, t, raw)
		}
		if v[0] > byte(OriginIncomplete) {
			return u.bad(TreatAsWithdraw, SubOrigin, t, raw, s.rfc, fmt.Sprintf("value %d", v[0]))
		}
	case AttrASPath:
		return u.asPath(s, v, raw)
	case AttrNextHop:
		u.nextHop(s, v, raw)
		return false
	case AttrAtomicAggregate: // empty
		if n != 0 {
			return u.length(AttributeDiscard, s, t, raw)
		}
	case AttrAggregator:
		return u.aggregator(s, v, raw)
	case AttrMPReach:
		u.mpReach(v, raw)
		return false
	case AttrMPUnreach:
		u.mpUnreach(v, raw)
		return false
	case AttrAS4Path, AttrAS4Aggregator:
		u.as4(s, t, v, raw)
		return false
	case AttrAIGP:
		// RFC 7311, Section 3.3: "If an AIGP attribute is received on a BGP session for which
		// AIGP_SESSION is disabled, the attribute MUST be treated exactly as if it were an
		// unrecognized non-transitive attribute." It is disabled on all sessions.
		return false
	case AttrPMSITunnel:
		if !wellFormedPMSI(v) {
			return u.length(TreatAsWithdraw, s, t, raw)
		}
	case AttrSet: // Origin AS (4), path attributes (RFC 6368, Section 5)
		if n < 4 {
			return u.length(TreatAsWithdraw, s, t, raw)
		}
	}
	return true
}

// asPath checks AS_PATH: Segment Type (1), Segment Length (1) in AS numbers, AS numbers (2 each;
// 4 if negotiated); repeated (RFC 4271, Section 4.3; RFC 6793, Section 4.1).
func (u *Update) asPath(s *attrSpec, v, raw []byte) bool {
	size := 2
	if u.opt.AS4 {
		size = 4
		if len(v) >= 6 && v[0] == byte(ASSequence) && len(v) == 2+4*int(v[1]) { // nearly always
			zero := false
			for i := 2; i < len(v); i += 4 {
				zero = zero || binary.BigEndian.Uint32(v[i:]) == 0
			}
			if !zero {
				return true
			}
		}
	}
	if text := checkPath(v, size, u.opt.Confed); text != "" {
		return u.bad(TreatAsWithdraw, SubASPath, AttrASPath, raw, s.rfc, text)
	}
	return true
}

// aggregator checks AGGREGATOR: AS number (2; 4 if negotiated), BGP Identifier (4) (RFC 4271,
// Section 4.3; RFC 6793, Section 4.1).
func (u *Update) aggregator(s *attrSpec, v, raw []byte) bool {
	size := 6
	if u.opt.AS4 {
		size = 8
	}
	if len(v) != size {
		return u.length(AttributeDiscard, s, AttrAggregator, raw)
	}
	for _, x := range v[:size-4] {
		if x != 0 {
			return true
		}
	}
	return u.bad(AttributeDiscard, SubOptionalAttribute, AttrAggregator, raw, "RFC 7607, Section 2", "AS 0")
}

// as4 checks AS4_PATH and AS4_AGGREGATOR; both are used by AppendAttrs only.
//
// RFC 6793, Section 6: "A NEW BGP speaker that receives the AS4_PATH attribute or the
// AS4_AGGREGATOR attribute in an UPDATE message from another NEW BGP speaker MUST discard the
// path attribute and continue processing the UPDATE message." A malformed one from an OLD
// speaker is discarded, too. Confederation segments in AS4_PATH make it not malformed:
// mergePaths leaves them out.
func (u *Update) as4(s *attrSpec, t AttrType, v, raw []byte) {
	switch {
	case u.opt.AS4 && t == AttrAS4Aggregator:
		u.discard(errAS4Aggregator)
	case u.opt.AS4:
		u.discard(errAS4Path)
	case t == AttrAS4Aggregator && len(v) != 8:
		u.length(AttributeDiscard, s, t, raw)
	case t == AttrAS4Aggregator && binary.BigEndian.Uint32(v) == 0:
		u.bad(AttributeDiscard, SubOptionalAttribute, t, raw, "RFC 7607, Section 2", "AS 0")
	case t == AttrAS4Path:
		if text := checkPath(v, 4, true); text != "" || len(v) == 0 {
			u.bad(AttributeDiscard, SubOptionalAttribute, t, raw, s.rfc, "malformed: "+text)
		} else {
			u.keep[0] |= 1 << t
		}
	default:
		u.keep[0] |= 1 << t
	}
}

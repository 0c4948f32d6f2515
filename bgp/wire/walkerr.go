package wire

import "fmt"

// Errors of attributes that a correct but careless peer sends with every UPDATE:
// they cost nothing.
var (
	errExternal = map[AttrType]*Error{
		AttrLocalPref:    external(AttrLocalPref, "RFC 7606, Section 7.5"),
		AttrOriginatorID: external(AttrOriginatorID, "RFC 7606, Section 7.9"),
		AttrClusterList:  external(AttrClusterList, "RFC 7606, Section 7.10"),
	}
	errAS4Path, errAS4Aggregator = redundant(AttrAS4Path), redundant(AttrAS4Aggregator)
)

func redundant(t AttrType) *Error {
	return &Error{Disposition: AttributeDiscard, Code: CodeUpdate, Subcode: SubOptionalAttribute, Message: TypeUpdate,
		Attr: t, RFC: "RFC 6793, Section 6", Text: "from a peer with 4-octet AS numbers"}
}

func external(t AttrType, rfc string) *Error {
	return &Error{Disposition: AttributeDiscard, Code: CodeUpdate, Subcode: SubMalformedAttributes, Message: TypeUpdate,
		Attr: t, RFC: rfc, Text: "from an external peer"}
}

func (u *Update) discard(e *Error) bool {
	u.fail(e)
	return false
}

// bad records an error of one attribute, whose octets go into the NOTIFICATION. It returns
// false, as does discard, for check to return.
func (u *Update) bad(d Disposition, sub uint8, t AttrType, raw []byte, rfc, text string) bool {
	u.fail(&Error{Disposition: d, Code: CodeUpdate, Subcode: sub, Data: clone(raw), Message: TypeUpdate, Attr: t, RFC: rfc, Text: text})
	return false
}

func (u *Update) length(d Disposition, s *attrSpec, t AttrType, raw []byte) bool {
	n := len(raw) - 3
	if raw[0]&FlagExtended != 0 {
		n--
	}
	return u.bad(d, SubAttributeLength, t, raw, s.rfc, fmt.Sprintf("length %d", n))
}

// duplicate handles an attribute that came before. RFC 7606, Section 3(g): "If the
// MP_REACH_NLRI attribute or the MP_UNREACH_NLRI [RFC4760] attribute appears more than once in
// the UPDATE message, then a NOTIFICATION message MUST be sent". Of any other attribute "all
// the occurrences of the attribute other than the first one SHALL be discarded".
func (u *Update) duplicate(t AttrType) {
	d := AttributeDiscard
	if t == AttrMPReach || t == AttrMPUnreach {
		d = SessionReset
	}
	u.bad(d, SubMalformedAttributes, t, nil, "RFC 7606, Section 3(g)", "more than once")
}

// flags handles an attribute whose Optional or Transitive bit is not as specified. RFC 7606,
// Section 3(c): "the attribute MUST be treated as malformed and the "treat-as-withdraw"
// approach used, unless the specification for the attribute mandates different handling". NLRI
// inside cannot be trusted (Section 5.3).
func (u *Update) flags(t AttrType, raw []byte) {
	d, rfc := TreatAsWithdraw, "RFC 7606, Section 3(c)"
	switch t {
	case AttrMPReach, AttrMPUnreach:
		d, rfc = SessionReset, "RFC 7606, Section 5.3"
	case AttrAIGP:
		d, rfc = AttributeDiscard, "RFC 7311, Section 3.2"
	}
	u.bad(d, SubAttributeFlags, t, raw, rfc, fmt.Sprintf("flags 0x%02x", raw[0]))
}

// overrun records that the attributes end inside one. If that one has NLRI, they are lost, and
// the session is reset.
//
// RFC 7606, Section 4: "In either of these cases, an error condition exists and the
// "treat-as-withdraw" approach MUST be used (unless some other, more severe error is encountered
// dictating a stronger approach), and the Total Attribute Length MUST be relied upon to enable
// the beginning of the NLRI field to be located."
func (u *Update) overrun(raw []byte) {
	t := AttrType(0)
	d := TreatAsWithdraw
	if len(raw) > 1 {
		t = AttrType(raw[1])
	}
	if t == AttrMPReach || t == AttrMPUnreach {
		d = SessionReset
	}
	u.bad(d, SubMalformedAttributes, t, nil, "RFC 7606, Section 4", "runs past the end of the path attributes")
}

// unknown handles an attribute that this package does not know (RFC 4271, Sections 5 and
// 6.3): passed on if optional and transitive, dropped if only optional.
func (u *Update) unknown(s *attrSpec, t AttrType, flags uint8, raw []byte) bool {
	if flags&FlagOptional == 0 {
		if s.name != "" { // not decoded here, but known not to be well-known
			u.flags(t, raw)
			return false
		}
		return u.bad(SessionReset, SubUnknownWellKnown, t, raw, "RFC 4271, Section 6.3", "not known, yet not optional")
	}
	return flags&FlagTransitive != 0 && !s.drop
}

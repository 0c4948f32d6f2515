package wire

import "github.com/hyperfib/hyperfib/internal/enum"

// AttrType is the type code of a path attribute (RFC 4271, Section 4.3).
type AttrType uint8

// Path attributes: of RFC 4271, Section 4.3, unless another source is named.
const (
	AttrOrigin              AttrType = 1
	AttrASPath              AttrType = 2
	AttrNextHop             AttrType = 3
	AttrMED                 AttrType = 4
	AttrLocalPref           AttrType = 5
	AttrAtomicAggregate     AttrType = 6
	AttrAggregator          AttrType = 7
	AttrCommunities         AttrType = 8   // RFC 1997, "COMMUNITIES attribute"
	AttrOriginatorID        AttrType = 9   // RFC 4456, Section 8
	AttrClusterList         AttrType = 10  // RFC 4456, Section 8
	AttrMPReach             AttrType = 14  // RFC 4760, Section 3
	AttrMPUnreach           AttrType = 15  // RFC 4760, Section 4
	AttrExtCommunities      AttrType = 16  // RFC 4360, Section 2
	AttrAS4Path             AttrType = 17  // RFC 6793, Section 3
	AttrAS4Aggregator       AttrType = 18  // RFC 6793, Section 3
	AttrPMSITunnel          AttrType = 22  // RFC 6514, Section 5
	AttrTunnelEncapsulation AttrType = 23  // RFC 9012, Section 2
	AttrTrafficEngineering  AttrType = 24  // RFC 5543, Section 3
	AttrIPv6ExtCommunities  AttrType = 25  // RFC 5701, Section 2
	AttrAIGP                AttrType = 26  // RFC 7311, Section 3
	AttrLinkState           AttrType = 29  // RFC 9552, Section 5.3
	AttrLargeCommunities    AttrType = 32  // RFC 8092, Section 3
	AttrBGPsecPath          AttrType = 33  // RFC 8205, Section 3
	AttrOnlyToCustomer      AttrType = 35  // RFC 9234, Section 5
	AttrBFDDiscriminator    AttrType = 38  // RFC 9026, Section 3.1.6
	AttrPrefixSID           AttrType = 40  // RFC 8669, Section 3
	AttrSet                 AttrType = 128 // RFC 6368, Section 5
)

// Flags of a path attribute (RFC 4271, Section 4.3).
const (
	FlagOptional   uint8 = 0x80
	FlagTransitive uint8 = 0x40
	FlagPartial    uint8 = 0x20
	FlagExtended   uint8 = 0x10 // the length has two octets
)

// rule is how the length of an attribute is checked.
type rule uint8

const (
	ruleNone          rule = iota // opaque
	ruleFixed                     // exactly size octets
	ruleInternal                  // the same, discarded from external peers
	ruleWords                     // a multiple of 4, not 0
	ruleInternalWords             // the same, discarded from external peers
	ruleMultiple                  // a multiple of size, not 0
	ruleSpecial                   // code of its own: Update.special
)

// attrSpec is what is known about an attribute.
type attrSpec struct {
	name  string // as the RFCs write it
	known bool   // its value is checked here; others are opaque
	flags uint8  // Optional and Transitive as specified
	rule  rule   // how its length is checked
	size  uint16 // octets of the value, or of one element, as rule says
	drop  bool   // never part of Attrs
	rfc   string // what an error of its value cites
}

const (
	wellKnown   = FlagTransitive
	optional    = FlagOptional
	optionalTrs = FlagOptional | FlagTransitive
)

// specs is indexed by AttrType.
var specs = [256]attrSpec{
	AttrOrigin:              {"ORIGIN", true, wellKnown, ruleSpecial, 1, false, "RFC 7606, Section 7.1"},
	AttrASPath:              {"AS_PATH", true, wellKnown, ruleSpecial, 0, false, "RFC 7606, Section 7.2"},
	AttrNextHop:             {"NEXT_HOP", true, wellKnown, ruleSpecial, 4, true, "RFC 7606, Section 7.3"},
	AttrMED:                 {"MULTI_EXIT_DISC", true, optional, ruleFixed, 4, false, "RFC 7606, Section 7.4"},
	AttrLocalPref:           {"LOCAL_PREF", true, wellKnown, ruleInternal, 4, false, "RFC 7606, Section 7.5"},
	AttrAtomicAggregate:     {"ATOMIC_AGGREGATE", true, wellKnown, ruleSpecial, 0, false, "RFC 7606, Section 7.6"},
	AttrAggregator:          {"AGGREGATOR", true, optionalTrs, ruleSpecial, 8, false, "RFC 7606, Section 7.7"},
	AttrCommunities:         {"COMMUNITIES", true, optionalTrs, ruleWords, 4, false, "RFC 7606, Section 7.8"},
	AttrOriginatorID:        {"ORIGINATOR_ID", true, optional, ruleInternal, 4, false, "RFC 7606, Section 7.9"},
	AttrClusterList:         {"CLUSTER_LIST", true, optional, ruleInternalWords, 4, false, "RFC 7606, Section 7.10"},
	AttrMPReach:             {"MP_REACH_NLRI", true, optional, ruleSpecial, 5, true, "RFC 7606, Section 7.11"},
	AttrMPUnreach:           {"MP_UNREACH_NLRI", true, optional, ruleSpecial, 3, true, "RFC 7606, Section 7.12"},
	AttrExtCommunities:      {"EXTENDED COMMUNITIES", true, optionalTrs, ruleMultiple, 8, false, "RFC 7606, Section 7.14"},
	AttrAS4Path:             {"AS4_PATH", true, optionalTrs, ruleSpecial, 0, true, "RFC 6793, Section 6"},
	AttrAS4Aggregator:       {"AS4_AGGREGATOR", true, optionalTrs, ruleSpecial, 8, true, "RFC 6793, Section 6"},
	AttrPMSITunnel:          {"PMSI_TUNNEL", true, optionalTrs, ruleSpecial, 0, false, "RFC 6514, Section 5"},
	AttrTunnelEncapsulation: {"TUNNEL_ENCAPSULATION", false, optionalTrs, ruleNone, 0, false, ""},
	AttrTrafficEngineering:  {"TRAFFIC_ENGINEERING", false, optional, ruleNone, 0, false, ""},
	AttrIPv6ExtCommunities:  {"IPV6 EXTENDED COMMUNITIES", true, optionalTrs, ruleMultiple, 20, false, "RFC 7606, Section 7.15"},
	AttrAIGP:                {"AIGP", true, optional, ruleSpecial, 0, true, "RFC 7311, Section 3.2"},
	AttrLinkState:           {"BGP-LS", false, optional, ruleNone, 0, true, ""},
	AttrLargeCommunities:    {"LARGE_COMMUNITY", true, optionalTrs, ruleMultiple, 12, false, "RFC 8092, Section 6"},
	AttrBGPsecPath:          {"BGPSEC_PATH", false, optional, ruleNone, 0, true, ""},
	AttrOnlyToCustomer:      {"OTC", true, optionalTrs, ruleFixed, 4, false, "RFC 9234, Section 5"},
	AttrBFDDiscriminator:    {"BFD_DISCRIMINATOR", false, optionalTrs, ruleNone, 0, false, ""},
	AttrPrefixSID:           {"PREFIX_SID", false, optionalTrs, ruleNone, 0, false, ""},
	AttrSet:                 {"ATTR_SET", true, optionalTrs, ruleSpecial, 4, false, "RFC 7606, Section 7.16"},
}

// String returns the name of the attribute as the RFCs write it.
func (t AttrType) String() string {
	if n := specs[t].name; n != "" {
		return n
	}
	return enum.String("AttrType", nil, t)
}

// Attr is one path attribute. Value aliases what it was read from.
type Attr struct {
	Type  AttrType // the type code
	Flags uint8    // FlagOptional, FlagTransitive, FlagPartial; FlagExtended is ignored
	Value []byte   // without flags, type and length
}

// Append appends a to b in canonical form: the low four flags clear, the two-octet
// length only for values over 255 octets.
func (a Attr) Append(b []byte) []byte {
	flags := a.Flags & (FlagOptional | FlagTransitive | FlagPartial)
	if n := len(a.Value); n > 255 {
		b = append(b, flags|FlagExtended, byte(a.Type), byte(n>>8), byte(n))
	} else {
		b = append(b, flags, byte(a.Type), byte(n))
	}
	return append(b, a.Value...)
}

// NewAttr returns an attribute with the flags that its specification demands:
// optional and transitive if the type is not known.
func NewAttr(t AttrType, value []byte) Attr {
	flags := specs[t].flags
	if flags == 0 {
		flags = optionalTrs
	}
	return Attr{Type: t, Flags: flags, Value: value}
}

// cutAttr cuts the first attribute off b. It reports false if there is no whole one.
//
// Flags (1), Type (1), Length (1; 2 with the flag Extended Length), Value (RFC 4271, Section 4.3).
func cutAttr(b []byte) (a Attr, rest []byte, ok bool) {
	if len(b) < 3 {
		return a, b, false
	}
	n, at := int(b[2]), 3
	if b[0]&FlagExtended != 0 {
		if len(b) < 4 {
			return a, b, false
		}
		n, at = n<<8|int(b[3]), 4
	}
	a.Flags, a.Type = b[0], AttrType(b[1])
	if n > len(b)-at {
		return a, b, false
	}
	a.Value = b[at : at+n : at+n]
	return a, b[at+n:], true
}

package wire

import "time"

// CapabilityCode is the code of a capability (RFC 5492, Section 4).
type CapabilityCode uint8

// Capability codes, each with the section that defines it.
const (
	CapMultiprotocol   CapabilityCode = 1  // RFC 4760, Section 8
	CapRouteRefresh    CapabilityCode = 2  // RFC 2918, Section 2
	CapExtendedNextHop CapabilityCode = 5  // RFC 8950, Section 4
	CapExtendedMessage CapabilityCode = 6  // RFC 8654, Section 3
	CapRole            CapabilityCode = 9  // RFC 9234, Section 4.1
	CapGracefulRestart CapabilityCode = 64 // RFC 4724, Section 3
	CapAS4             CapabilityCode = 65 // RFC 6793, Section 3
	CapAddPath         CapabilityCode = 69 // RFC 7911, Section 4
	CapEnhancedRefresh CapabilityCode = 70 // RFC 7313, Section 3.1
	CapLongLived       CapabilityCode = 71 // RFC 9494, Section 3.1
	CapFQDN            CapabilityCode = 73 // draft-walton-bgp-hostname-capability
	CapBFDStrict       CapabilityCode = 74 // draft-ietf-idr-bgp-bfd-strict-mode-19, Section 5
	CapSoftwareVersion CapabilityCode = 75 // draft-ietf-idr-software-version
)

// Capability is a capability that this package does not know.
type Capability struct {
	Code  CapabilityCode // one that this package does not know
	Value []byte         // as it came
}

// Capabilities are the capabilities in an OPEN. The zero value has none: such a
// peer speaks IPv4 unicast and nothing else. Parsed ones own their memory.
type Capabilities struct {
	Families        []Family          // multiprotocol extensions
	RouteRefresh    bool              // RFC 2918, Section 2
	EnhancedRefresh bool              // RFC 7313, Section 3.1
	ExtendedMessage bool              // RFC 8654, Section 3
	BFDStrict       bool              // draft-ietf-idr-bgp-bfd-strict-mode-19, Section 5
	AS4             bool              // 4-octet AS numbers; the number is Open.AS
	AddPath         []AddPath         // by family
	ExtendedNextHop []ExtendedNextHop // by family
	GracefulRestart *GracefulRestart  // nil: not offered
	LongLived       []LongLived       // long-lived graceful restart
	FQDN            *FQDN             // nil: not sent
	SoftwareVersion string            // empty: not sent
	Roles           []Role            // RFC 9234, Section 4.1; more than one is a mismatch
	Unknown         []Capability      // as they came
}

// AddPath offers ADD-PATH for one family (RFC 7911, Section 4).
type AddPath struct {
	Family        Family // of the NLRI
	Receive, Send bool   // the sender of the OPEN receives, sends path identifiers
}

// ExtendedNextHop says that NLRI of Family may have next hops of NextHopAFI
// (RFC 8950, Section 4).
type ExtendedNextHop struct {
	Family     Family // of the NLRI
	NextHopAFI uint16 // that next hops may have, too
}

// GracefulRestart is the graceful restart capability (RFC 4724, Section 3).
type GracefulRestart struct {
	Restarting   bool            // R bit: the speaker has restarted
	Notification bool            // N bit: graceful on NOTIFICATION too (RFC 8538, Section 2)
	Time         time.Duration   // until the session is back: whole seconds, at most 4095
	Families     []RestartFamily // whose forwarding state can be preserved
}

// RestartFamily is a family of a GracefulRestart.
type RestartFamily struct {
	Family              Family // one that takes part
	ForwardingPreserved bool   // F bit
}

// LongLived is one family of the long-lived graceful restart capability (RFC 9494,
// Section 3.1).
type LongLived struct {
	Family              Family        // one that takes part
	ForwardingPreserved bool          // F bit
	StaleTime           time.Duration // whole seconds, at most 2^24-1
}

// FQDN names the speaker (draft-walton-bgp-hostname-capability).
type FQDN struct {
	Host   string // may be empty; what exceeds 126 octets is not sent
	Domain string // likewise
}

// HasFamily reports whether NLRI of f may be exchanged: announced, or IPv4 unicast
// from a peer that announces no family at all (RFC 4760, Section 8).
func (c *Capabilities) HasFamily(f Family) bool {
	for _, g := range c.Families {
		if f == g {
			return true
		}
	}
	return len(c.Families) == 0 && f == IPv4Unicast
}

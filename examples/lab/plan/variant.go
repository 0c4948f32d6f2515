package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Variant is which of the published design's alternatives the lab runs. Each
// field is one choice; "" is the first in [Choices].
type Variant struct {
	Mode       string // how domains are told apart
	Guests     string // what a guest has of IPv6
	DHCP       string // who gives guests their IPv4 address
	Sessions   string // which sessions a hypervisor has
	Security   string // what protects sessions besides GTSM
	Resilience string // what notices failures and survives restarts
	Overlay    string // who tells the overlay where guests are
}

// The choices, by the name that the command line has for each.
const (
	ModeRules          = "rules"           // the published one
	ModeBlackholeRules = "blackhole-rules" // lookups end in rules, not in routes
	ModeNoLocalOut     = "no-local-out"    // the hypervisor sends by the private table
	ModeNetNS          = "netns"           // a network namespace per domain
	ModeVRF            = "vrf"             // a VRF device per domain
	ModeFwmark         = "fwmark"          // marks by incoming interface, rules by mark
	ModeEBGPToR        = "ebgp-tor"        // routed fabrics: eBGP with two top-of-rack routers

	GuestsSLAAC = "slaac64" // a /64 each, by router advertisement
	GuestsHost  = "host128" // a /128 each of one /64, neighbours answered for

	DHCPNone  = "none"  // guests are configured by hand
	DHCPLocal = "local" // hvrouter gives leases
	DHCPRelay = "relay" // hvrouter asks a server on the private network

	SessionsSplit = "split"  // one a fabric, domain and family
	SessionsMP    = "mp-bgp" // IPv4 and IPv6 of a domain share one
	// Both domains and both families share one a fabric; communities tell them apart.
	SessionsCommunities = "communities"
	SessionsSingle      = "single" // one a domain and family for both fabrics
	SessionsOne         = "one"    // one for everything

	SecurityTTL = "ttl"
	SecurityMD5 = "md5"

	ResilienceAll = "all" // BFD and graceful restart
	ResilienceBFD = "bfd" // BFD alone: a restart withdraws everything
	ResilienceGR  = "gr"  // graceful restart alone: a cut is noticed by the hold timer
	ResilienceLL  = "llgr"

	OverlayStatic = "static" // nobody: every frame for an unknown guest goes to every hypervisor
	OverlayEVPN   = "evpn"   // BGP, from the inventory (RFC 8365, Section 5.1)
)

// Key is the MD5 key of the lab.
const Key = "a key for the lab"

// Choices lists what each option of the command line may be; the first is the
// default.
var Choices = map[string][]string{
	"guests":     {GuestsSLAAC, GuestsHost},
	"mode":       {ModeRules, ModeBlackholeRules, ModeNoLocalOut, ModeNetNS, ModeFwmark, ModeVRF, ModeEBGPToR},
	"dhcp":       {DHCPNone, DHCPLocal, DHCPRelay},
	"sessions":   {SessionsSplit, SessionsMP, SessionsCommunities, SessionsSingle, SessionsOne},
	"security":   {SecurityTTL, SecurityMD5},
	"resilience": {ResilienceAll, ResilienceBFD, ResilienceGR, ResilienceLL},
	"overlay":    {OverlayStatic, OverlayEVPN},
}

// field returns the choice with a name.
func (v *Variant) field(name string) *string {
	switch name {
	case "mode":
		return &v.Mode
	case "guests":
		return &v.Guests
	case "dhcp":
		return &v.DHCP
	case "sessions":
		return &v.Sessions
	case "security":
		return &v.Security
	case "resilience":
		return &v.Resilience
	case "overlay":
		return &v.Overlay
	}
	panic("no choice is called " + name)
}

// Set makes one choice.
func (v *Variant) Set(name, value string) error {
	if !slices.Contains(Choices[name], value) {
		return fmt.Errorf("-%s %q: want %s", name, value, strings.Join(Choices[name], ", "))
	}
	*v.field(name) = value
	return nil
}

// Is reports whether a choice was made; the first of its name is made if none was.
func (v Variant) Is(name, value string) bool {
	have := *v.field(name)
	return have == value || have == "" && value == Choices[name][0]
}

// Published reports whether nothing but the defaults was chosen: what somebody
// else's daemon on a hypervisor can do.
func (v Variant) Published() bool {
	for name, choices := range Choices {
		if !v.Is(name, choices[0]) {
			return false
		}
	}
	return true
}

// Watched reports whether sessions are watched by BFD.
func (v Variant) Watched() bool {
	return v.Is("resilience", ResilienceAll) || v.Is("resilience", ResilienceBFD)
}

// EVPN reports whether BGP tells the overlay where guests are.
func (v Variant) EVPN() bool { return v.Is("overlay", OverlayEVPN) }

// Graceful reports whether restarts are.
func (v Variant) Graceful() bool { return !v.Is("resilience", ResilienceBFD) }

// The names of the VRFs in ModeVRF, which are those of the domains.
const (
	VRFPublic  = "public"
	VRFPrivate = "private"
)

// PublicVRF is the VRF that a hypervisor's own packets to public networks are bound to;
// "" is none.
func (v Variant) PublicVRF() string {
	if v.Is("mode", ModeVRF) {
		return VRFPublic
	}
	return ""
}

// LocalOut reports whether there is a table for what a hypervisor itself sends.
func (v Variant) LocalOut() bool {
	return !v.Is("mode", ModeNoLocalOut) && !v.Is("mode", ModeNetNS) && !v.Is("mode", ModeVRF)
}

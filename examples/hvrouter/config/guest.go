package config

import (
	"net/netip"
	"slices"
)

// Edge is what all guest interfaces have in common.
type Edge struct {
	// Gateway4 is the address that guests use as their gateway, /32 scope link on
	// each guest interface.
	Gateway4 Addr `yaml:"gateway4,omitempty" json:"gateway4,omitzero"`
	// PrefixLength4 is the prefix length that guests believe in, for DHCP. Default 24.
	PrefixLength4 uint8 `yaml:"prefix-length4,omitempty" json:"prefix-length4"`
	// MAC of the gateway, the same on every hypervisor. Empty leaves each
	// interface's own.
	MAC MAC `yaml:"mac,omitempty" json:"mac,omitzero"`
	// Metric of guests' routes. Default 10.
	Metric uint32 `yaml:"metric,omitempty" json:"metric"`
	// ARP says who answers for remote guests: kernel (default: proxy_arp) or
	// responder (default, and all that works, with isolation: fwmark).
	ARP string `yaml:"arp,omitempty" json:"arp"`
	// RA is what guests are told about their router.
	RA RA `yaml:"ra,omitempty" json:"ra"`
	// DHCP answers guests that ask for their address. Default: off.
	DHCP DHCP `yaml:"dhcp,omitempty" json:"dhcp,omitzero"`
}

// DHCP is the DHCPv4 server on guest interfaces.
type DHCP struct {
	// On starts it. Default off.
	On bool `yaml:"on,omitempty" json:"on,omitempty"`
	// Lease time. Default 1h.
	Lease Duration `yaml:"lease,omitempty" json:"lease"`
	// Host gives guests a /32 with classless routes (RFC 3442) instead of the
	// shared subnet.
	Host bool `yaml:"host,omitempty" json:"host,omitempty"`
	// DNS servers handed out.
	DNS []Addr `yaml:"dns,omitempty" json:"dns,omitempty"`
	// Relay are DHCP servers that guests' requests are forwarded to, with relay
	// agent information (RFC 3046, Section 2.1), instead of being answered here. They answer to
	// the loopback address.
	Relay []Addr `yaml:"relay,omitempty" json:"relay,omitempty"`
}

// Guest is one virtual machine's interface and what is allocated to it. The first
// IPv4 and IPv6 entries are the guest's own; routed prefixes go through them.
type Guest struct {
	// Name is unique. Required.
	Name string `yaml:"name" json:"name"`
	// Interface is the host's side: a tap or veth. Default: the name. A pattern such as
	// vnet* is the interface of such a name that has the guest's MAC, or has it with fe
	// in the first octet, as libvirt does.
	Interface string `yaml:"interface,omitempty" json:"interface"`
	// MAC of the guest; its link-local address follows from it (EUI-64). Required
	// if the guest has IPv6.
	MAC MAC `yaml:"mac,omitempty" json:"mac,omitzero"`
	// IPv4 addresses on the guest's interface.
	IPv4 []Addr `yaml:"ipv4,omitempty" json:"ipv4,omitempty"`
	// IPv6 prefixes on the guest's link: /64 by router advertisement, /128 by NDP
	// proxy.
	IPv6 []Prefix `yaml:"ipv6,omitempty" json:"ipv6,omitempty"`
	// Routed prefixes go through the guest's first address: additional addresses,
	// anycast, whole subnets.
	Routed []Prefix `yaml:"routed,omitempty" json:"routed,omitempty"`
	// Transparent addresses are translated to one of the guest's own.
	Transparent []Translation `yaml:"transparent,omitempty" json:"transparent,omitempty"`
	// Gateway4 overrides the edge's.
	Gateway4 Addr `yaml:"gateway4,omitempty" json:"gateway4,omitzero"`
	// RA overrides the edge's: what is given here replaces what is given there, list by
	// list; [] is none.
	RA RA `yaml:"ra,omitempty" json:"ra,omitzero"`
	// Overlays are the guest's interfaces on overlays, besides the one above.
	Overlays []OverlayPort `yaml:"overlays,omitempty" json:"overlays,omitempty"`
	// Discovery says which more addresses the guest may have.
	Discovery Discovery `yaml:"discovery,omitempty" json:"discovery,omitzero"`
	// Rate is the most answers a second that the guest gets from the ARP responder and
	// the NDP proxy, each. Default 1000.
	Rate uint32 `yaml:"rate,omitempty" json:"rate,omitempty"`
	// Learned are those of the prefixes above that others' routes give the guest: the
	// routes are theirs. It is not in the file.
	Learned []Prefix `yaml:"-" json:"learned,omitempty"`
	// LocalPref of the guest's routes. Default 100; the target of a migration
	// announces more than the source. What `hvrouter guest move` says in its place holds until
	// this key changes.
	LocalPref uint32 `yaml:"local-pref,omitempty" json:"local-pref"`
	// Down keeps the guest in the inventory without announcing it. What `hvrouter guest move`
	// says in its place holds until this key changes.
	Down bool `yaml:"down,omitempty" json:"down,omitempty"`
	// Force takes what looks like a mistake: an address in an uplink's subnet, a prefix
	// that is routed through one guest and covers what another one has, and the like. It
	// does not take what would cut the hypervisor off.
	Force bool `yaml:"force,omitempty" json:"force,omitempty"`
}

// Owes reports whether the route to one of the guest's prefixes is somebody else's.
func (g Guest) Owes(p netip.Prefix) bool { return slices.Contains(g.Learned, Prefix{p}) }

// Translation is a transparent address: packets to Address reach the guest as To.
type Translation struct {
	// Address and To are of one family. Required; To is one of the guest's own.
	Address Addr `yaml:"address" json:"address"`
	To      Addr `yaml:"to" json:"to"`
}

// Inventory is where guests come from besides the file itself.
type Inventory struct {
	// Directory of *.yaml and *.json files, each with one guest or a list; read at
	// start and whenever it changes.
	Directory string `yaml:"directory,omitempty" json:"directory,omitempty"`
	// Within are the prefixes that guests' addresses come from, if they are given: what
	// looks odd inside them is meant, and what lies outside is refused unless the guest
	// says force.
	Within []Prefix `yaml:"within,omitempty" json:"within,omitempty"`
	// State is the file that keeps guests added over the API, so that they are
	// there again after a restart. Default: the API socket's path with .guests
	// appended; "none" keeps nothing.
	State string `yaml:"state,omitempty" json:"state,omitempty"`
}

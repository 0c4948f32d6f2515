package config

import (
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Neighbor is a BGP session with a router on one of our links, such as a top-of-rack switch:
// mostly one in another AS (eBGP), which has the policies that follow. What a neighbour announces
// is never passed on to another one: a hypervisor is not a transit. Without an address neighbours
// are found on the interface (unnumbered): docs/unnumbered.md.
type Neighbor struct {
	// Name stands for the neighbour in commands, and is in what they print with -j. Default: the
	// neighbour's address; without one, also its interface.
	Name string `yaml:"name,omitempty" json:"name,omitempty"`
	// Fabric is a label; sessions of one fabric fail together. Default: the
	// interface.
	Fabric string `yaml:"fabric,omitempty" json:"fabric"`
	// Interface of ours that the neighbour is behind, an uplink of the domain. Without an address it may be
	// a pattern, such as eth*: every interface that it fits is an uplink. Required.
	Interface string `yaml:"interface" json:"interface"`
	// Address of the neighbour. Default: each router that is heard on the interface, by its router
	// advertisements, is a neighbour, at its link-local address; ours are sent for it to hear.
	Address Addr `yaml:"address,omitempty" json:"address,omitzero"`
	// Local is our address on the interface and the next hop that we announce. Required with
	// an address; without, it is our link-local address.
	Local Addr `yaml:"local,omitempty" json:"local,omitzero"`
	// AS of the neighbour: a number, external (any but ours) or internal (ours). Required.
	AS PeerAS `yaml:"as" json:"as"`
	// LocalAS is the AS number that we have towards this neighbour, in place of the file's: for
	// a network that changes its number. Default: none.
	LocalAS uint32 `yaml:"local-as,omitempty" json:"local-as,omitempty"`
	// LocalASNoPrepend does not prepend local-as to what the neighbour announces.
	LocalASNoPrepend bool `yaml:"local-as-no-prepend,omitempty" json:"local-as-no-prepend,omitempty"`
	// LocalASReplaceAS announces local-as alone, without the file's AS behind it.
	LocalASReplaceAS bool `yaml:"local-as-replace-as,omitempty" json:"local-as-replace-as,omitempty"`
	// AllowOwnAS is how often our own AS may stand in the AS path of what is accepted: 1 where
	// all hypervisors have the same AS. Default 0.
	AllowOwnAS uint8 `yaml:"allow-own-as,omitempty" json:"allow-own-as,omitempty"`
	// Role is ours towards the neighbour (RFC 9234, Section 4.1): provider, customer, peer,
	// rs-server or rs-client. Default: none is sent.
	Role string `yaml:"role,omitempty" json:"role,omitempty"`
	// RoleStrict refuses a neighbour that sends no role.
	RoleStrict bool `yaml:"role-strict,omitempty" json:"role-strict,omitempty"`
	// Multihop is how many hops away a neighbour in another AS may be. Default 1: on the link.
	Multihop uint8 `yaml:"multihop,omitempty" json:"multihop,omitempty"`
	// TTLSecurity is GTSM (RFC 5082, Section 3), both ways: the neighbour must have it, too.
	// bgp.ttl-security does not count here. Default false.
	TTLSecurity bool `yaml:"ttl-security,omitempty" json:"ttl-security,omitempty"`
	// Connect says who dials: both (default), or passive, where we wait for the neighbour. Without an
	// address we listen at our link-local address of the interface as long as a neighbour is found there,
	// and let in none but those that are.
	Connect string `yaml:"connect,omitempty" json:"connect"`
	// Families carried. Default: the family of the neighbour's address; without one, both, IPv4
	// with IPv6 next hops (RFC 8950, Section 4).
	Families []Family `yaml:"families,omitempty" json:"families"`
	// NextHop6 is the next hop for IPv6 routes on a session over IPv4. Required
	// there, ignored elsewhere.
	NextHop6 Addr `yaml:"next-hop6,omitempty" json:"next-hop6,omitzero"`
	// BFD off leaves the session without; echo watches a neighbour that speaks no BFD
	// with packets that it forwards back to us (RFC 9747, Section 2); anything else follows the
	// file's bfd.
	BFD string `yaml:"bfd,omitempty" json:"bfd,omitempty"`
	// BFDStrict overrides bfd.strict for this session: off, on or required.
	BFDStrict string `yaml:"bfd-strict,omitempty" json:"bfd-strict,omitempty"`
	// BFDProfile is the name of one of bfd.profiles, which the session's BFD is by. Default: the
	// file's bfd itself.
	BFDProfile string `yaml:"bfd-profile,omitempty" json:"bfd-profile,omitempty"`
	// RestartTime is how long this neighbour keeps our routes while we are away, in place
	// of bgp.graceful-restart.time: 1s to 4095s. A change counts from the session's next start
	// on.
	RestartTime Duration `yaml:"restart-time,omitempty" json:"restart-time,omitzero"`
	// PrefixLimit of this session. What is not given is as in bgp.prefix-limit.
	PrefixLimit PrefixLimit `yaml:"prefix-limit,omitempty" json:"prefix-limit"`
	// MD5 overrides the file's key.
	MD5 string `yaml:"md5,omitempty" json:"-"`
	// MD5File overrides the file's key with the content of a file, as bgp.md5-file.
	MD5File string `yaml:"md5-file,omitempty" json:"md5-file,omitempty"`
	// Import and Export decide about routes from and to the neighbour. Other than in
	// reflectors, a route that reaches the end of the list is rejected. Default: with a
	// neighbour in another AS nothing is exchanged (RFC 8212, Section 3); with one in ours all is
	// accepted.
	Import Policy `yaml:"import,omitempty" json:"import,omitempty"`
	Export Policy `yaml:"export,omitempty" json:"export,omitempty"`
	// DefaultOriginate announces the default route to this neighbour. Default: it is not, unless export
	// lets one of our own out.
	DefaultOriginate *DefaultOriginate `yaml:"default-originate,omitempty" json:"default-originate,omitempty"`
}

// PeerAS is the AS of a neighbour: a number, or external or internal. The zero value is "not
// given".
type PeerAS struct {
	Number uint32 // as package bgp takes it; 0 until [Config] resolves a word
	Word   string // external or internal, "" for a number
}

// String returns the form of the file.
func (a PeerAS) String() string {
	if a.Word == "" && a.Number != 0 {
		return strconv.FormatUint(uint64(a.Number), 10)
	}
	return a.Word
}

// IsZero reports whether none was given.
func (a PeerAS) IsZero() bool { return a == PeerAS{} }

// MarshalText returns the form of the file.
func (a PeerAS) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalYAML reads a number that is not 0, or a word.
func (a *PeerAS) UnmarshalYAML(node ast.Node) error {
	return scan(node, "an AS number, external or internal", func(s string) error {
		if s == "external" || s == "internal" {
			a.Word = s
			return nil
		}
		n, err := strconv.ParseUint(s, 10, 32)
		if err == nil && n == 0 {
			err = strconv.ErrRange
		}
		a.Number = uint32(n)
		return err
	})
}

// fill resolves a word, in the file of an AS.
func (a *PeerAS) fill(as uint32) {
	switch a.Word {
	case "external":
		a.Number = bgp.ExternalAS
	case "internal":
		a.Number = as
	}
}

// roles are the roles of the file.
var roles = map[string]wire.Role{
	"provider": wire.RoleProvider, "customer": wire.RoleCustomer, "peer": wire.RolePeer, "rs-server": wire.RoleRS, "rs-client": wire.RoleRSClient,
}

// WireRole returns the role as BGP has it, 0 for none.
func (n Neighbor) WireRole() wire.Role { return roles[n.Role] }

func (n *Neighbor) fill(as uint32) {
	n.AS.fill(as)
	if n.Address.IsValid() {
		def(&n.Name, n.Address.String())
	}
	def(&n.Fabric, n.Interface)
	def(&n.Connect, "both")
	n.Import.fill()
	n.Export.fill()
	if len(n.Families) == 0 && n.Unnumbered() {
		n.Families = []Family{IPv4, IPv6}
	}
	if len(n.Families) == 0 && n.Address.IsValid() {
		n.Families = []Family{FamilyOf(n.Address.Addr)}
	}
	n.DefaultOriginate.fill(n.Families)
}

// session returns the session with the neighbour.
func (n Neighbor) session() Reflector {
	return Reflector{Name: n.Name, Fabric: n.Fabric, Interface: n.Interface, Local: n.Local, Peer: n.Address, AS: n.AS.Number,
		Families: n.Families, NextHop6: n.NextHop6, BFD: n.BFD, BFDStrict: n.BFDStrict, BFDProfile: n.BFDProfile, RestartTime: n.RestartTime, PrefixLimit: n.PrefixLimit, MD5: n.MD5, MD5File: n.MD5File,
		Import: n.Import.closed(), Export: n.Export.closed(), Neighbor: &n}
}

// closed returns a policy that rejects what reaches its end; without a term it stays so.
func (p Policy) closed() Policy {
	if len(p) == 0 {
		return nil
	}
	return append(slices.Clip(p), Term{Action: "reject"})
}

// Sessions returns the sessions of the domain: those with its reflectors, and those with its
// neighbours. With each comes its YAML path below the domain's, such as ".reflectors[0]".
func (d Domain) Sessions() iter.Seq2[string, Reflector] {
	return func(yield func(string, Reflector) bool) {
		for i, r := range d.Reflectors {
			if !yield(fmt.Sprintf(".reflectors[%d]", i), r) {
				return
			}
		}
		for i, n := range d.Neighbors {
			path := fmt.Sprintf(".neighbors[%d]", i)
			if !n.Unnumbered() {
				if !yield(path, n.session()) {
					return
				}
				continue
			}
			for _, f := range d.Found {
				if f.Neighbor == i && !yield(path, n.found(f)) {
					return
				}
			}
		}
	}
}

// SessionList returns what Sessions yields, without the paths.
func (d Domain) SessionList() (list []Reflector) {
	for _, r := range d.Sessions() {
		list = append(list, r)
	}
	return list
}

// PeersNamed returns the addresses of the peers whose sessions have a name.
func (c *Config) PeersNamed(name string) (addresses []string) {
	sessions := c.Sessions
	for _, d := range c.Domains {
		sessions = append(sessions[:len(sessions):len(sessions)], d.SessionList()...)
	}
	for _, r := range sessions {
		if r.Name == name {
			addresses = append(addresses, r.Peer.String())
		}
	}
	return addresses
}

// peerKey is the key of the peer's address.
func (r Reflector) peerKey() string {
	if r.Neighbor != nil {
		return ".address"
	}
	return ".peer"
}

// External reports whether the session is with another AS than ours.
func (r Reflector) External(as uint32) bool { return r.AS != as }

// ASName returns the AS of the peer for people: a number, or "external".
func (r Reflector) ASName() string {
	if r.AS == bgp.ExternalAS {
		return "external"
	}
	return strconv.FormatUint(uint64(r.AS), 10)
}

// neighbor checks what is particular to a neighbour; the session is checked besides.
func (k *checker) neighbor(path string, n Neighbor, as uint32) {
	external := n.AS.Number != as
	if k.need(path+".as", !n.AS.IsZero()) && n.AS.Word == "" {
		k.as(path+".as", n.AS.Number)
	}
	k.oneOf(path+".connect", n.Connect, "both", "passive")
	if n.Unnumbered() {
		k.unnumbered(path, n)
	} else if n.Pattern() {
		k.bad(path+".interface", "%s: a pattern is for neighbours without an address", n.Interface)
	}
	k.defaultOriginate(path+".default-originate", n.DefaultOriginate, n.Families, external)
	if n.Role != "" {
		k.oneOf(path+".role", n.Role, "provider", "customer", "peer", "rs-server", "rs-client")
	}
	if n.RoleStrict && n.Role == "" {
		k.bad(path+".role-strict", "there is no role")
	}
	for _, f := range []struct {
		key   string
		given bool
	}{{".local-as", n.LocalAS != 0}, {".role", n.Role != ""}, {".multihop", n.Multihop != 0}} {
		if f.given && !external {
			k.bad(path+f.key, "it is for a neighbour in another AS")
		}
	}
	switch {
	case n.LocalAS == 0 && (n.LocalASNoPrepend || n.LocalASReplaceAS):
		k.bad(path, "there is no local-as")
	case n.LocalAS == 0:
	case n.LocalAS == as || n.LocalAS == n.AS.Number:
		k.bad(path+".local-as", "%d is the AS of the file, or of the neighbour", n.LocalAS)
	default:
		k.as(path+".local-as", n.LocalAS)
	}
}

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Policy is what happens to the routes of one session in one direction: terms in
// order. A term whose conditions all hold makes its changes; if it has an action,
// that is the end. A route that reaches the end is accepted.
type Policy []Term

// Term is one step of a policy. Conditions that are not given hold.
type Term struct {
	// Prefix matches routes inside it whose length is GE to LE. Both default
	// to the prefix's own length: without them it is matched exactly.
	Prefix Prefix `yaml:"prefix,omitempty" json:"prefix,omitzero"`
	GE     uint8  `yaml:"ge,omitempty" json:"ge,omitempty"`
	LE     uint8  `yaml:"le,omitempty" json:"le,omitempty"`
	// Prefixes is a list like a prefix list of other routers: "192.0.2.0/24" matches exactly,
	// "10.0.0.0/8 le 24" routes inside whose length is 8 to 24, "10.0.0.0/8 ge 16 le 24" those of
	// 16 to 24. One of them must match; the list must not be empty. The default routes are
	// 0.0.0.0/0 and ::/0.
	Prefixes []PrefixRange `yaml:"prefixes,omitempty" json:"prefixes,omitempty"`
	// Community is one that the route must have.
	Community Community `yaml:"community,omitempty" json:"community,omitzero"`

	// LocalPref and MED are set.
	LocalPref *uint32 `yaml:"local-pref,omitempty" json:"local-pref,omitempty"`
	MED       *uint32 `yaml:"med,omitempty" json:"med,omitempty"`
	// Bandwidth is set as the link bandwidth community, in Mbit/s: paths that are equal otherwise share
	// the traffic accordingly, if each of them has one. 0 removes it.
	Bandwidth *uint32 `yaml:"bandwidth,omitempty" json:"bandwidth,omitempty"`
	// Add and Remove are communities.
	Add    []Community `yaml:"add,omitempty" json:"add,omitempty"`
	Remove []Community `yaml:"remove,omitempty" json:"remove,omitempty"`

	// Prepend is how often our AS is put in front of the AS path once more, of what is sent to
	// another AS: at most 32.
	Prepend uint8 `yaml:"prepend,omitempty" json:"prepend,omitempty"`

	// Action ends the policy: accept or reject.
	Action string `yaml:"action,omitempty" json:"action,omitempty"`
}

// PrefixRange is a prefix, and the lengths of the routes inside it that are meant.
type PrefixRange struct {
	Prefix netip.Prefix
	GE, LE uint8
}

// Contains reports whether a route is meant.
func (p PrefixRange) Contains(r netip.Prefix) bool {
	return p.Prefix.Contains(r.Addr()) && r.Bits() >= int(p.GE) && r.Bits() <= int(p.LE)
}

// String returns the form of the file.
func (p PrefixRange) String() string {
	s, bits := p.Prefix.String(), uint8(p.Prefix.Bits())
	if p.GE != bits {
		s += fmt.Sprintf(" ge %d", p.GE)
	}
	if p.LE != bits {
		s += fmt.Sprintf(" le %d", p.LE)
	}
	return s
}

// MarshalText returns the form of the file.
func (p PrefixRange) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalYAML reads a prefix, and the least and the greatest length after it. As with other routers,
// ge alone reaches to the longest.
func (p *PrefixRange) UnmarshalYAML(node ast.Node) error {
	return scan(node, `a prefix with its host bits zero, such as "203.0.113.0/24", "10.0.0.0/8 le 24" or "10.0.0.0/8 ge 16 le 24"`, func(s string) (err error) {
		words := strings.Fields(s)
		if len(words) == 0 || len(words)%2 == 0 {
			return strconv.ErrSyntax
		}
		if p.Prefix, err = netip.ParsePrefix(words[0]); err != nil || p.Prefix != p.Prefix.Masked() {
			return strconv.ErrSyntax
		}
		bits, most := uint8(p.Prefix.Bits()), uint8(p.Prefix.Addr().BitLen())
		p.GE, p.LE = bits, bits
		given := map[string]bool{}
		for i := 1; i < len(words); i += 2 {
			n, err := strconv.ParseUint(words[i+1], 10, 8)
			if err != nil || given[words[i]] {
				return strconv.ErrSyntax
			}
			given[words[i]] = true
			switch words[i] {
			case "ge":
				p.GE = uint8(n)
				if !given["le"] {
					p.LE = most
				}
			case "le":
				p.LE = uint8(n)
			default:
				return strconv.ErrSyntax
			}
		}
		if p.GE < bits || p.LE < p.GE || p.LE > most {
			return strconv.ErrRange
		}
		return nil
	})
}

// Community is a standard community, 65000:90 (RFC 1997), or a large one,
// 65000:1:2 (RFC 8092, Section 5). It is comparable; the zero value is "not given".
type Community struct {
	Large    bool
	Standard wire.Community
	Triple   wire.LargeCommunity
}

// IsZero reports whether no community was given.
func (c Community) IsZero() bool { return c == Community{} }

// String returns the form of the file.
func (c Community) String() string {
	if c.Large {
		return c.Triple.String()
	}
	return c.Standard.String()
}

// MarshalText returns the form of the file.
func (c Community) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalYAML reads two or three numbers with colons between them.
func (c *Community) UnmarshalYAML(node ast.Node) error {
	return scan(node, "a community, such as \"65000:90\" or \"65000:1:2\" (in quotes)", func(s string) (err error) {
		if strings.Count(s, ":") == 2 {
			c.Large = true
			c.Triple, err = wire.ParseLargeCommunity(s)
			return err
		}
		c.Standard, err = wire.ParseCommunity(s)
		return err
	})
}

func (p Policy) fill() {
	for i := range p {
		t := &p[i]
		if t.Prefix.IsValid() {
			def(&t.GE, uint8(t.Prefix.Bits()))
			def(&t.LE, max(t.GE, uint8(t.Prefix.Bits())))
		}
	}
}

func (k *checker) policy(path string, p Policy) {
	for i, t := range p {
		at := fmt.Sprintf("%s[%d]", path, i)
		if t.Action != "" {
			k.oneOf(at+".action", t.Action, "accept", "reject")
		}
		if t.Prepend > 32 {
			k.bad(at+".prepend", "%d: want at most 32", t.Prepend)
		}
		switch {
		case t.Prefix.IsValid() && len(t.Prefixes) > 0:
			k.bad(at+".prefixes", "prefix is given, too")
		case t.Prefixes != nil && len(t.Prefixes) == 0:
			k.bad(at+".prefixes", "it is empty, and would match every route: leave it out if that is meant")
		}
		if !t.Prefix.IsValid() {
			if t.GE != 0 || t.LE != 0 {
				k.bad(at, "ge and le need a prefix")
			}
			continue
		}
		if bits := uint8(t.Prefix.Bits()); t.GE < bits || t.LE < t.GE || int(t.LE) > t.Prefix.Addr().BitLen() {
			k.bad(at+".prefix", "%v with lengths %d to %d matches nothing", t.Prefix, t.GE, t.LE)
		}
	}
}

// prepends checks who is sent our AS once more: a peer in it would take that for a loop.
func (k *checker) prepends(path string, r Reflector) {
	for i, t := range r.Import {
		if t.Prepend > 0 {
			k.bad(fmt.Sprintf("%s.import[%d].prepend", path, i), "it is for export")
		}
	}
	for i, t := range r.Export {
		if t.Prepend > 0 && !r.External(k.ours) {
			k.bad(fmt.Sprintf("%s.export[%d].prepend", path, i), "the peer is in our AS, and would take the path for a loop")
		}
	}
}

// Equal reports whether two policies do the same, term by term.
func (p Policy) Equal(o Policy) bool { return slices.EqualFunc(p, o, Term.equal) }

func (t Term) equal(o Term) bool {
	same := func(a, b *uint32) bool { return a == b || a != nil && b != nil && *a == *b }
	return t.Prefix == o.Prefix && t.GE == o.GE && t.LE == o.LE && t.Community == o.Community &&
		same(t.LocalPref, o.LocalPref) && slices.Equal(t.Prefixes, o.Prefixes) && t.Prepend == o.Prepend && same(t.MED, o.MED) && same(t.Bandwidth, o.Bandwidth) && t.Action == o.Action &&
		slices.Equal(t.Add, o.Add) && slices.Equal(t.Remove, o.Remove)
}

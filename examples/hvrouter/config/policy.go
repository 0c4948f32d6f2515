package config

import (
	"fmt"
	"slices"
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
	// Community is one that the route must have.
	Community Community `yaml:"community,omitempty" json:"community,omitzero"`

	// LocalPref and MED are set.
	LocalPref *uint32 `yaml:"local-pref,omitempty" json:"local-pref,omitempty"`
	MED       *uint32 `yaml:"med,omitempty" json:"med,omitempty"`
	// Add and Remove are communities.
	Add    []Community `yaml:"add,omitempty" json:"add,omitempty"`
	Remove []Community `yaml:"remove,omitempty" json:"remove,omitempty"`

	// Action ends the policy: accept or reject.
	Action string `yaml:"action,omitempty" json:"action,omitempty"`
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

// Equal reports whether two policies do the same, term by term.
func (p Policy) Equal(o Policy) bool { return slices.EqualFunc(p, o, Term.equal) }

func (t Term) equal(o Term) bool {
	same := func(a, b *uint32) bool { return a == b || a != nil && b != nil && *a == *b }
	return t.Prefix == o.Prefix && t.GE == o.GE && t.LE == o.LE && t.Community == o.Community &&
		same(t.LocalPref, o.LocalPref) && same(t.MED, o.MED) && t.Action == o.Action &&
		slices.Equal(t.Add, o.Add) && slices.Equal(t.Remove, o.Remove)
}

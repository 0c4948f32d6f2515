package config

import (
	"fmt"
	"slices"

	"github.com/hyperfib/hyperfib/bgp"
)

// DefaultOriginate announces the default route to one neighbour, whatever the domain's table has and
// whatever export is: what other routers call default-originate. It is in no table of ours, and no other
// neighbour hears of it. Packets that come for it are forwarded as the domain's table says.
type DefaultOriginate struct {
	// Families are those whose default route is announced: ipv4 (0.0.0.0/0), ipv6 (::/0) or both.
	// Default: those of the neighbour.
	Families []Family `yaml:"families,omitempty" json:"families"`
	// When is the condition: the default route of a family is announced as long as BGP has a route of
	// the family whose best path is accepted, our own routes and those of the neighbour itself included. A
	// route that reaches the end of the list is rejected. Default: always.
	When Policy `yaml:"when,omitempty" json:"when,omitempty"`
	// Policy changes the route that is announced, or rejects it. One that reaches the end of the list is
	// accepted. Default: none.
	Policy Policy `yaml:"policy,omitempty" json:"policy,omitempty"`
}

func (d *DefaultOriginate) fill(families []Family) {
	if d == nil {
		return
	}
	if len(d.Families) == 0 {
		d.Families = slices.Clone(families)
	}
	d.When.fill()
	d.Policy.fill()
}

// Equal reports whether two do the same. Nil announces nothing.
func (d *DefaultOriginate) Equal(o *DefaultOriginate) bool {
	if d == nil || o == nil {
		return d == o
	}
	return slices.Equal(d.Families, o.Families) && d.When.Equal(o.When) && d.Policy.Equal(o.Policy)
}

// MissingPolicy returns what a session lacks that another AS exchanges routes by (RFC 8212, Section 3).
func (n Neighbor) MissingPolicy() bgp.MissingPolicy {
	return bgp.MissingPolicy{Import: len(n.Import) == 0, Export: len(n.Export) == 0 && n.DefaultOriginate == nil}
}

// defaultOriginate checks what is announced to a neighbour with these families.
func (k *checker) defaultOriginate(path string, d *DefaultOriginate, families []Family, external bool) {
	if d == nil {
		return
	}
	for _, f := range d.Families {
		if !slices.Contains(families, f) {
			k.bad(path+".families", "%s is not among the families of the neighbour", f)
		}
	}
	k.policy(path+".when", d.When)
	k.policy(path+".policy", d.Policy)
	for i, t := range d.When {
		if t.changes() {
			k.bad(fmt.Sprintf("%s.when[%d]", path, i), "a condition changes nothing: it accepts or rejects")
		}
	}
	for i, t := range d.Policy {
		if t.Prepend > 0 && !external {
			k.bad(fmt.Sprintf("%s.policy[%d].prepend", path, i), "the neighbour is in our AS, and would take the path for a loop")
		}
	}
}

// changes reports whether a term changes a route.
func (t Term) changes() bool {
	return t.LocalPref != nil || t.MED != nil || t.Bandwidth != nil || t.Prepend > 0 || len(t.Add) > 0 || len(t.Remove) > 0
}

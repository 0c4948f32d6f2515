package change

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// settings says of every key that has another value what it is and what it was. Nothing that a
// reload changes is left out that way, whatever else is said of it: a key that is new in the
// structs of the file is compared without a word here.
func (d *differ) settings() {
	d.compare(reflect.ValueOf(*d.old), reflect.ValueOf(*d.new), place{path: "$"})
}

// place is where in the files a value is.
type place struct {
	of   string // the element of a list that it belongs to, with a colon: "domain public:"
	key  string // of that element: edge.ra.mtu
	path string // YAML path in the new file
	// secret: the value is never shown.
	secret bool
}

func (p place) String() string { return strings.TrimSpace(p.of + " " + p.key) }

func (p place) field(name string) place {
	p.key, p.path = strings.TrimPrefix(p.key+"."+name, "."), p.path+"."+name
	return p
}

// element returns the place of an element of the list at p. One that has no name of its own has
// its index.
func (p place) element(v reflect.Value, index int) place {
	p.path = fmt.Sprintf("%s[%d]", p.path, index)
	switch x := v.Interface().(type) {
	case config.Domain:
		return p.named("domain " + x.Name)
	case config.Reflector:
		return p.named(fmt.Sprintf("session with %v from %v on %s", x.Peer, x.Local, x.Interface))
	case config.Neighbor:
		if x.Unnumbered() {
			return p.named("neighbours on " + x.Interface)
		}
		return p.named(fmt.Sprintf("session with %v from %v on %s", x.Address, x.Local, x.Interface))
	case config.NextHop:
		return p.named(strings.TrimSpace(fmt.Sprintf("next hop of %s on %s", x.Domain, x.Interface)))
	case config.Guest:
		return p.named("guest " + x.Name)
	case config.Template:
		return p.named("guest-template " + x.Interfaces)
	case config.Overlay:
		return p.named("overlay " + x.Name)
	case config.Rule:
		return p.named(fmt.Sprintf("%s %d", p.key, x.Priority))
	}
	p.key = fmt.Sprintf("%s[%d]", p.key, index)
	return p
}

func (p place) named(name string) place {
	p.of, p.key = strings.TrimSpace(p.of+" "+name+":"), ""
	return p
}

var textual = reflect.TypeFor[encoding.TextMarshaler]()

// isStruct reports whether a type has keys of its own.
func isStruct(t reflect.Type) bool { return t.Kind() == reflect.Struct && !t.Implements(textual) }

// compare says what differs in two values of one type.
func (d *differ) compare(old, new reflect.Value, p place) {
	t := old.Type()
	switch {
	case t.Kind() == reflect.Pointer && isStruct(t.Elem()) && !old.IsNil() && !new.IsNil():
		d.compare(old.Elem(), new.Elem(), p)
	case isStruct(t):
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if !f.IsExported() || name == "" || name == "-" {
				continue
			}
			at := p.field(name)
			at.secret = f.Tag.Get("json") == "-"
			if !d.inherited(old, new, i, p) {
				d.compare(old.Field(i), new.Field(i), at)
			}
		}
	case t.Kind() == reflect.Slice && isStruct(t.Elem()):
		d.elements(old, new, p)
	default:
		d.value(old, new, p)
	}
}

// inherited reports whether a key of a session's prefix limit changes as that of all sessions
// does, of which it is said.
func (d *differ) inherited(old, new reflect.Value, field int, p place) bool {
	if p.of == "" || old.Type() != reflect.TypeFor[config.PrefixLimit]() {
		return false
	}
	was, now := reflect.ValueOf(d.old.BGP.PrefixLimit), reflect.ValueOf(d.new.BGP.PrefixLimit)
	return text(old.Field(field)) == text(was.Field(field)) && text(new.Field(field)) == text(now.Field(field))
}

// elements compares lists of structs.
func (d *differ) elements(old, new reflect.Value, p place) {
	var before, after []place
	for i := range old.Len() {
		before = append(before, p.element(old.Index(i), i))
	}
	for i := range new.Len() {
		at := p.element(new.Index(i), i)
		after = append(after, at)
		if j := slices.IndexFunc(before, at.same); j >= 0 {
			d.compare(old.Index(j), new.Index(i), at)
		} else {
			d.comes(new.Index(i), at)
		}
	}
	for i, b := range before {
		if !slices.ContainsFunc(after, b.same) {
			d.goes(old.Index(i), b)
		}
	}
}

// comes says that an element of a list is new.
func (d *differ) comes(v reflect.Value, p place) {
	switch x := v.Interface().(type) {
	case config.Reflector: // sessions says it
	case config.Neighbor: // sessions says it of those that are there
		if x.Unnumbered() {
			d.add(p.path, "%s are looked for", strings.TrimSuffix(p.String(), ":"))
		}
	case config.Template:
		d.add(p.path, "interfaces like %s make guests", x.Interfaces)
	default:
		d.add(p.path, "%s comes", strings.TrimSuffix(p.String(), ":"))
	}
}

// goes says that an element of a list is no more.
func (d *differ) goes(v reflect.Value, p place) {
	switch x := v.Interface().(type) {
	case config.Domain: // Between says it
	case config.Reflector: // sessions says it
	case config.Neighbor: // sessions says it of those that are there
		if x.Unnumbered() {
			d.add("", "%s are not looked for any more", strings.TrimSuffix(p.String(), ":"))
		}
	case config.Guest:
		d.add("", "guest %s leaves, unless it is known from elsewhere", x.Name)
	case config.Template:
		d.add("", "interfaces like %s make no guests any more", x.Interfaces)
	default:
		d.add("", "%s goes", strings.TrimSuffix(p.String(), ":"))
	}
}

// same reports whether two places are of one thing.
func (p place) same(o place) bool { return p.String() == o.String() }

// value compares what has no keys of its own.
func (d *differ) value(old, new reflect.Value, p place) {
	was, is := text(old), text(new)
	switch {
	case was == is:
	case p.secret:
		d.add(p.path, "%v: another one", p)
	default:
		d.add(p.path, "%v: %s, was %s", p, is, was)
	}
}

// text returns a value as the file has it, "none" for what is not given.
func text(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		switch {
		case v.IsNil():
			return "none"
		case isStruct(v.Type().Elem()):
			return "given"
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.Slice {
		if v.IsNil() { // [] is something else in some places
			return "none"
		}
		list := make([]string, v.Len())
		for i := range list {
			list[i] = text(v.Index(i))
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	s := fmt.Sprint(v.Interface())
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if b, err := m.MarshalText(); err == nil {
			s = string(b)
		}
	}
	if s == "" {
		return "none"
	}
	return s
}

package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Addr is an IP address in the file. The zero value means "not given".
type Addr struct{ netip.Addr }

// Prefix is an IP prefix in the file; host bits must be zero. The zero value
// means "not given".
type Prefix struct{ netip.Prefix }

// InterfacePrefix is an interface's address with its prefix length, so host bits
// may be set. The zero value means "not given".
type InterfacePrefix struct{ netip.Prefix }

// MAC is a 48-bit Ethernet address in the file. The zero value means "not given".
type MAC [6]byte

// Table is a routing table, given by number or by its name in
// /etc/iproute2/rt_tables. ID is 0 until [Config] resolves a name.
type Table struct {
	ID   uint32
	Name string
}

// Duration is a time in Go's notation: 100ms, 90s, 2h.
type Duration struct{ time.Duration }

// Family is an address family in the file: ipv4 or ipv6.
type Family string

// The families, as written in the file.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
)

// FamilyOf returns the family of an address.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// IsZero reports whether no address was given.
func (a Addr) IsZero() bool { return !a.IsValid() }

// IsZero reports whether no prefix was given.
func (p Prefix) IsZero() bool { return !p.IsValid() }

// IsZero reports whether no address was given.
func (p InterfacePrefix) IsZero() bool { return !p.IsValid() }

// IsZero reports whether the time is 0.
func (d Duration) IsZero() bool { return d.Duration == 0 }

// IsZero reports whether no table was given.
func (t Table) IsZero() bool { return t == Table{} }

// scalar returns the text of a scalar node; ok is false for lists and mappings.
func scalar(node ast.Node) (string, bool) {
	if s, ok := node.(ast.ScalarNode); ok {
		if s.Type() == ast.StringType {
			return s.(*ast.StringNode).Value, true
		}
		return s.GetToken().Value, true
	}
	return "", false
}

// scan runs f on a scalar's text and gives its error the node's place.
func scan(node ast.Node, what string, f func(string) error) error {
	text, ok := scalar(node)
	if !ok {
		return at(node, "want %s, not a list or a mapping", what)
	}
	if err := f(text); err != nil {
		return at(node, "%q is not %s", text, what)
	}
	return nil
}

// UnmarshalYAML reads an address; an IPv6 zone is refused, the interface has a key
// of its own.
func (a *Addr) UnmarshalYAML(node ast.Node) error {
	return scan(node, "an IP address", func(s string) (err error) {
		a.Addr, err = netip.ParseAddr(s)
		if err == nil && a.Zone() != "" {
			err = strconv.ErrSyntax
		}
		return err
	})
}

// UnmarshalYAML reads a prefix whose host bits are zero.
func (p *Prefix) UnmarshalYAML(node ast.Node) error {
	return scan(node, "a prefix with its host bits zero, such as 203.0.113.0/24", func(s string) (err error) {
		p.Prefix, err = netip.ParsePrefix(s)
		if err == nil && p.Prefix != p.Masked() {
			err = strconv.ErrSyntax
		}
		return err
	})
}

// UnmarshalYAML reads an address with a prefix length.
func (p *InterfacePrefix) UnmarshalYAML(node ast.Node) error {
	return scan(node, "an address with a prefix length, such as 172.22.2.1/32", func(s string) (err error) {
		p.Prefix, err = netip.ParsePrefix(s)
		return err
	})
}

// UnmarshalYAML reads six octets in hexadecimal.
func (m *MAC) UnmarshalYAML(node ast.Node) error {
	return scan(node, "a MAC address, such as 50:54:33:00:00:07", func(s string) error {
		err := m.set(s)
		if err == nil && m.IsZero() {
			err = strconv.ErrRange // it would read as none
		}
		return err
	})
}

func (m *MAC) set(s string) error {
	hw, err := net.ParseMAC(s)
	if err == nil && len(hw) != len(m) {
		err = strconv.ErrSyntax
	}
	copy(m[:], hw)
	return err
}

// IsZero reports whether no MAC was given.
func (m MAC) IsZero() bool { return m == MAC{} }

// String returns the usual colon form, "" for the zero value.
func (m MAC) String() string {
	if m.IsZero() {
		return ""
	}
	return net.HardwareAddr(m[:]).String()
}

// MarshalText returns the usual colon form.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (m *MAC) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = MAC{}
		return nil
	}
	return m.set(string(text))
}

// UnmarshalYAML reads a number from 1 to 2^32-1 or a name.
func (t *Table) UnmarshalYAML(node ast.Node) error {
	return scan(node, "a routing table's number or name", func(s string) error {
		if id, err := strconv.ParseUint(s, 0, 32); err == nil && id > 0 {
			*t = Table{ID: uint32(id)}
			return nil
		}
		if strings.Trim(s, "0123456789") == "" || strings.ContainsAny(s, " \t/-+") && s[0] <= '9' {
			return strconv.ErrSyntax
		}
		*t = Table{Name: s}
		return nil
	})
}

// MarshalText returns the name if there is one, else the number.
func (t Table) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// String returns the name if there is one, else the number.
func (t Table) String() string {
	if t.Name != "" {
		return t.Name
	}
	return strconv.FormatUint(uint64(t.ID), 10)
}

// UnmarshalYAML reads a time that is not negative.
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	return scan(node, "a time, such as 100ms or 90s", func(s string) (err error) {
		d.Duration, err = time.ParseDuration(s)
		if err == nil && d.Duration < 0 {
			err = strconv.ErrRange
		}
		return err
	})
}

// MarshalText returns Go's notation.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalYAML reads ipv4 or ipv6.
func (f *Family) UnmarshalYAML(node ast.Node) error {
	return scan(node, "a family: ipv4 or ipv6", func(s string) error {
		*f = Family(s)
		if *f != IPv4 && *f != IPv6 {
			return strconv.ErrSyntax
		}
		return nil
	})
}

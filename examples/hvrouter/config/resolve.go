package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// kernelTables are the names that need no rt_tables.
var kernelTables = TableNames{"local": 255, "main": 254, "default": 253}

// resolve gives every named table its number; a name that is unknown keeps ID 0
// and is reported by the checks.
func (k *checker) resolve(c *Config, names TableNames) {
	tables := []*Table{}
	for i := range c.Domains {
		tables = append(tables, &c.Domains[i].Table)
	}
	if c.LocalOut != nil {
		tables = append(tables, &c.LocalOut.Table)
	}
	if c.Rules != nil {
		for _, set := range [][]Rule{c.Rules.IPv4, c.Rules.IPv6} {
			for i := range set {
				tables = append(tables, &set[i].Table)
			}
		}
	}
	for _, o := range c.Overlays {
		if o.Gateway != nil {
			tables = append(tables, &o.Gateway.Table)
		}
	}
	for _, t := range tables {
		if t.Name != "" {
			t.ID = cmp.Or(names[t.Name], kernelTables[t.Name])
		}
	}
}

// ParsePort reads "udp 53" or "tcp 80".
func ParsePort(s string) (proto string, port uint16, err error) {
	proto, number, _ := strings.Cut(s, " ")
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 16)
	if err != nil || n == 0 || proto != "udp" && proto != "tcp" {
		return "", 0, fmt.Errorf("%q: want a protocol and a port, such as \"udp 53\"", s)
	}
	return proto, uint16(n), nil
}

// Domain returns the domain with this name, nil if there is none.
func (c *Config) Domain(name string) *Domain {
	for i := range c.Domains {
		if c.Domains[i].Name == name {
			return &c.Domains[i]
		}
	}
	return nil
}

// GuestDomain returns the domain that guests belong to, nil if there is none.
func (c *Config) GuestDomain() *Domain {
	for i := range c.Domains {
		if c.Domains[i].Guests {
			return &c.Domains[i]
		}
	}
	return nil
}

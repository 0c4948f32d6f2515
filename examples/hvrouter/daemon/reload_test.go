package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// What only a restart can change is refused, by name; the rest is not.
func TestFixed(t *testing.T) {
	b := newBench(t)
	for want, change := range map[string]func(*config.Config){
		"": func(c *config.Config) {
			c.BGP.HoldTime.Duration *= 2
			c.Guests = nil
			c.Domains = append(c.Domains[:1], config.Domain{Name: "more", Table: config.Table{ID: 77}, Interfaces: []string{"spare"}})
		},
		"router-id":            func(c *config.Config) { c.RouterID.Addr = netip.MustParseAddr("0.0.1.9") },
		"as has":               func(c *config.Config) { c.AS++ },
		"api":                  func(c *config.Config) { c.API = "/elsewhere" },
		"bfd.process":          func(c *config.Config) { c.BFD.Process = "off" },
		"bgp.graceful-restart": func(c *config.Config) { c.BGP.GracefulRestart.Off = true },
		"local-out.table":      func(c *config.Config) { c.LocalOut = nil },
		"domain public has gone, and guests are in it": func(c *config.Config) { c.Domains[0].Name = "open" },
		"domain more is new, with table 20 of domain private": func(c *config.Config) {
			c.Domains = append(c.Domains, config.Domain{Name: "more", Table: c.Domains[1].Table})
		},
		"domain more is new, with interface b.private of domain private": func(c *config.Config) {
			c.Domains = append(c.Domains, config.Domain{Name: "more", Interfaces: []string{"spare", "b.private"}})
		},
		"domain more is new, and has neighbours without an address": func(c *config.Config) {
			c.Domains = append(c.Domains, config.Domain{Name: "more", Neighbors: []config.Neighbor{{Interface: "spare"}}})
		},
		"the table of domain private":    func(c *config.Config) { c.Domains[1].Table.ID = 21 },
		"redistribute of domain private": func(c *config.Config) { c.Domains[1].Redistribute = new(bool) },
	} {
		c := *b.cfg
		c.Domains = slices.Clone(c.Domains)
		change(&c)
		err := fixed(b.cfg, &c)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

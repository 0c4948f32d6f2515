package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// What only a restart can change is refused, by name; the rest is not.
func TestFixed(t *testing.T) {
	b := newBench(t)
	for want, change := range map[string]func(*config.Config){
		"":                     func(c *config.Config) { c.BGP.HoldTime.Duration *= 2; c.Guests = nil },
		"router-id":            func(c *config.Config) { c.RouterID.Addr = netip.MustParseAddr("0.0.1.9") },
		"as has":               func(c *config.Config) { c.AS++ },
		"api":                  func(c *config.Config) { c.API = "/elsewhere" },
		"bfd.process":          func(c *config.Config) { c.BFD.Process = "off" },
		"bgp.graceful-restart": func(c *config.Config) { c.BGP.GracefulRestart.Off = true },
		"the set of tables":    func(c *config.Config) { c.LocalOut = nil },
		"the list of domains": func(c *config.Config) {
			c.Domains = append([]config.Domain(nil), c.Domains...)
			c.Domains[0].Name = "open"
		},
	} {
		c := *b.cfg
		change(&c)
		err := fixed(b.cfg, &c)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

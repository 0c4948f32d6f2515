package host

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

func TestNeighbours(t *testing.T) {
	for _, c := range []struct {
		guests int
		mac    byte // 0: unknown, so the kernel must ask
		limit  string
		warn   bool
	}{{500, 0, "1024", false}, {513, 0, "1024", true}, {513, 0, "4096", false}, {513, 0, "", false}, {5000, 2, "1024", false}} {
		cfg := &config.Config{}
		for i := range c.guests {
			a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			cfg.Guests = append(cfg.Guests, config.Guest{Name: fmt.Sprint(i), MAC: config.MAC{c.mac, 0, 0, 0, c.mac * byte(i>>8), c.mac * byte(i)}, IPv4: []config.Addr{{Addr: a}}})
		}
		k := &checker{View: View{Sysctl: func(path string) (string, bool) {
			return c.limit, c.limit != "" && strings.Contains(path, "ipv4")
		}}}
		k.neighbours(cfg)
		if (len(k.found) > 0) != c.warn {
			t.Errorf("%d guests in a table of %q: %v", c.guests, c.limit, k.found)
		}
	}
}

// TestNeighboursUnbounded: without the firewall the tables should be large.
func TestNeighboursUnbounded(t *testing.T) {
	for _, c := range []struct {
		limit string
		off   bool
		warns int
	}{{"1024", false, 0}, {"1024", true, 2}, {"16384", true, 0}, {"", true, 0}} {
		cfg := &config.Config{}
		cfg.Firewall.Off = c.off
		k := &checker{View: View{Sysctl: func(string) (string, bool) { return c.limit, c.limit != "" }}}
		if k.neighbours(cfg); len(k.found) != c.warns {
			t.Errorf("a table of %q, firewall off %v: %v", c.limit, c.off, k.found)
		}
	}
}

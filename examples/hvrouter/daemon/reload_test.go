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

// A reload that changes nothing touches nothing, one that takes a guest away
// touches that guest.
func TestReload(t *testing.T) {
	b := newBench(t)
	b.uplinks()
	b.link(20, "vm1")
	b.link(21, "vm2")
	b.trace.take()
	reload := func(c config.Config) { b.router.reload(&c, b.guard) }
	b.play("reload.txt",
		step{"nothing has changed", func() { reload(*b.cfg) }},
		step{"vm2 is gone from the file", func() {
			c := *b.cfg
			c.Guests = c.Guests[:1]
			reload(c)
		}},
		step{"an uplink of the private domain has another name: its rule follows", func() {
			c := *b.cfg
			c.Domains = append([]config.Domain(nil), c.Domains...)
			c.Domains[1].Reflectors = append([]config.Reflector(nil), c.Domains[1].Reflectors...)
			c.Domains[1].Reflectors[0].Interface = "c.private"
			reload(c)
		}},
		step{"local-out ends in another way", func() {
			c := *b.cfg
			out := *c.LocalOut
			out.LastResort = "blackhole"
			c.LocalOut = &out
			reload(c)
		}},
		step{"guests are told another MTU: they are served anew", func() {
			c := *b.cfg
			c.Edge.RA.MTU = 1400
			reload(c)
		}},
		step{"the responder answers ARP", func() {
			c := *b.cfg
			c.Edge.ARP = "responder"
			reload(c)
		}},
		step{"the kernel does: the responder ends first", func() {
			c := *b.cfg
			c.Edge.ARP = "kernel"
			reload(c)
		}},
	)
}

// Explain names source, kernel's route and rules; the longest prefix counts.
func TestExplain(t *testing.T) {
	b := newBench(t)
	b.uplinks()
	b.link(20, "vm1")
	public := b.domains["public"]
	b.onPaths(public, []pathSet{set("203.0.113.0/28", "192.0.2.1@198.51.100.126", "198.51.100.102@198.51.100.126")}, false)
	for prefix, want := range map[string][]string{
		"203.0.113.1/32": {"public: 203.0.113.1/32", "  local: announced with local-pref 100", "  kernel, table 90: 203.0.113.1 dev vm1 scope link metric 10", "rule 99: lookup 90"},
		"203.0.113.9/32": {"public: 203.0.113.0/28", "  BGP: 1 next hops are on no link", "  kernel, table 90: 203.0.113.0/28 via 198.51.100.102 dev a.public metric 32"},
		"192.0.2.1/32":   {"public: nothing is known that covers 192.0.2.1/32"},
		"2001:db8::/64":  {"rule 53: lookup 90"},
	} {
		lines := strings.Join(b.explain(netip.MustParsePrefix(prefix), noTables), "\n")
		for _, w := range want {
			if !strings.Contains(lines, w) {
				t.Errorf("%s: no %q in\n%s", prefix, w, lines)
			}
		}
	}
}

package daemon

import (
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
)

// in has the bench take events of one namespace.
func (b *bench) in(n config.NetNS, events ...fib.Event) {
	b.router.onKernel(b.router.at(n), events)
	if b.dirty {
		b.refresh()
	}
}

// Each namespace has a firewall: guests, domain and bridge in one, the filter of the
// overlay's port where its packets come in.
func TestFirewalls(t *testing.T) {
	b := newBenchOf(t, "netns.yaml")
	for _, n := range []config.NetNS{"public", ""} { // in one of which guests are
		b.in(n, fib.Event{Kind: fib.EventLink, Link: fib.Link{IfIndex: 20, Interface: "vm1", AdminUp: true, Carrier: true}})
	}
	own, public := b.firewalls[b.at("")].last, b.firewalls[b.at("public")].last
	if len(own.Guests)+len(own.Isolated) > 0 || !slices.Equal(own.Underlay, []string{"a.private", "b.private"}) || !slices.Equal(own.VXLANPorts, []uint16{4789}) {
		t.Errorf("the daemon's own: %+v", own)
	}
	if !slices.Equal(b.firewalled(b.at("public")), []string{"vm1"}) || !slices.Equal(public.Isolated, []string{"br100"}) || len(public.Underlay) > 0 || len(public.Domains) != 1 {
		t.Errorf("public: %+v", public)
	}
}

// What moves between namespaces needs a restart.
func TestFixedPlaces(t *testing.T) {
	b := newBenchOf(t, "netns.yaml")
	for want, change := range map[string]func(*config.Config){
		"":                               func(c *config.Config) { c.Guests = nil },
		"the namespace of domain public": func(c *config.Config) { c.Domains[0].NetNS = "red" },
		"what lives in which network namespace": func(c *config.Config) {
			c.Domains[0].Guests, c.Domains[1].Guests = false, true
		},
	} {
		c := *b.cfg
		c.Domains = append([]config.Domain(nil), c.Domains...)
		change(&c)
		err := fixed(b.cfg, &c)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

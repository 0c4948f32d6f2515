package netns

import (
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Interfaces are in their VRFs, those of guests as well; one that cannot be made is logged.
func TestEnslave(t *testing.T) {
	c, err := config.Parse("f", []byte(`
router-id: 0.0.1.1
as: 65000
isolation: vrf
domains:
  - {name: public, vrf: public, table: 90, guests: true, reflectors: [{interface: a.public, local: 198.51.100.101, peer: 198.51.100.126}]}
edge: {gateway4: 203.0.113.254}
guests: [{name: vm1, ipv4: [203.0.113.1]}]
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := newBed(t, "hv1.yaml")
	b.Configure(c, c)
	v := fakeVRFs{fakeKernel: b.kernel}
	b.vrfs = v
	b.SetLink(up(10, "a.public"))
	b.SetLink(up(20, "vm1"))
	name := c.Domains[0].VRF
	b.Enslave([]config.Guest{c.Guests[0]})
	calls := b.kernel.take()
	if with(calls, "vrf "+name+" 90") != 1 || with(calls, "enslave 10 77") != 1 || with(calls, "enslave 20 77") != 1 {
		t.Errorf("%q", calls)
	}
	b.SetLink(up(77, name))
	inside := up(10, "a.public")
	inside.Master = 77
	if c := b.SetLink(inside); !c.Different {
		t.Errorf("another VRF: %+v", c)
	}
	b.Enslave(nil)
	if calls := b.kernel.take(); with(calls, "vrf "+name) > 0 || with(calls, "enslave 10") > 0 {
		t.Errorf("again: %q", calls)
	}
	v.made = errors.New("not supported")
	b.vrfs = v
	b.log.take()
	b.DeleteLink(77)
	b.Enslave(nil)
	if events := b.log.take(); !slices.Contains(events, "vrf-refused") {
		t.Errorf("events: %q", events)
	}
	New(Config{Log: slog.New(slog.DiscardHandler), Kernel: b.kernel}).Enslave(nil) // has none
}

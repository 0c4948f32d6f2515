package edge

import (
	"reflect"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/dhcp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/ndp"
)

// told is all that a guest is told and answered: what [Edge.Serve] derives from a configuration.
type told struct {
	mac     [6]byte
	silent  bool
	ra      ndp.RouterAdvertisement
	timing  time.Duration
	arp, nd any
	limit   float64
	found   config.Discovery
	lease   dhcp.Lease
	leased  bool
	relay   dhcp.Relay
}

func tell(c *config.Config, p guest.Port) (t told) {
	t.mac = gatewayMAC(c, p)
	ra := c.Edge.RAFor(p.Guest)
	if t.silent = advertisesNothing(ra, p.Guest); !t.silent {
		t.ra, t.timing = Advertisement(ra, p.Guest), ra.Interval.Duration
	}
	if hasIPv4(p.Guest) {
		t.arp = arpGuest(c, p, t.mac, time.Time{})
	}
	if domain.HasIPv6(p.Guest) {
		t.nd = ndpGuest(c, p, t.mac)
	}
	t.limit, t.found = heardRate(p), p.Discovery
	if t.lease, t.leased = Lease(c, p.Guest); t.leased {
		t.relay = relay(c)
	}
	return t
}

// Differences names what guests are told and answered otherwise after a change of the configuration
// or of the guest: the responders that are set anew.
func Differences(old *config.Config, was guest.Port, new *config.Config, is guest.Port) (names []string) {
	a, b := tell(old, was), tell(new, is)
	for _, d := range []struct {
		name     string
		old, new any
	}{
		{"the gateway's MAC", a.mac, b.mac},
		{"router advertisements", []any{a.silent, a.ra, a.timing}, []any{b.silent, b.ra, b.timing}},
		{"answers to ARP", a.arp, b.arp},
		{"answers to neighbour solicitations", a.nd, b.nd},
		{"the rate of questions", a.limit, b.limit},
		{"addresses that are found", a.found, b.found},
		{"DHCP", []any{a.leased, a.lease, a.relay}, []any{b.leased, b.lease, b.relay}},
	} {
		if !reflect.DeepEqual(d.old, d.new) {
			names = append(names, d.name)
		}
	}
	return names
}

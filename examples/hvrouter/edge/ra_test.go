package edge

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/ndp"
)

// Everything that can be said is said, a guest's own settings replace the edge's one by
// one, and what the configuration accepts can be sent.
func TestAdvertisementSettings(t *testing.T) {
	c := parse(t, `
edge:
  ra:
    {interval: 200s, lifetime: 900s, preference: high, hop-limit: 255, mtu: 1400, valid: 2h, preferred: 1h,
     dns: ["2001:db8::53", "2001:db8::54"], search: [example.org, lab.example.org],
     routes: [{prefix: "2001:db8:f000::/36", lifetime: 1h}, {prefix: "fd00::/8", preference: low}],
     pref64: ["64:ff9b::/96"], captive-portal: "https://portal.example.org/api"}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv6: ["2001:db8:1::/64"]}
  - {name: vm2, mac: "50:54:33:00:00:09", ipv6: ["2001:db8:2::/64"],
     ra: {lifetime: 0s, preference: low, dns: [], pref64: ["2001:db8:64::/64"], captive-portal: none}}
  - {name: vm3, mac: "50:54:33:00:00:0b", ipv6: ["2001:db8:3::/64"], ra: {off: true}}
`)
	get := func(i int) ndp.RouterAdvertisement {
		ra := Advertisement(c.Edge.RAFor(c.Guests[i]), c.Guests[i])
		if err := ra.Check(); err != nil {
			t.Errorf("%s: %v", c.Guests[i].Name, err)
		}
		return ra
	}
	want := ndp.RouterAdvertisement{
		HopLimit: 255, Preference: ndp.PreferenceHigh, Lifetime: 900 * time.Second, MTU: 1400,
		Prefixes: []ndp.Prefix{{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), OnLink: true, Autonomous: true, Valid: 2 * time.Hour, Preferred: time.Hour}},
		Routes: []ndp.Route{
			{Prefix: netip.MustParsePrefix("2001:db8:f000::/36"), Preference: ndp.PreferenceHigh, Lifetime: time.Hour},
			{Prefix: netip.MustParsePrefix("fd00::/8"), Preference: ndp.PreferenceLow, Lifetime: 600 * time.Second},
		},
		RDNSS:         []ndp.RDNSS{{Lifetime: 600 * time.Second, Servers: []netip.Addr{netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("2001:db8::54")}}},
		DNSSL:         []ndp.DNSSL{{Lifetime: 600 * time.Second, Domains: []string{"example.org", "lab.example.org"}}},
		PREF64:        []ndp.PREF64{{Prefix: netip.MustParsePrefix("64:ff9b::/96"), Lifetime: 600 * time.Second}},
		CaptivePortal: "https://portal.example.org/api",
	}
	if got := get(0); !reflect.DeepEqual(got, want) {
		t.Errorf("vm1: got\n%+v\nwant\n%+v", got, want)
	}
	want.Lifetime, want.Preference, want.RDNSS, want.CaptivePortal = 0, ndp.PreferenceLow, nil, ""
	want.Routes[0].Preference = ndp.PreferenceLow
	want.PREF64[0].Prefix = netip.MustParsePrefix("2001:db8:64::/64")
	want.Prefixes[0].Prefix = netip.MustParsePrefix("2001:db8:2::/64")
	if got := get(1); !reflect.DeepEqual(got, want) {
		t.Errorf("vm2: got\n%+v\nwant\n%+v", got, want)
	}
	if !c.Edge.RAFor(c.Guests[2]).Silent() || c.Edge.RAFor(c.Guests[0]).Silent() {
		t.Error("off")
	}
}

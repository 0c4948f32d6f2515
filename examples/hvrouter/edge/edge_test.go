package edge

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	head := "router-id: 0.0.1.1\nas: 65000\nloopback: {interface: lo, address: 172.22.2.1/32}\ndomains: [{name: public, table: 90, guests: true}]\n"
	c, err := config.Parse("test", []byte(head+text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFlood(t *testing.T) {
	c := parse(t, "overlays: [{name: vx, vni: 1, bridge: br, peers: [172.22.9.9], vteps: 172.22.2.0/24}]")
	var vteps []netip.Addr
	for _, a := range []string{"172.22.2.3", "172.22.2.1", "172.22.2.2", "10.0.0.1", "172.22.2.2"} {
		vteps = append(vteps, netip.MustParseAddr(a))
	}
	got := Flood(c.Overlays[0], vteps)
	want := []netip.Addr{vteps[2], vteps[0], netip.MustParseAddr("172.22.9.9")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v: not ourselves, not outside the prefix, none twice", got, want)
	}
}

func TestAdvertisement(t *testing.T) {
	c := parse(t, `
edge: {gateway4: 203.0.113.254, ra: {interval: 600s, mtu: 1400, dns: ["2001:db8::53"], search: [example.org]}}
guests:
  - {name: own, mac: "50:54:33:00:00:07", ipv6: ["2001:db8:1::/64"]}
  - {name: shared, mac: "50:54:33:00:00:09", ipv6: ["2001:db8:2::7/128"]}
  - {name: router, mac: "50:54:33:00:00:0b", ipv6: ["2001:db8:3::/48"]}
`)
	own := Advertisement(c.Edge.RAFor(c.Guests[0]), c.Guests[0])
	if err := own.Check(); err != nil {
		t.Error(err)
	}
	if p := own.Prefixes; len(p) != 1 || !p[0].Autonomous || !p[0].OnLink || own.Lifetime != 1800*time.Second || own.MTU != 1400 {
		t.Errorf("a /64: %+v", own)
	}
	if len(own.RDNSS) != 1 || len(own.DNSSL) != 1 {
		t.Errorf("DNS: %+v", own)
	}
	shared := Advertisement(c.Edge.RAFor(c.Guests[1]), c.Guests[1])
	if p := shared.Prefixes; len(p) != 1 || p[0].Autonomous || p[0].Prefix != netip.MustParsePrefix("2001:db8:2::/64") {
		t.Errorf("a /128: %+v", shared.Prefixes)
	}
	if p := Advertisement(c.Edge.RAFor(c.Guests[2]), c.Guests[2]).Prefixes; len(p) != 0 {
		t.Errorf("a /48: %+v", p)
	}
	for i, want := range []bool{false, true, false} {
		if got := Proxied(c.Guests[i]); got != want {
			t.Errorf("%s: proxied %v", c.Guests[i].Name, got)
		}
	}
}

func TestLease(t *testing.T) {
	const guests = "\nguests:\n  - {name: vm1, mac: \"50:54:33:00:00:07\", ipv4: [203.0.113.1]}\n  - {name: six, mac: \"50:54:33:00:00:09\", ipv6: [\"2001:db8:1::/64\"]}\n"
	off := parse(t, "edge: {gateway4: 203.0.113.254}"+guests)
	if _, ok := Lease(off, off.Guests[0]); ok {
		t.Error("DHCP is off")
	}
	c := parse(t, "edge: {gateway4: 203.0.113.254, dhcp: {on: true, dns: [192.0.2.53]}}"+guests)
	l, ok := Lease(c, c.Guests[0])
	if !ok || l.Length != 24 || l.Gateway != netip.MustParseAddr("203.0.113.254") || l.Time != time.Hour || len(l.DNS) != 1 || l.MAC.String() != "50:54:33:00:00:07" {
		t.Errorf("%+v, %v", l, ok)
	}
	if _, ok := Lease(c, c.Guests[1]); ok {
		t.Error("a guest without IPv4")
	}
	c.Edge.DHCP.Host = true
	if l, _ := Lease(c, c.Guests[0]); l.Length != 32 {
		t.Errorf("length %d, want 32", l.Length)
	}
}

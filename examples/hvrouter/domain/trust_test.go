package domain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Which interfaces are the host's own, and what an operator hears of the others.
func TestTrust(t *testing.T) {
	a := func(prefix string, global, permanent bool) InterfaceAddress {
		return InterfaceAddress{netip.MustParsePrefix(prefix), global, permanent}
	}
	gateway, elsewhere := netip.MustParseAddr("203.0.113.254"), netip.MustParseAddr("192.0.2.254")
	c := &config.Config{
		Loopback:       config.Loopback{Interface: "loopback"},
		Domains:        []config.Domain{{Name: "public", VRF: "red", Reflectors: []config.Reflector{{Interface: "a.public"}}}},
		Overlays:       []config.Overlay{{Name: "vx1", Bridge: "br1"}},
		GuestTemplates: []config.Template{{Interfaces: "tap*", Gateway4: config.Addr{Addr: elsewhere}}},
	}
	c.Edge.Gateway4.Addr = gateway
	guests := []config.Guest{{Name: "vm1", Interface: "vm1"}, {Name: "vm2", Interface: "vnet*"}}
	for _, try := range []struct {
		name, link string
		addrs      []InterfaceAddress
		trusted    []string
		want       string // "own", "guessed", "denied", or "" if nobody hears of it
	}{
		{"lo", "lo", nil, []string{}, "own"},
		{"the loopback", "loopback", nil, []string{}, "own"},
		{"a VRF", "red", nil, []string{}, "own"},
		{"an uplink", "a.public", []InterfaceAddress{a("198.51.100.1/25", true, true)}, nil, ""},
		{"an overlay's bridge", "br1", []InterfaceAddress{a("192.168.5.1/24", true, true)}, nil, ""},
		{"an overlay's device", "vx1", []InterfaceAddress{a("192.168.5.1/24", true, true)}, nil, ""},
		{"a guest's", "vm1", []InterfaceAddress{a("192.0.2.1/24", true, true)}, nil, ""},
		{"one named like a guest's", "vnet7", []InterfaceAddress{a("192.0.2.1/24", true, true)}, nil, ""},
		{"one named like a template's", "tap7", []InterfaceAddress{a("192.0.2.1/24", true, true)}, nil, ""},
		{"one without an address", "eth9", nil, nil, ""},
		{"a link-local address", "eth9", []InterfaceAddress{a("fe80::1/64", true, true), a("169.254.1.1/16", true, true)}, nil, ""},
		{"not of global scope", "eth9", []InterfaceAddress{a("192.0.2.1/24", false, true)}, nil, ""},
		{"a guest's gateway", "eth9", []InterfaceAddress{a("203.0.113.254/32", true, true)}, nil, ""},
		{"a template's gateway", "eth9", []InterfaceAddress{a("192.0.2.254/32", true, true)}, nil, ""},
		{"an IPv4 address", "eth9", []InterfaceAddress{a("192.0.2.1/24", true, false)}, nil, "guessed"},
		{"an IPv6 address", "eth9", []InterfaceAddress{a("2001:db8::1/64", true, true)}, nil, "guessed"},
		{"by router advertisement", "eth9", []InterfaceAddress{a("2001:db8::1/64", true, false)}, nil, "denied"},
		{"that, and one that is sure", "eth9", []InterfaceAddress{a("2001:db8::1/64", true, false), a("2001:db8::2/64", true, true)}, nil, "guessed"},
		{"the other way round", "eth9", []InterfaceAddress{a("2001:db8::2/64", true, true), a("2001:db8::1/64", true, false)}, nil, "guessed"},
		{"trusted", "eth9", nil, []string{"eth9"}, "own"},
		{"a pattern", "wg3", nil, []string{"wg*"}, "own"},
		{"others are trusted", "eth9", []InterfaceAddress{a("192.0.2.1/24", true, true)}, []string{"wg*"}, "denied"},
		{"nobody is", "eth9", []InterfaceAddress{a("192.0.2.1/24", true, true)}, []string{}, "denied"},
		{"a guest's, trusted by mistake", "tap7", nil, []string{"t*"}, ""},
	} {
		c.Firewall.Trusted = try.trusted
		trust := NewTrust(c, guests, []Interface{{Name: try.link, Addresses: func() []InterfaceAddress { return try.addrs }}})
		suspect := func(s TrustHint) bool { return s.Name == try.link }
		var got []string
		if slices.ContainsFunc(trust.Guessed, suspect) {
			got = append(got, "guessed")
		}
		if slices.ContainsFunc(trust.Denied, suspect) {
			got = append(got, "denied")
		}
		if own := slices.Contains(trust.Host, try.link); own && len(got) == 0 {
			got = append(got, "own")
		} else if own != (fmt.Sprint(got) == "[guessed]") {
			t.Errorf("%s: in Host: %v, and %v", try.name, own, got)
		}
		if strings.Join(got, ", ") != try.want {
			t.Errorf("%s: %v, want %q", try.name, got, try.want)
		}
	}
}

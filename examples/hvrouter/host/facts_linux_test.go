package host

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestFacts reads a namespace with addresses of every kind, default routes of both
// families, one with two next hops, and so many interfaces that no dump of them fits into
// one datagram.
func TestFacts(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	const more = 100
	ns := nstest.New(t, "facts")
	script := `
		link add up0 type veth peer name up1
		link set up0 address 02:00:00:00:00:0a up
		link set up1 address 02:00:00:00:00:0b up
		addr add 198.51.100.1/24 dev up0
		addr add 192.0.2.1 peer 192.0.2.2/32 dev up1
		addr add 2001:db8::1/64 dev up0 nodad
		addr add 203.0.113.254/32 dev up1 scope link
		route add default proto static nexthop via 198.51.100.2 dev up0 nexthop via 192.0.2.2 dev up1 onlink
		route add unreachable default metric 4294967294
		-6 route add default via 2001:db8::2 dev up0
		route add 203.0.113.0/24 via 198.51.100.2
		route add default via 198.51.100.3 table 90`
	for i := range more {
		script += fmt.Sprintf("\nlink add m%d address 02:00:00:00:01:%02x type veth peer name n%d\naddr add 10.1.0.%d/32 dev m%d", i, i, i, i, i)
	}
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line != "" {
			ns.IP(line)
		}
	}
	var h config.Host
	ns.Do(func() (err error) { h, err = facts(); return err })

	var got []string
	for _, a := range h.Addresses {
		if !strings.HasPrefix(a.Interface, "m") {
			got = append(got, a.Interface+" "+a.Prefix.String())
		}
	}
	slices.Sort(got)
	if want := []string{"up0 198.51.100.1/24", "up0 2001:db8::1/64", "up1 192.0.2.1/32"}; !slices.Equal(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
	if n := len(h.Addresses) - len(got); n != more {
		t.Errorf("%d addresses of the others, want %d", n, more)
	}
	if last := (config.HostAddress{Interface: "m99", Prefix: netip.MustParsePrefix("10.1.0.99/32")}); !slices.Contains(h.Addresses, last) {
		t.Errorf("no %v", last)
	}
	if want := []string{"up0", "up1", "up0"}; !slices.Equal(h.Default, want) {
		t.Errorf("default routes over %q, want %q", h.Default, want)
	}
	for name, want := range map[string]config.MAC{"up0": {2, 0, 0, 0, 0, 10}, "up1": {2, 0, 0, 0, 0, 11}, "m99": {2, 0, 0, 0, 1, 99}} {
		if h.MACs[name] != want {
			t.Errorf("MAC of %s: %v, want %v", name, h.MACs[name], want)
		}
	}
	if n, want := len(h.MACs), 2+2*more; n != want { // lo has none
		t.Errorf("%d MACs, want %d", n, want)
	}
}

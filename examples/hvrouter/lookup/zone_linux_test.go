package lookup

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestZone: a link-local address is on the link that its zone names, which is one of several with the same prefix, and
// as the kernel says. A rule by interface counts.
func TestZone(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	ns := nstest.New(t, "zone")
	ns.Sysctl("net/ipv6/conf/default/accept_dad", "0")
	ns.IP("link set lo up")
	for _, name := range []string{"va", "vb"} {
		ns.IP("link add " + name + " type veth peer name p" + name)
		ns.IP("link set p" + name + " up")
		ns.IP("link set " + name + " up")
	}
	ns.IP("-6 rule add pref 5 oif pva prohibit")
	nstest.Wait(t, 5*time.Second, "link-local addresses", func() bool {
		return strings.Count(ns.IP("-6 route show table local type local"), "local fe80::") >= 4
	})
	for zone, want := range map[string]string{
		"va": "sent by fe80::/64 dev va ", "vb": "sent by fe80::/64 dev vb ", "pvb": "sent by fe80::/64 dev pvb ", "pva": "dropped by rule 5: from all oif pva prohibit",
	} {
		r := Ask(ns.Path, Packet{Dst: netip.MustParseAddr("fe80::99"), OIF: Link{Name: zone}}, nil, nil)
		if !strings.HasPrefix(r.Outcome, want) || len(r.Differences)+len(r.Unread) > 0 || r.Packet != "fe80::99 oif "+zone {
			t.Errorf("%s: want %q:\n%s", zone, want, strings.Join(r.Lines(), "\n"))
		}
	}
	if r := Ask(ns.Path, Packet{Dst: netip.MustParseAddr("fe80::99"), OIF: Link{Name: "nosuch"}}, nil, nil); r.Outcome != "not known: there is no interface nosuch" {
		t.Errorf("a zone that is not there: %s", r.Outcome)
	}
}

// TestOverlays: the overlays of a namespace are its VXLAN devices that are ports of bridges.
func TestOverlays(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	ns := nstest.New(t, "overlays")
	for _, line := range []string{"link add br7 type bridge", "link add vx7 type vxlan id 7 dstport 4789 local 127.0.0.1", "link set vx7 master br7", "link add br6 type bridge",
		"link add a.vx6 type vxlan id 6 dstport 4790 local 127.0.0.1", "link set a.vx6 master br6", "link add vx8 type vxlan id 8 dstport 4791 local 127.0.0.1", "link add vm1 type veth peer name vm2", "link set vm1 master br7"} {
		ns.IP(line)
	}
	list, err := Overlays(ns.Path)
	if want := []Overlay{{"a.vx6", "br6", 6}, {"vx7", "br7", 7}}; err != nil || !slices.Equal(list, want) {
		t.Errorf("%v, %v, want %v", list, err, want)
	}
}

package vxlan

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// Device, bridge and table in one namespace, packets in another: what guests of two
// such hosts send to each other arrives.
func TestUnderlay(t *testing.T) {
	if testing.Short() {
		t.Skip("needs network namespaces; not with -short")
	}
	one, two := nstest.New(t, "vxa"), nstest.New(t, "vxb")
	one.IP("link add wire type veth peer name wire netns " + two.Name)
	guests := map[*nstest.NS]*nstest.NS{}
	for ns, n := range map[*nstest.NS]string{one: "1", two: "2"} {
		ns.IP("addr add 172.22.2." + n + "/24 dev wire")
		ns.IP("link set wire up")
		g := nstest.New(t, "vxg"+n)
		guests[ns] = g
		f, _ := running(t, Config{NetNS: g.Path, Underlay: ns.Path})
		g.IP("link add br100 type bridge")
		d := vx100
		d.Local, d.MTU, d.Learning = addrOf("172.22.2."+n), 1450, true
		d.Bridge = ensureBridge(t, g, "br100")
		link := ensure(t, f, d)
		if again, changed, err := f.Ensure(t.Context(), d); again != link || changed || err != nil {
			t.Errorf("the same again: link %d for %d, changed %v, %v", again, link, changed, err)
		}
		f.SetFlood(link, []netip.Addr{addrOf("172.22.2." + map[string]string{"1": "2", "2": "1"}[n])})
		if _, err := f.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		out := g.IP("-d link show vx100")
		for _, want := range []string{"vxlan id 100 local 172.22.2." + n, "link-netns", "master br100", ",UP"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		g.IP("addr add 192.168.5." + n + "/24 dev br100")
		g.IP("link set br100 up")
	}
	guests[one].Exec("ping", "-c", "3", "-i", "0.2", "-W", "5", "192.168.5.2")
	f, _ := running(t, Config{NetNS: guests[one].Path})
	d := vx100
	d.MTU, d.Learning, d.Bridge = 1450, true, ensureBridge(t, guests[one], "br100")
	if _, changed, err := f.Ensure(t.Context(), d); !changed || err != nil {
		t.Errorf("another underlay: changed %v, %v", changed, err)
	}
	if out := guests[one].IP("-d link show vx100"); strings.Contains(out, "link-netns") {
		t.Errorf("still from another namespace:\n%s", out)
	}
}

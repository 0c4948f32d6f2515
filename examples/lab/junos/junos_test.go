package junos

import (
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// capture reads a message as somebody's Junos sent it.
func capture(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for l := range strings.Lines(string(text)) {
		if l, _, _ = strings.Cut(l, "#"); l != "" {
			b.WriteString(strings.Join(strings.Fields(l), ""))
		}
	}
	out, err := hex.DecodeString(b.String())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Our OPEN is that of Junos, octet for octet.
func TestOpen(t *testing.T) {
	labeled, linkState := wire.Family{AFI: 1, SAFI: 4}, wire.Family{AFI: 16388, SAFI: 71}
	for name, have := range map[string][]byte{
		"open-17.2.txt":     openMessage(65000, netip.MustParseAddr("192.0.2.1"), []wire.Family{labeled, linkState}, addPathNone),
		"open-add-path.txt": openMessage(64512, netip.MustParseAddr("172.20.2.4"), []wire.Family{wire.IPv4Unicast, labeled}, addPathBoth),
	} {
		if want := capture(t, name); string(have) != string(want) {
			t.Errorf("%s:\n%x, want\n%x", name, have, want)
		}
	}
}

func TestReflect(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	public := &group{cluster: addr("198.51.100.126"), community: 65000<<16 | 90, paths: 2, family: wire.IPv4Unicast}
	private := &group{cluster: addr("172.22.15.126"), community: 65000<<16 | 20, paths: 6, family: wire.IPv4Unicast}
	pref := uint32(100)
	attrs := (&wire.PathAttrs{LocalPref: &pref}).Append(nil)
	anycast, tab := prefix("203.0.113.10/32"), table{}
	for _, c := range []struct{ from, id string }{{"198.51.100.102", "0.0.1.2"}, {"198.51.100.101", "0.0.1.1"}, {"198.51.100.103", "0.0.1.3"}} {
		p, ok := imported(public, addr(c.from), addr(c.id), attrs, wire.NextHop{Addr: addr(c.from)})
		if !ok {
			t.Fatal(c)
		}
		tab.set(anycast, p)
	}
	names := func(list []path) (out string) {
		for _, p := range list {
			out += p.next.Addr.String() + " "
		}
		return out
	}
	if have := names(tab.export(anycast, public, addr("198.51.100.1"), 2)); have != "198.51.100.101 198.51.100.102 " {
		t.Errorf("two best: %s", have)
	}
	if have := names(tab.export(anycast, public, addr("198.51.100.101"), 1)); have != "198.51.100.102 " {
		t.Errorf("not one's own: %s", have)
	}
	if have := tab.export(anycast, private, addr("172.22.15.101"), 6); len(have) > 0 {
		t.Errorf("another domain's: %v", have)
	}
	p := tab[anycast][0]
	id, _ := p.attrs.OriginatorID()
	if id != addr("0.0.1.1") || p.attrs.ClusterList().At(0) != public.cluster || !p.attrs.Communities().Contains(public.community) {
		t.Errorf("attributes %x", p.attrs)
	}
	if _, ok := imported(public, addr("198.51.100.104"), addr("0.0.1.4"), p.attrs, p.next); ok {
		t.Error("a route of this cluster came back")
	}
	tab.markStale(addr("198.51.100.101"))
	if len(tab.of(addr("198.51.100.101"), true)) != 1 || len(tab.of(addr("198.51.100.102"), true)) != 0 {
		t.Error("stale paths")
	}
}

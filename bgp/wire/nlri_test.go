package wire

import (
	"net/netip"
	"slices"
	"testing"
)

// slowNLRI is an obvious decoder: octet by octet, masked by netip.
func slowNLRI(l List) (out []NLRI, ok bool) {
	size := l.Family.bits() / 8
	for b := l.Raw; len(b) > 0; {
		var n NLRI
		if l.AddPath {
			if len(b) < 4 {
				return out, false
			}
			n.PathID = uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
			b = b[4:]
		}
		if len(b) == 0 || int(b[0]) > 8*size || len(b) < 1+(int(b[0])+7)/8 {
			return out, false
		}
		bits := int(b[0])
		a := make([]byte, size)
		copy(a, b[1:1+(bits+7)/8])
		addr, _ := netip.AddrFromSlice(a)
		n.Prefix = netip.PrefixFrom(addr, bits).Masked()
		out = append(out, n)
		b = b[1+(bits+7)/8:]
	}
	return out, true
}

func FuzzNLRI(f *testing.F) {
	for _, l := range []List{
		{Family: IPv4Unicast, Raw: []byte{24, 203, 0, 113, 0, 32, 1, 2, 3, 4}},
		{Family: IPv4Unicast, AddPath: true, Raw: []byte{0, 0, 0, 1, 23, 203, 0, 113}},
		{Family: IPv6Unicast, Raw: []byte{48, 0x20, 1, 0xd, 0xb8, 0, 1, 0}},
		{Family: IPv6Unicast, AddPath: true, Raw: []byte{0, 0, 0, 1, 128, 255}},
	} {
		f.Add(l.Raw, l.Family == IPv6Unicast, l.AddPath)
	}
	f.Fuzz(func(t *testing.T, raw []byte, v6, addPath bool) {
		l := List{Family: IPv4Unicast, AddPath: addPath, Raw: raw}
		if v6 {
			l.Family = IPv6Unicast
		}
		want, ok := slowNLRI(l)
		var got []NLRI
		failed := false
		for n, err := range l.All() {
			if err != nil && err != error(ErrNotUnicast) {
				failed = true
				break
			}
			got = append(got, n)
		}
		if !slices.Equal(got, want) || failed == ok || l.wellFormed() != ok {
			t.Errorf("%v: %v (failed %v, well-formed %v), want %v, %v", l, got, failed, l.wellFormed(), want, ok)
		}
		var b []byte
		for _, n := range got {
			b = AppendNLRI(b, n, addPath)
		}
		if again, _ := slowNLRI(List{Family: l.Family, AddPath: addPath, Raw: b}); !slices.Equal(again, want) {
			t.Errorf("%v became %v", want, again)
		}
	})
}

func TestNotUnicast(t *testing.T) {
	for s, want := range map[string]bool{
		"224.0.0.0/4": true, "239.1.2.3/32": true, "127.0.0.1/32": true, "127.0.0.0/8": true, "0.0.0.0/0": false, "128.0.0.0/1": false,
		"240.0.0.0/4": false, "126.0.0.0/8": false, "10.0.0.0/8": false,
		"ff02::/16": true, "ff00::/8": true, "fe80::/10": true, "fe80::/9": false, "fe80::/64": true, "::1/128": true, "::/0": false,
		"::ffff:0:0/96": true, "::ffff:192.0.2.0/120": true, "::ffff:192.0.2.1/128": true, "::fffe:0:0/95": false, "::/96": false, "::/128": false, "0:0:1::/48": false, "fc00::/7": false, "fe00::/7": false, "2001:db8::/32": false,
	} {
		p := netip.MustParsePrefix(s)
		l := List{Family: IPv4Unicast, Raw: AppendNLRI(nil, NLRI{Prefix: p}, false)}
		if p.Addr().Is6() {
			l.Family = IPv6Unicast
		}
		for n, err := range l.All() {
			if n.Prefix != p || (err != nil) != want {
				t.Errorf("%v: %v %v", s, n, err)
			}
		}
	}
	if s := (NLRI{netip.MustParsePrefix("10.0.0.0/8"), 7}).String(); s != "10.0.0.0/8#7" {
		t.Error(s)
	}
}

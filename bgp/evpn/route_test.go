package evpn

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

var update = flag.Bool("update", false, "rewrite testdata")

// captured calls f with every UPDATE that real peers have sent with EVPN in it.
func captured(tb testing.TB, f func(name string, message []byte, u *wire.Update)) {
	tb.Helper()
	files, err := filepath.Glob("../wire/testdata/captures/*-evpn.txt")
	if err != nil || len(files) != 2 {
		tb.Fatal(files, err)
	}
	for _, name := range files {
		for _, b := range updates(tb, name) {
			var u wire.Update
			if err := u.Parse(b[wire.HeaderLen:], wire.Options{AS4: true, IBGP: true}); err != nil {
				tb.Fatalf("%s: %x: %v", name, b, err)
			}
			f(filepath.Base(name), b, &u)
		}
	}
}

// updates returns the UPDATEs of a capture.
func updates(tb testing.TB, name string) (list [][]byte) {
	tb.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		b, err := hex.DecodeString(lines.Text())
		if err == nil && len(b) >= wire.HeaderLen && wire.MessageType(b[18]) == wire.TypeUpdate {
			list = append(list, b)
		}
	}
	return list
}

// TestCaptured decodes what FRR and GoBGP have sent, and writes it again, octet for octet. What they say is
// in testdata/captured.txt; -update rewrites it.
func TestCaptured(t *testing.T) {
	var out strings.Builder
	types := map[RouteType]int{}
	captured(t, func(name string, _ []byte, u *wire.Update) {
		attrs := wire.Attrs(u.AppendAttrs(nil))
		for _, l := range []struct {
			sign string
			list wire.List
		}{{"-", u.MPUnreach}, {"+", u.MPReach}} {
			for n, err := range l.list.EVPN() {
				if err != nil {
					t.Fatal(name, err)
				}
				r, err := Parse(n.Octets)
				if err != nil {
					t.Fatalf("%s: %x: %v", name, n.Octets, err)
				}
				types[r.Type]++
				if again, err := r.AppendBinary(nil); err != nil || !bytes.Equal(again, n.Octets) {
					t.Errorf("%s: %x became %x, %v", name, n.Octets, again, err)
				}
				if again := wire.AppendEVPN(nil, n.AppendKey(nil), n.AppendRest(nil)); !bytes.Equal(again, n.Octets) {
					t.Errorf("%s: key and rest of %x became %x", name, n.Octets, again)
				}
				fmt.Fprintf(&out, "%s %s%v rd %v", name, l.sign, &r, r.RD)
				if r.Type != TypeMulticast && r.Type != TypeEthernetSegment {
					fmt.Fprintf(&out, " vni %d", r.Label.VNI())
				}
				if r.HasLabel2 {
					fmt.Fprintf(&out, ",%d", r.Label2.VNI())
				}
				if r.ESI != (ESI{}) {
					fmt.Fprintf(&out, " esi %v", r.ESI)
				}
				if r.Gateway.IsValid() && !r.Gateway.IsUnspecified() {
					fmt.Fprintf(&out, " gateway %v", r.Gateway)
				}
				if l.sign == "+" {
					fmt.Fprintf(&out, " via %v", u.MPNextHop.Addr)
					for c := range attrs.ExtCommunities().All() {
						fmt.Fprintf(&out, " %s", CommunityString(c))
					}
					if v, ok := attrs.Get(wire.AttrPMSITunnel); ok {
						p, ok := ParsePMSI(v)
						if !ok || !bytes.Equal(p.AppendBinary(nil), v) {
							t.Errorf("%s: PMSI %x became %x, %v", name, v, p.AppendBinary(nil), ok)
						}
						fmt.Fprintf(&out, " pmsi %v", &p)
					}
				}
				out.WriteByte('\n')
			}
		}
	})
	for typ := TypeEthernetAD; typ <= TypeIPPrefix; typ++ {
		if types[typ] == 0 {
			t.Errorf("no route of type %d among them", typ)
		}
	}
	golden(t, "testdata/captured.txt", out.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (%v): go test -update; got\n%s", file, err, got)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// routes are one of each kind that is originated here, with their octets and FRR's name for them.
var routes = []struct {
	Route
	octets, name string
}{
	{Route{Type: TypeMACIP, RD: NewRD(addr("10.255.0.2"), 2), MAC: MAC{0x52, 0x54, 0, 0, 0, 1}, Label: 100},
		"02 21 00010aff00020002 00000000000000000000 00000000 30 525400000001 00 000064",
		"[2]:[0]:[48]:[52:54:00:00:00:01]"},
	{Route{Type: TypeMACIP, RD: NewRD(addr("10.255.0.2"), 2), MAC: MAC{0x52, 0x54, 0, 0, 0, 1}, IP: addr("192.0.2.1"), Label: 100},
		"02 25 00010aff00020002 00000000000000000000 00000000 30 525400000001 20 c0000201 000064",
		"[2]:[0]:[48]:[52:54:00:00:00:01]:[32]:[192.0.2.1]"},
	{Route{Type: TypeMACIP, RD: NewRD(addr("10.255.0.2"), 2), MAC: MAC{0x52, 0x54, 0, 0, 0, 1}, IP: addr("2001:db8::1"), Label: 100, Label2: 300, HasLabel2: true},
		"02 34 00010aff00020002 00000000000000000000 00000000 30 525400000001 80 20010db8000000000000000000000001 000064 00012c",
		"[2]:[0]:[48]:[52:54:00:00:00:01]:[128]:[2001:db8::1]"},
	{Route{Type: TypeMulticast, RD: NewRD(addr("10.255.0.2"), 2), IP: addr("10.255.0.2")},
		"03 11 00010aff00020002 00000000 20 0aff0002", "[3]:[0]:[32]:[10.255.0.2]"},
	{Route{Type: TypeMulticast, EthernetTag: 7, IP: addr("2001:db8::2")},
		"03 1d 0000000000000000 00000007 80 20010db8000000000000000000000002", "[3]:[7]:[128]:[2001:db8::2]"},
	{Route{Type: TypeIPPrefix, Prefix: netip.MustParsePrefix("203.0.113.0/24"), Label: 300},
		"05 22 0000000000000000 00000000000000000000 00000000 18 cb007100 00000000 00012c", "[5]:[0]:[24]:[203.0.113.0]"},
	{Route{Type: TypeIPPrefix, Prefix: netip.MustParsePrefix("2001:db8:1::/48"), Gateway: addr("2001:db8::9"), Label: 300},
		"05 3a 0000000000000000 00000000000000000000 00000000 30 20010db8000100000000000000000000 20010db8000000000000000000000009 00012c", "[5]:[0]:[48]:[2001:db8:1::]"},
	{Route{Type: TypeEthernetAD, ESI: ESI{3, 1, 9: 9}, EthernetTag: 0xffffffff},
		"01 19 0000000000000000 03010000000000000009 ffffffff 000000", "[1]:[4294967295]:[03:01:00:00:00:00:00:00:00:09]"},
	{Route{Type: TypeEthernetSegment, ESI: ESI{3, 1, 9: 9}, IP: addr("10.255.0.2")},
		"04 17 0000000000000000 03010000000000000009 20 0aff0002", "[4]:[03:01:00:00:00:00:00:00:00:09]:[32]:[10.255.0.2]"},
	{Route{Type: 99, Octets: []byte{1, 2, 3}}, "63 03 010203", "[99]:[010203]"},
}

func TestRoutes(t *testing.T) {
	for _, c := range routes {
		want, err := hex.DecodeString(strings.ReplaceAll(c.octets, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.AppendBinary([]byte("before"))
		if err != nil || !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Errorf("%v: %x, %v", &c.Route, got, err)
		}
		if c.String() != c.name {
			t.Errorf("%v, want %s", &c.Route, c.name)
		}
		r, err := Parse(want)
		if g := r.Gateway; c.Type == TypeIPPrefix && !c.Gateway.IsValid() {
			if !g.IsUnspecified() {
				t.Errorf("%v: gateway %v", &r, g)
			}
			r.Gateway = netip.Addr{}
		}
		if err != nil || !same(r, c.Route) {
			t.Errorf("%+v, want %+v, %v", r, c.Route, err)
		}
		key, err := c.Key(nil)
		if err != nil || !bytes.Equal(key, wire.EVPN{Octets: want}.AppendKey(nil)) {
			t.Errorf("%v: key %x, %v", &r, key, err)
		}
		for n := range want { // cut short
			if _, err := Parse(want[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%x: %v", want[:n], err)
			}
			short := slices.Clone(want[:max(n, 2)])
			short[1] = byte(len(short) - 2)
			if _, err := Parse(short); c.Octets == nil && !(c.HasLabel2 && n == len(want)-3) && !errors.Is(err, ErrMalformed) {
				t.Errorf("%x: %v", short, err)
			}
		}
		long := append(slices.Clone(want), 0)
		long[1]++
		if _, err := Parse(long); c.Octets == nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", long, err)
		}
	}
}

func same(a, b Route) bool {
	ok := bytes.Equal(a.Octets, b.Octets)
	a.Octets, b.Octets = nil, nil
	return ok && fmt.Sprint(a) == fmt.Sprint(b) && a.Label == b.Label && a.Label2 == b.Label2 && a.RD == b.RD &&
		a.ESI == b.ESI && a.Gateway == b.Gateway && a.HasLabel2 == b.HasLabel2
}

// TestKeys: of a route that changes its label, segment or gateway the name stays; of any other field it
// does not.
func TestKeys(t *testing.T) {
	name := func(r Route) string {
		k, err := r.Key(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(k)
	}
	for _, c := range routes {
		r := c.Route
		if r.Octets != nil {
			continue
		}
		x := r
		x.Label, x.Label2 = 5, 6
		if r.Type == TypeMACIP {
			x.ESI, x.HasLabel2 = ESI{1}, true
		}
		if r.Type == TypeIPPrefix && !r.Gateway.IsValid() {
			x.ESI = ESI{1}
		}
		if name(x) != name(r) {
			t.Errorf("%v: another name with another label and segment", &r)
		}
		others := map[string]bool{name(r): true}
		try := func(f func(*Route)) {
			y := c.Route
			f(&y)
			if n := name(y); others[n] {
				t.Errorf("%v: %v has the name of another one", &r, &y)
			} else {
				others[n] = true
			}
		}
		try(func(y *Route) { y.RD[7] = 77 })
		if r.Type != TypeEthernetSegment {
			try(func(y *Route) { y.EthernetTag = 78 })
		}
		switch r.Type {
		case TypeMACIP:
			try(func(y *Route) { y.MAC[5] = 79 })
			try(func(y *Route) { y.IP = addr("198.51.100.80") })
		case TypeEthernetAD:
			try(func(y *Route) { y.ESI[9] = 81 })
		case TypeEthernetSegment:
			try(func(y *Route) { y.ESI[9] = 81 })
			try(func(y *Route) { y.IP = addr("198.51.100.80") })
		case TypeMulticast:
			try(func(y *Route) { y.IP = addr("198.51.100.80") })
		case TypeIPPrefix:
			try(func(y *Route) { y.Prefix = netip.PrefixFrom(y.Prefix.Addr(), y.Prefix.Bits()+1) })
		}
	}
	// Bits behind the length of a prefix name nothing.
	a, _ := hex.DecodeString("05220000000000000000000000000000000000000000000018cb0071000000000000012c")
	b := slices.Clone(a)
	b[28] = 0xff
	if x, y := (wire.EVPN{Octets: a}).AppendKey(nil), (wire.EVPN{Octets: b}).AppendKey(nil); !bytes.Equal(x, y) {
		t.Errorf("%x and %x", x, y)
	}
}

// TestRefused: what cannot be written, or would be refused by others, is an error.
func TestRefused(t *testing.T) {
	for _, r := range []Route{
		{Type: TypeMACIP, IP: addr("fe80::1%eth0")},
		{Type: TypeMulticast},
		{Type: TypeEthernetSegment},
		{Type: TypeIPPrefix},
		{Type: TypeIPPrefix, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: addr("2001:db8::1")},
		{Type: TypeIPPrefix, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: addr("192.0.2.1"), ESI: ESI{1}},
		{Type: 77, Octets: make([]byte, 256)},
	} {
		if b, err := r.AppendBinary([]byte{7}); err == nil || len(b) != 1 {
			t.Errorf("%+v: %x", r, b)
		}
	}
}

func TestAllocs(t *testing.T) {
	var updates []wire.Update
	captured(t, func(_ string, m []byte, u *wire.Update) { updates = append(updates, *u) })
	buf, sum := make([]byte, 0, 512), 0
	if n := testing.AllocsPerRun(100, func() {
		for i := range updates {
			for n, err := range updates[i].MPReach.EVPN() {
				r, perr := Parse(n.Octets)
				if err != nil || perr != nil {
					panic("malformed")
				}
				b, err := r.AppendBinary(buf)
				if err != nil {
					panic(err)
				}
				sum += len(b) + len(n.AppendKey(buf)) + len(n.AppendRest(buf))
			}
		}
	}); n != 0 || sum == 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzRoute: what is decoded is written again octet for octet (but for what a prefix has behind its
// length), has the key and rest that package wire finds in it, and package wire takes for well-formed
// what is so here.
func FuzzRoute(f *testing.F) {
	captured(f, func(_ string, _ []byte, u *wire.Update) {
		for _, l := range []wire.List{u.MPReach, u.MPUnreach} {
			for n := range l.EVPN() {
				f.Add(slices.Clone(n.Octets))
			}
		}
	})
	for _, c := range routes {
		b, _ := c.AppendBinary(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		formed := true
		var n wire.EVPN
		count := 0
		for x, err := range (wire.List{Family: wire.L2VPNEVPN, Raw: b}).EVPN() {
			if e := (*wire.Error)(nil); errors.As(err, &e) && (e.Disposition == wire.SessionReset || e.Disposition == wire.RouteWithdraw) {
				formed = false
				break
			}
			n = x
			count++
		}
		if whole := len(b) >= 2 && int(b[1]) == len(b)-2; whole && formed != (err == nil) {
			t.Fatalf("%x: well-formed is %v, and %v", b, formed, err)
		}
		if err != nil {
			return
		}
		if count != 1 || !bytes.Equal(n.Octets, b) {
			t.Fatalf("%x is %d routes", b, count)
		}
		if again := wire.AppendEVPN(nil, n.AppendKey(nil), n.AppendRest(nil)); len(again) != wire.SizeEVPN(n.AppendKey(nil), n.AppendRest(nil)) ||
			r.Type != TypeIPPrefix && !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		if withdrawn, err := Parse(wire.AppendEVPN(nil, n.AppendKey(nil), nil)); err != nil || withdrawn.String() != r.String() || withdrawn.RD != r.RD {
			t.Fatalf("%x: withdrawal of %v: %v", b, &withdrawn, err)
		}
		again, err := r.AppendBinary(nil)
		if err != nil {
			if r.Type == TypeIPPrefix && r.ESI != (ESI{}) { // two overlay indexes
				return
			}
			t.Fatalf("%x: %v", b, err)
		}
		if r.Type != TypeIPPrefix && !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		if r2, err := Parse(again); err != nil || !same(r, r2) {
			t.Fatalf("%+v became %+v, %v", r, r2, err)
		}
	})
}

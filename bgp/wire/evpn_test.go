package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Fields of NLRI: a distinguisher, no segment, one, tag 0, a MAC after its length, a label.
const (
	rd, noESI, esi   = "00010aff00020002 ", "00000000000000000000 ", "03010000000000000009 "
	tag0, mac, label = "00000000 ", "30 525400000001 ", "000064 "
	macOnly          = "02 21" + rd + noESI + tag0 + mac + "00" + label
	macIP            = "02 25" + rd + noESI + tag0 + mac + "20 c0000201" + label
	multicast        = "03 11" + rd + tag0 + "20 0aff0002 "
	prefix4          = "05 22" + rd + noESI + tag0 + "18 cb007100 00000000 " + label
)

// TestMalformedEVPN: what an NLRI must not be, and what becomes of the UPDATE.
func TestMalformedEVPN(t *testing.T) {
	// withdraw is that of one NLRI that is well-formed, named and fields of one that is not, which has a name or none
	const named, fields = RouteWithdraw, RouteWithdraw + 100
	reset, withdraw, ok := SessionReset, TreatAsWithdraw, NoError
	attrs := (&PathAttrs{}).Append(nil)
	for _, c := range []struct {
		name, nlri string
		want       Disposition
	}{
		{"types 2, 3 and 5", macOnly + macIP + multicast + prefix4, ok},
		{"type 2 with two labels", "02 28" + rd + noESI + tag0 + mac + "20 c0000201" + label + label, ok},
		{"type 5 with a segment", "05 22" + rd + esi + tag0 + "18 cb007100 00000000" + label, ok},
		{"type 5 of IPv6", "05 3a" + rd + noESI + tag0 + "30 20010db8000100000000000000000000" + strings.Repeat("00", 16) + label, ok},
		{"type 5, default route", "05 22" + rd + noESI + tag0 + "00 00000000 00000000" + label, ok},
		{"type 1", "01 19" + rd + esi + "ffffffff 000000", ok},
		{"type 4 of IPv6", "04 23" + rd + esi + "80" + strings.Repeat("20", 16), ok},
		{"unknown type", "63 03 010203", ok},
		{"unknown type, empty", "63 00", ok},
		{"type 0", "00 02 0102", ok},
		{"type 255 of 255 octets", "ff ff" + strings.Repeat("01", 255), ok},
		{"type alone", macIP + "02", reset},
		{"runs past the end", macIP + "63 04 010203", reset},
		{"type 1 of 24 octets", "01 18" + rd + esi + "ffffffff 0000", named},
		{"type 1 of 26 octets", "01 1a" + rd + esi + "ffffffff 00000000", named},
		{"type 2, empty", "02 00", fields},
		{"type 2, MAC of 40 bits", "02 21" + rd + noESI + tag0 + "28 525400000001 00" + label, fields},
		{"type 2, IP of 24 bits", "02 25" + rd + noESI + tag0 + mac + "18 c0000201" + label, fields},
		{"type 2, IP of 32 bits that is not there", "02 21" + rd + noESI + tag0 + mac + "20" + label, fields},
		{"type 2, IP of 255 bits", "02 25" + rd + noESI + tag0 + mac + "ff c0000201" + label, fields},
		{"type 2 without a label", "02 1e" + rd + noESI + tag0 + mac + "00", named},
		{"type 2 with a label and an octet", "02 22" + rd + noESI + tag0 + mac + "00" + label + "00", named},
		{"type 2 with three labels", "02 27" + rd + noESI + tag0 + mac + "00" + label + label + label, named},
		{"type 3 without an address", "03 0d" + rd + tag0 + "00", fields},
		{"type 3, address of 16 bits", "03 0f" + rd + tag0 + "10 0aff", fields},
		{"type 3 with an octet behind", "03 12" + rd + tag0 + "20 0aff0002 00", fields},
		{"type 4 of 22 octets", "04 16" + rd + esi + "20 0aff00", fields},
		{"type 5 of 33 octets", "05 21" + rd + noESI + tag0 + "18 cb007100 00000000 0000", fields},
		{"type 5 of 46 octets, prefix and gateway of two families", "05 2e" + rd + noESI + tag0 + "18 cb007100" + strings.Repeat("00", 16) + label, fields},
		{"type 5, IPv4 of 33 bits", "05 22" + rd + noESI + tag0 + "21 cb007100 00000000" + label, fields},
		{"type 5, IPv6 of 129 bits", "05 3a" + rd + noESI + tag0 + "81" + strings.Repeat("20", 32) + label, fields},
		{"type 5 with a segment and a gateway", "05 22" + rd + esi + tag0 + "18 cb007100 0a000001" + label, withdraw},
	} {
		for _, addPath := range []bool{false, true} {
			nlri := unhex(t, c.nlri)
			if addPath {
				if c.want == reset || strings.Contains(c.name, "types") {
					continue // of one NLRI alone
				}
				nlri = append([]byte{0, 0, 0, 7}, nlri...)
			}
			body := reachBody(attrs, L2VPNEVPN, []byte{10, 9, 0, 2}, nlri)
			o := Options{AS4: true, IBGP: true}
			if addPath {
				o.AddPath = Families(L2VPNEVPN)
			}
			u, err := ParseUpdate(body, o)
			var e *Error
			errors.As(err, &e)
			switch {
			case c.want == SessionReset:
				if e == nil || e.Disposition != SessionReset || e.RFC == "" {
					t.Errorf("%s: %v", c.name, err)
				}
				l := List{Family: L2VPNEVPN, Raw: nlri} // as the list of what was not checked
				last := error(nil)
				for _, err := range l.EVPN() {
					last = err
				}
				if last == nil {
					t.Errorf("%s: no error in the list", c.name)
				}
				continue
			case c.want == named || c.want == fields:
				malformedRoute(t, c.name, o, attrs, nlri, c.want == named)
				continue
			case err != nil:
				t.Errorf("%s: %v", c.name, err)
			}
			for n, err := range u.MPReach.EVPN() {
				if (err != nil) != (c.want == TreatAsWithdraw) || addPath != (n.PathID == 7) {
					t.Errorf("%s: %x#%d %v", c.name, n.Octets, n.PathID, err)
				}
			}
			for n := range u.MPReach.All() {
				t.Errorf("%s: prefix %v", c.name, n)
			}
		}
	}
}

// malformedRoute: a route whose fields do not fill its length is reported, and nothing beside it is lost, announced or
// withdrawn.
func malformedRoute(t *testing.T, name string, o Options, attrs, nlri []byte, named bool) {
	t.Helper()
	beside := unhex(t, multicast)
	if o.AddPath != 0 {
		beside = append([]byte{0, 0, 0, 7}, beside...)
	}
	list := slices.Concat(beside, nlri, beside)
	unreach := append([]byte{0, 25, 70}, list...)
	for _, body := range [][]byte{
		reachBody(attrs, L2VPNEVPN, []byte{10, 9, 0, 2}, list),
		slices.Concat([]byte{0, 0, 0, byte(3 + len(unreach)), 0x80, byte(AttrMPUnreach), byte(len(unreach))}, unreach),
	} {
		u, err := ParseUpdate(body, o)
		var e *Error
		if !errors.As(err, &e) || e.Disposition != RouteWithdraw || e.Attr != AttrMPReach && e.Attr != AttrMPUnreach {
			t.Errorf("%s: %v", name, err)
		}
		if f, ok := u.EndOfRIB(); ok {
			t.Errorf("%s: End-of-RIB of %v", name, f)
		}
		both := u.MPReach
		if both.Empty() {
			both = u.MPUnreach
		}
		var good, bad, withdrawn int
		for _, err := range both.EVPN() {
			if err == nil {
				good++
			} else if err == ErrEVPNFields {
				bad++
			}
		}
		if good != 2 || bad != 1 {
			t.Errorf("%s: %d routes and %d that are malformed", name, good, bad)
		}
		good = 0
		for k, err := range both.Keyed() {
			if err == nil {
				good++
				continue
			}
			if len(k.Octets) == 0 {
				continue
			}
			withdrawn++
			b := AppendEVPN(nil, k.AppendKey(nil), nil)
			for n, err := range (List{Family: L2VPNEVPN, Raw: b}).EVPN() {
				if err != nil {
					t.Errorf("%s: withdraws %x: %v", name, n.Octets, err)
				}
			}
			k.AppendRest(nil)
		}
		if good != 2 || withdrawn == 1 != named || withdrawn > 1 {
			t.Errorf("%s: %d routes with a key, and %d withdrawn", name, good, withdrawn)
		}
	}
}

// TestEVPNNoLabel: an IP prefix route without a label needs an overlay index, which may be in a
// community of the UPDATE. One without is withdrawn alone, and a withdrawal has no label to look at.
func TestEVPNNoLabel(t *testing.T) {
	const none, vni1 = "000000", "000001" // a VNI of 1 is the label 0 of MPLS
	bare := func(ipESI, gateway, label string) string {
		return "05 22" + rd + ipESI + tag0 + "18 cb007100" + gateway + label
	}
	routerMAC := NewAttr(AttrExtCommunities, unhex(t, "030c000000000008 0603525400000001")).Append(nil)
	others := NewAttr(AttrExtCommunities, unhex(t, "030c000000000008 0600000000000001")).Append(nil)
	for _, c := range []struct {
		name, nlri string
		attr       []byte
		want       error
	}{
		{"nothing", bare(noESI, "00000000", none), nil, ErrEVPNLabel},
		{"other communities", bare(noESI, "00000000", none), others, ErrEVPNLabel},
		{"IPv6", "05 3a" + rd + noESI + tag0 + "30 20010db8000100000000000000000000" + strings.Repeat("00", 16) + none, nil, ErrEVPNLabel},
		{"VNI 1", bare(noESI, "00000000", vni1), nil, nil},
		{"ESI", bare(esi, "00000000", none), nil, nil},
		{"gateway", bare(noESI, "0a000001", none), nil, nil},
		{"router's MAC", bare(noESI, "00000000", none), routerMAC, nil},
		{"ESI and gateway", bare(esi, "0a000001", none), routerMAC, ErrEVPNOverlay},
		{"type 2 without a label", "02 21" + rd + noESI + tag0 + mac + "00" + none, nil, nil},
	} {
		attrs := slices.Concat((&PathAttrs{}).Append(nil), c.attr)
		u, err := ParseUpdate(reachBody(attrs, L2VPNEVPN, []byte{10, 9, 0, 2}, unhex(t, macIP+c.nlri)), Options{AS4: true, IBGP: true})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []error
		for _, err := range u.MPReach.EVPN() {
			got = append(got, err)
		}
		if len(got) != 2 || got[0] != nil || got[1] != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		i := 0
		for _, err := range u.MPReach.Keyed() { // what a RIB looks at
			if err != got[i] {
				t.Errorf("%s: %v for a RIB, not %v", c.name, err, got[i])
			}
			i++
		}
		gone := Attr{Type: AttrMPUnreach, Flags: FlagOptional, Value: append([]byte{0, 25, 70}, unhex(t, c.nlri)...)}.Append(nil)
		u, err = ParseUpdate(append([]byte{0, 0, 0, byte(len(gone))}, gone...), Options{AS4: true, IBGP: true})
		for _, lerr := range u.MPUnreach.EVPN() {
			if err != nil || lerr == ErrEVPNLabel {
				t.Errorf("%s, withdrawn: %v %v", c.name, err, lerr)
			}
		}
	}
}

// reachBody makes the body of an UPDATE with an MP_REACH_NLRI as it is given.
func reachBody(attrs Attrs, f Family, nextHop, nlri []byte) []byte {
	v := append([]byte{byte(f.AFI >> 8), byte(f.AFI), f.SAFI, byte(len(nextHop))}, nextHop...)
	v = append(append(v, 0), nlri...)
	all := append(slices.Clone(attrs), Attr{Type: AttrMPReach, Flags: FlagOptional, Value: v}.Append(nil)...)
	return append([]byte{0, 0, byte(len(all) >> 8), byte(len(all))}, all...)
}

// TestEVPNNextHop: 4 or 16 octets; with others nobody knows where the NLRI begin.
func TestEVPNNextHop(t *testing.T) {
	for _, n := range []int{0, 4, 5, 8, 12, 16, 24, 32} {
		nh := bytes.Repeat([]byte{32}, n)
		u, err := ParseUpdate(reachBody((&PathAttrs{}).Append(nil), L2VPNEVPN, nh, unhex(t, macIP)), Options{AS4: true, IBGP: true})
		var e *Error
		errors.As(err, &e)
		if n == 4 || n == 16 {
			if want, _ := netip.AddrFromSlice(nh); err != nil || u.MPNextHop != (NextHop{Addr: want}) {
				t.Errorf("%d octets: %v %v", n, u.MPNextHop, err)
			}
		} else if e == nil || e.Disposition != SessionReset {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

// TestEVPNNotNegotiated: NLRI of the family are passed over, however they are.
func TestEVPNNotNegotiated(t *testing.T) {
	body := reachBody((&PathAttrs{}).Append(nil), L2VPNEVPN, []byte{10, 9, 0, 2}, unhex(t, "02 00"))
	u, err := ParseUpdate(body, Options{AS4: true, IBGP: true, Families: Families(IPv4Unicast, IPv6Unicast)})
	if err != nil || !u.MPReach.Empty() {
		t.Error(err, u.MPReach)
	}
}

// TestEVPNRoundTrip: what a Builder writes is what was put in, message by message, and End-of-RIB
// is found.
func TestEVPNRoundTrip(t *testing.T) {
	long := unhex(t, "ff ff"+strings.Repeat("01", 255))
	list := List{Family: L2VPNEVPN, Raw: append(unhex(t, macOnly+macIP+multicast+prefix4+"63 00"), long...)}
	for _, addPath := range []FamilySet{0, Families(L2VPNEVPN)} {
		for _, nh := range []NextHop{{}, {Addr: netip.MustParseAddr("10.9.0.2")}, {Addr: netip.MustParseAddr("2001:db8::2")}} {
			b := Builder{Max: 200, AS4: true, AddPath: addPath}
			var messages [][]byte
			var want, got []string
			start := func() {
				if nh.Addr.IsValid() {
					b.Reach(nil, L2VPNEVPN, (&PathAttrs{}).Append(nil), nh)
				} else {
					b.Unreach(nil, L2VPNEVPN)
				}
			}
			start()
			for n := range list.EVPN() {
				key, rest := n.AppendKey(nil), n.AppendRest(nil)
				id := uint32(len(want)) + 1
				if !b.AddKeyed(key, rest, id) {
					if !b.Empty() {
						messages = append(messages, b.Finish())
						start()
					}
					if !b.AddKeyed(key, rest, id) {
						if n.Octets[0] != 255 {
							t.Errorf("no room for %x", n.Octets)
						}
						continue
					}
				}
				if addPath == 0 {
					id = 0
				}
				want = append(want, string(n.Octets)+string(rune(id)))
			}
			if !b.Empty() {
				messages = append(messages, b.Finish())
			}
			for _, m := range messages {
				if len(m) > 200 {
					t.Errorf("message of %d octets", len(m))
				}
				u, err := ParseUpdate(m[HeaderLen:], Options{AS4: true, IBGP: true, AddPath: addPath})
				if err != nil || u.MPNextHop != nh {
					t.Fatal(err, u.MPNextHop)
				}
				for _, l := range []List{u.MPReach, u.MPUnreach} {
					for n := range l.EVPN() {
						got = append(got, string(n.Octets)+string(rune(n.PathID)))
					}
				}
			}
			if !slices.Equal(got, want) || len(got) != 5 {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	u, err := ParseUpdate(AppendEndOfRIB(nil, L2VPNEVPN)[HeaderLen:], Options{AS4: true, IBGP: true})
	if f, ok := u.EndOfRIB(); err != nil || !ok || f != L2VPNEVPN {
		t.Error(f, ok, err)
	}
}

// TestEVPNKeyAlone: a withdrawal that has nothing but the key is as long as what it withdraws, and names the
// same route; SizeEVPN knows how long it is.
func TestEVPNKeyAlone(t *testing.T) {
	const prefix6 = "05 3a" + rd + esi + tag0 + "30 20010db8000100000000000000000000"
	for name, nlri := range map[string]string{
		"type 1": "01 19" + rd + esi + "ffffffff 000064", "type 2": macOnly, "type 2 with an address": macIP, "type 3": multicast,
		"type 4": "04 17" + rd + esi + "20 0aff0002", "type 5": prefix4, "type 5 of IPv6": prefix6 + strings.Repeat("00", 16) + label, "type 99": "63 03 010203",
	} {
		whole := unhex(t, nlri)
		key := EVPN{Octets: whole}.AppendKey(nil)
		b := AppendEVPN(nil, key, nil)
		if len(b) != len(whole) || SizeEVPN(key, nil) != len(b) {
			t.Errorf("%s: %d octets, said to be %d, in place of %d", name, len(b), SizeEVPN(key, nil), len(whole))
			continue
		}
		for n, err := range (List{Family: L2VPNEVPN, Raw: b}).EVPN() {
			if err != nil || !bytes.Equal(n.AppendKey(nil), key) {
				t.Errorf("%s: %x is another route: %v", name, b, err)
			}
		}
	}
}

func TestMalformedPMSI(t *testing.T) {
	for text, want := range map[string]Disposition{
		"00 06 000064 0a090002":                   NoError,
		"00 06 000064" + strings.Repeat("20", 16): NoError,
		"00 00 000000":                            NoError,
		"01 02 000000 0102030405":                 NoError,
		"00 06 0000":                              TreatAsWithdraw,
		"":                                        TreatAsWithdraw,
		"00 06 000064 0a0900":                     TreatAsWithdraw,
		"00 06 000064" + strings.Repeat("20", 16+1): TreatAsWithdraw,
	} {
		attrs := append((&PathAttrs{}).Append(nil), NewAttr(AttrPMSITunnel, unhex(t, text)).Append(nil)...)
		u, err := ParseUpdate(reachBody(attrs, L2VPNEVPN, []byte{10, 9, 0, 2}, unhex(t, multicast)), Options{AS4: true, IBGP: true})
		var e *Error
		errors.As(err, &e)
		if got := e; want == NoError && err != nil || want != NoError && (got == nil || got.Disposition != want) {
			t.Errorf("%s: %v", text, err)
		}
		if _, ok := Attrs(u.AppendAttrs(nil)).Get(AttrPMSITunnel); ok != (want == NoError) {
			t.Errorf("%s: in the set: %v", text, ok)
		}
	}
}

// TestEVPNAllocs: an UPDATE is taken apart, and another one made, without an allocation.
func TestEVPNAllocs(t *testing.T) {
	body := reachBody((&PathAttrs{}).Append(nil), L2VPNEVPN, []byte{10, 9, 0, 2}, unhex(t, macOnly+macIP+multicast+prefix4))
	var u Update
	room, out := make([]byte, 0, 1024), make([]byte, 0, 8192)
	b := Builder{AS4: true}
	attrs := (&PathAttrs{}).Append(nil)
	if n := testing.AllocsPerRun(100, func() {
		if err := u.Parse(body, Options{AS4: true, IBGP: true}); err != nil {
			panic(err)
		}
		b.Reach(out, L2VPNEVPN, attrs, u.MPNextHop)
		for n, err := range u.MPReach.EVPN() {
			if err != nil {
				panic(err)
			}
			key := n.AppendKey(room)
			rest := n.AppendRest(key[len(key):])
			if !b.AddKeyed(key, rest, 0) {
				panic("full")
			}
		}
		b.Finish()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

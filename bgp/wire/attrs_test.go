package wire

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

func TestPathAttrs(t *testing.T) {
	med, lp := uint32(5), uint32(200)
	in := PathAttrs{Origin: OriginEGP, ASPath: []uint32{1, 4200000001}, MED: &med, LocalPref: &lp, AtomicAggregate: true,
		Communities: []Community{CommunityNoExport}, OriginatorID: netip.MustParseAddr("1.1.1.1"),
		ClusterList:    []netip.Addr{netip.MustParseAddr("2.2.2.2"), netip.MustParseAddr("3.3.3.3")},
		ExtCommunities: []ExtCommunity{77}, LargeCommunities: []LargeCommunity{{1, 2, 3}}, Other: []Attr{NewAttr(99, make([]byte, 300))}}
	a := in.Append(nil)
	gotMED, _ := a.MED()
	gotLP, _ := a.LocalPref()
	id, _ := a.OriginatorID()
	other, _ := a.Get(99)
	if a.Origin() != OriginEGP || a.ASPath().String() != "1 4200000001" || gotMED != 5 || gotLP != 200 || id != in.OriginatorID ||
		!a.Communities().Contains(CommunityNoExport) || a.ClusterList().Len() != 2 || !a.ClusterList().Contains(in.ClusterList[1]) ||
		!a.ExtCommunities().Contains(77) || !a.LargeCommunities().Contains(LargeCommunity{1, 2, 3}) || len(other) != 300 {
		t.Errorf("% x", a)
	}
	var none Attrs
	if _, ok := none.MED(); ok || none.Origin() != OriginIncomplete || none.ASPath().Len() != 0 || none.ClusterList().Len() != 0 {
		t.Error("attributes out of nowhere")
	}
	if none.ExtCommunities().Contains(1) || none.LargeCommunities().Contains(LargeCommunity{}) || none.Communities().Contains(0) {
		t.Error("communities out of nowhere")
	}
	if _, ok := none.OriginatorID(); ok {
		t.Error("originator out of nowhere")
	}
}

func TestAppendEdited(t *testing.T) {
	a := typical()
	lp := NewAttr(AttrLocalPref, []byte{0, 0, 0, 7})
	med := NewAttr(AttrMED, []byte{0, 0, 0, 9})
	got := a.AppendEdited(nil, Edit{Attr: med}, Edit{Attr: lp}, Edit{Attr: Attr{Type: AttrCommunities}, Delete: true}, Edit{Attr: NewAttr(200, []byte{1})})
	v, _ := got.LocalPref()
	m, _ := got.MED()
	_, has := got.Get(AttrCommunities)
	x, _ := got.Get(200)
	if v != 7 || m != 9 || has || len(x) != 1 || got.LargeCommunities() == nil || got.ASPath().Len() != 2 {
		t.Errorf("% x", got)
	}
	if same := a.AppendEdited(nil); !bytes.Equal(same, a) {
		t.Errorf("% x", same)
	}
	if gone := a.AppendEdited(nil, Edit{Attr: Attr{Type: 77}, Delete: true}); !bytes.Equal(gone, a) {
		t.Errorf("% x", gone)
	}
}

func TestASPath(t *testing.T) {
	seq := AppendSequence(nil, 1, 2, 3)
	set := append(bytes.Clone(seq), byte(ASSet), 2, 0, 0, 0, 8, 0, 0, 0, 9)
	confed := append([]byte{byte(ASConfedSequence), 1, 0, 0, 0, 7}, seq...)
	for _, tc := range []struct {
		p             ASPath
		len           int
		first, origin uint32
	}{{nil, 0, 0, 0}, {seq, 3, 1, 3}, {set, 4, 1, 0}, {confed, 3, 1, 3}} {
		first, _ := tc.p.First()
		origin, ok := tc.p.Origin()
		if !ok {
			origin = 0
		}
		if tc.p.Len() != tc.len || first != tc.first || origin != tc.origin {
			t.Errorf("%v: %d %d %d", tc.p, tc.p.Len(), first, origin)
		}
	}
	if !ASPath(set).Contains(9) || ASPath(set).Contains(7) || ASPath(seq).Count(2) != 1 {
		t.Error("Contains")
	}
	for want, p := range map[string]ASPath{
		"5 5 1 2 3":       ASPath(seq).AppendPrepend(nil, 5, 2),
		"5":               ASPath(nil).AppendPrepend(nil, 5, 1),
		"5 (7) 1 2 3":     ASPath(confed).AppendPrepend(nil, 5, 1),
		"1 2 3 {8,9}":     ASPath(set).AppendPrepend(nil, 5, 0),
		"6 1 2 3 {8,9}":   ASPath(set).AppendPrepend(nil, 6, 1),
		"4 4 1 2 3 {8,9}": ASPath(set).AppendPrepend(nil, 4, 2),
	} {
		if p.String() != want {
			t.Errorf("%v, want %s", p, want)
		}
	}
	many := make([]uint32, 300)
	for i := range many {
		many[i] = uint32(i + 1)
	}
	long := ASPath(AppendSequence(nil, many...))
	if long.Len() != 300 || ASPath(long.AppendPrepend(nil, 9, 1)).Len() != 301 {
		t.Error(long.Len())
	}
}

// TestMergePaths is RFC 6793, Section 4.2.3, from the wire to Attrs and back.
func TestMergePaths(t *testing.T) {
	const big = "\x00\x01\x00\x00" // AS 65536
	for _, tc := range []struct {
		name, path, path4, aggregator string
		want                          string
	}{
		{"no AS4_PATH", "\x02\x02\x00\x01\x5b\xa0", "", "", "1 23456"},
		{"same length", "\x02\x02\x00\x01\x5b\xa0", "\x02\x02\x00\x00\x00\x01" + big, "", "1 65536"},
		{"shorter", "\x02\x03\x00\x09\x00\x01\x5b\xa0", "\x02\x02\x00\x00\x00\x01" + big, "", "9 1 65536"},
		{"longer: ignored", "\x02\x01\x5b\xa0", "\x02\x02\x00\x00\x00\x01" + big, "", "23456"},
		{"set in front", "\x01\x02\x00\x08\x00\x09\x02\x01\x5b\xa0", "\x02\x01" + big, "", "{8,9} 65536"},
		{"set in AS4_PATH", "\x02\x01\x00\x07\x01\x01\x5b\xa0", "\x01\x01" + big, "", "7 {65536}"},
		{"confederation ignored", "\x02\x02\x00\x01\x5b\xa0", "\x03\x01\x00\x00\x00\x05\x02\x01" + big, "", "1 65536"},
		{"confederation in front", "\x03\x01\xfd\xe9\x02\x01\x5b\xa0", "\x02\x01" + big, "", "(65001) 65536"},
		{"confederation set in front", "\x04\x02\xfd\xe9\xfd\xea\x02\x02\x00\x01\x5b\xa0", "\x02\x01" + big, "", "[65001,65002] 1 65536"},
		{"confederation beside what is prepended", "\x02\x01\x00\x01\x03\x01\xfd\xe9\x02\x01\x5b\xa0", "\x02\x01" + big, "", "1 (65001) 65536"},
		{"aggregator is not AS_TRANS: ignored", "\x02\x02\x00\x01\x5b\xa0", "\x02\x02\x00\x00\x00\x01" + big, "\x00\x05\x01\x02\x03\x04", "1 23456"},
		{"aggregator is AS_TRANS", "\x02\x02\x00\x01\x5b\xa0", "\x02\x02\x00\x00\x00\x01" + big, "\x5b\xa0\x01\x02\x03\x04", "1 65536"},
	} {
		attrs := []byte{0x40, 1, 1, 0}
		attrs = NewAttr(AttrASPath, []byte(tc.path)).Append(attrs)
		if tc.aggregator != "" {
			attrs = NewAttr(AttrAggregator, []byte(tc.aggregator)).Append(attrs)
		}
		if tc.path4 != "" {
			attrs = NewAttr(AttrAS4Path, []byte(tc.path4)).Append(attrs)
		}
		if tc.aggregator != "" {
			attrs = NewAttr(AttrAS4Aggregator, []byte(big+"\x01\x02\x03\x04")).Append(attrs)
		}
		body := append([]byte{0, 0, 0, byte(len(attrs))}, attrs...)
		u, err := ParseUpdate(body, Options{IBGP: true, Confed: true})
		a := u.AppendAttrs(nil)
		if err != nil || a.ASPath().String() != tc.want {
			t.Errorf("%s: %v, want %s (%v)", tc.name, a.ASPath(), tc.want, err)
		}
		// What we send to a 2-octet peer comes back as it was, but for a confederation segment
		// behind the first AS number: AS4_PATH has all numbers, so nothing is prepended to it.
		if strings.Contains(tc.want, "1 (") {
			continue
		}
		m := build(t, &Builder{}, IPv4Unicast, a, hop4, prefixes4(1))[0]
		back, err := ParseUpdate(m[HeaderLen:], Options{IBGP: true, Confed: true})
		if got := back.AppendAttrs(nil); err != nil || !bytes.Equal(got, a) {
			t.Errorf("%s: % x came back as % x (%v)", tc.name, a, got, err)
		}
	}
}

func TestAllocations(t *testing.T) {
	m, _ := packed(t)
	var u Update
	scratch := make([]byte, 0, MaxLen)
	attrs, nn := typical(), prefixes4(3)
	b := Builder{AS4: true}
	ext := build(t, &Builder{AS4: true, AddPath: Families(IPv6Unicast)}, IPv6Unicast, attrs, hop6, prefixes6(3))[0][HeaderLen:]
	v6 := ibgp
	v6.AddPath = Families(IPv6Unicast)
	for name, f := range map[string]func(){
		"parse IPv4": func() {
			if err := u.Parse(m, ibgp); err != nil {
				t.Fatal(err)
			}
			for n, err := range u.Reach(IPv4Unicast) {
				if err == nil {
					sink += n.Prefix.Bits()
				}
			}
			a := u.AppendAttrs(scratch)
			lp, _ := a.LocalPref()
			sink += int(lp) + a.ASPath().Len() + a.ClusterList().Len()
			for c := range a.Communities().All() {
				sink += int(c)
			}
			for c := range a.LargeCommunities().All() {
				sink += int(c.Local1)
			}
		},
		"parse IPv6": func() {
			if err := u.Parse(ext, v6); err != nil {
				t.Fatal(err)
			}
			for n := range u.MPReach.All() {
				sink += n.Prefix.Bits()
			}
		},
		"encode": func() {
			b.Reach(scratch, IPv4Unicast, attrs, hop4)
			for _, n := range nn {
				b.Add(n)
			}
			sink += len(b.Finish())
			b.Reach(scratch, IPv6Unicast, attrs, hop6)
			sink += len(b.Finish())
		},
		"header": func() {
			h, err := ParseHeader(AppendKeepalive(scratch), MaxLen)
			if err != nil {
				t.Fatal(err)
			}
			sink += h.Len
		},
		"edit": func() {
			sink += len(attrs.AppendEdited(scratch, Edit{Attr: Attr{AttrClusterList, FlagOptional, m[:4]}}))
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestBuilderFull: a message never exceeds its limit, and says at once if the
// attributes alone are too long.
func TestBuilderFull(t *testing.T) {
	for _, f := range []Family{IPv4Unicast, IPv6Unicast} {
		for size := 3900; size < 4200; size++ {
			a := PathAttrs{Other: []Attr{NewAttr(99, make([]byte, size))}}
			b := Builder{AS4: true}
			n, nh := prefixes4(1)[0], hop4
			if f == IPv6Unicast {
				n, nh = prefixes6(1)[0], hop6
			}
			b.Reach(nil, f, a.Append(nil), nh)
			if !b.Empty() {
				t.Fatal("not empty")
			}
			ok := b.Add(n)
			if m := b.Finish(); ok && len(m) > MaxLen {
				t.Fatalf("%v: %d octets", f, len(m))
			} else if !ok && size < 3950 {
				t.Fatalf("%v: full with attributes of %d octets", f, size)
			}
		}
	}
}

// TestAS4Aggregator: RFC 6793, Section 6, and RFC 7607, Section 2: an AS4_AGGREGATOR that is
// malformed, has AS 0 or comes from a peer with 4-octet AS numbers is discarded, and the error
// names it; AGGREGATOR is used instead.
func TestAS4Aggregator(t *testing.T) {
	const origin, path, nh = "\x40\x01\x01\x00", "\x40\x02\x04\x02\x01\x00\x07", "\x40\x03\x04\xc0\x00\x02\x01"
	const path4 = "\x40\x02\x06\x02\x01\x00\x00\x00\x07"
	old := "\xc0\x07\x06\x5b\xa0\xc0\x00\x02\x09" // AS_TRANS
	for _, tt := range []struct {
		name, attrs string
		as4         bool
		err         string // the attribute named and the section cited
		want        string // AGGREGATOR
	}{
		{"good", origin + path + nh + old + "\xc0\x12\x08\x00\x01\x00\x00\xc0\x00\x02\x09", false,
			"", "\x00\x01\x00\x00\xc0\x00\x02\x09"},
		{"AS 0", origin + path + nh + old + "\xc0\x12\x08\x00\x00\x00\x00\xc0\x00\x02\x09", false,
			"AS4_AGGREGATOR RFC 7607, Section 2", "\x00\x00\x5b\xa0\xc0\x00\x02\x09"},
		{"short", origin + path + nh + old + "\xc0\x12\x06\x00\x01\xc0\x00\x02\x09", false,
			"AS4_AGGREGATOR RFC 6793, Section 6", "\x00\x00\x5b\xa0\xc0\x00\x02\x09"},
		{"4-octet peer", origin + path4 + nh + "\xc0\x07\x08\x00\x01\x00\x00\xc0\x00\x02\x09" +
			"\xc0\x12\x08\x00\x00\x00\x09\xc0\x00\x02\x09", true,
			"AS4_AGGREGATOR RFC 6793, Section 6", "\x00\x01\x00\x00\xc0\x00\x02\x09"},
		{"AS4_PATH, 4-octet peer", origin + path4 + nh + "\xc0\x11\x06\x02\x01\x00\x00\x00\x08", true,
			"AS4_PATH RFC 6793, Section 6", ""},
	} {
		body := append([]byte{0, 0, 0, byte(len(tt.attrs))}, tt.attrs+"\x18\xc6\x33\x64"...)
		u, err := ParseUpdate(body, Options{AS4: tt.as4})
		got := ""
		if e, ok := err.(*Error); ok {
			got = e.Attr.String() + " " + e.RFC
			if e.Disposition != AttributeDiscard {
				t.Errorf("%s: %v", tt.name, e.Disposition)
			}
		}
		if got != tt.err {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.err)
		}
		if v, _ := u.AppendAttrs(nil).Get(AttrAggregator); string(v) != tt.want {
			t.Errorf("%s: AGGREGATOR % x, want % x", tt.name, v, tt.want)
		}
	}
}

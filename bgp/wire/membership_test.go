package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"
)

const (
	target100 = "60 0000fde8 0002fde800000064 "
	originAny = "20 0000fde8 "
)

// memberships parses the NLRI of an UPDATE that announces them, in both encodings.
func memberships(t *testing.T, nlri []byte) (list []Membership, errs []error, err error) {
	t.Helper()
	u, err := ParseUpdate(reachBody((&PathAttrs{}).Append(nil), RTConstrain, []byte{10, 9, 0, 2}, nlri), Options{AS4: true, IBGP: true})
	if err != nil {
		return nil, nil, err
	}
	for m, err := range u.MPReach.Memberships() {
		list, errs = append(list, m), append(errs, err)
	}
	return list, errs, nil
}

// TestMalformedMembership: what an NLRI must not be, and what becomes of the UPDATE.
func TestMalformedMembership(t *testing.T) {
	reset, withdraw, ok := SessionReset, TreatAsWithdraw, NoError
	for _, c := range []struct {
		name, nlri string
		want       Disposition // of the UPDATE; withdraw: of the second NLRI alone
	}{
		{"default route target", "00", ok},
		{"origin AS alone", originAny, ok},
		{"of an administrator", "40 0000fde8 0002fde8", ok},
		{"a bit short", "5f 0000fde8 0002fde800000064", ok},
		{"several", target100 + "00" + originAny + target100, ok},
		{"1 bit", target100 + "01 80", withdraw},
		{"31 bits", target100 + "1f 0000fde8" + target100, withdraw},
		{"97 bits", target100 + "61 0000fde8 0002fde800000064 80", reset},
		{"255 bits", "ff 0000fde8 0002fde800000064", reset},
		{"runs past the end", target100 + "60 0000fde8 0002fde8000000", reset},
		{"origin AS runs past the end", "20 0000fd", reset},
	} {
		list, errs, err := memberships(t, unhex(t, c.nlri))
		var e *Error
		errors.As(err, &e)
		switch {
		case c.want == reset:
			if e == nil || e.Disposition != reset || e.RFC == "" {
				t.Errorf("%s: %v", c.name, err)
			}
			l, last, lastKeyed := List{Family: RTConstrain, Raw: unhex(t, c.nlri)}, error(nil), error(nil) // as a list that was not checked
			for _, err := range l.Memberships() {
				last = err
			}
			for _, err := range l.Keyed() {
				lastKeyed = err
			}
			if last == nil || lastKeyed == nil {
				t.Errorf("%s: no error in the list: %v, %v", c.name, last, lastKeyed)
			}
		case err != nil || len(list) == 0:
			t.Errorf("%s: %v", c.name, err)
		default:
			for i, err := range errs {
				if (err != nil) != (c.want == withdraw && i == 1) || list[i].Valid() != (err == nil) {
					t.Errorf("%s: %v: %v", c.name, list[i], err)
				}
			}
		}
	}
	for _, addPath := range []string{"", "00", "000000", "00000007"} { // nothing behind a path identifier
		if l := (List{Family: RTConstrain, AddPath: true, Raw: unhex(t, addPath)}); l.wellFormed() != (addPath == "") {
			t.Errorf("path identifier %q is well-formed: %v", addPath, l.wellFormed())
		}
	}
}

// TestMembership: what NLRI say, and which route targets are within them.
func TestMembership(t *testing.T) {
	const target = ExtCommunity(0x0002fde800000064)
	for _, c := range []struct {
		nlri, text, key string
		wants, wantsNot []ExtCommunity
		originAS        uint32
		bits            uint8
	}{
		{"00", "default", "00", []ExtCommunity{0, target, ^ExtCommunity(0)}, nil, 0, 0},
		{"20 fffffffe", "4294967294:0000000000000000/32", "20fffffffe", []ExtCommunity{0, target, ^ExtCommunity(0)}, nil, 4294967294, 32},
		{target100, "65000:0002fde800000064", "600000fde80002fde800000064", []ExtCommunity{target}, []ExtCommunity{target + 1, target ^ 1<<63}, 65000, 96},
		{"40 0000fde8 0002fde8", "65000:0002fde800000000/64", "400000fde80002fde8", []ExtCommunity{target, target + 1}, []ExtCommunity{target + 1<<32}, 65000, 64},
		{"5f 0000fde8 0002fde800000065", "65000:0002fde800000064/95", "5f0000fde80002fde800000064", []ExtCommunity{target, target + 1}, []ExtCommunity{target + 2}, 65000, 95},
		{"21 0000fde8 ff", "65000:8000000000000000/33", "210000fde880", []ExtCommunity{1 << 63}, []ExtCommunity{target}, 65000, 33},
	} {
		list, errs, err := memberships(t, unhex(t, c.nlri))
		if err != nil || len(list) != 1 || errs[0] != nil {
			t.Errorf("%s: %v %v %v", c.nlri, list, errs, err)
			continue
		}
		m := list[0]
		if m.String() != c.text || m.OriginAS != c.originAS || m.Bits != c.bits || !m.Valid() || !bytes.Equal(m.AppendKey(nil), unhex(t, c.key)) {
			t.Errorf("%s: %v, key %x", c.nlri, m, m.AppendKey(nil))
		}
		if again, ok := MembershipOfKey(m.AppendKey(nil)); !ok || again != m {
			t.Errorf("%v became %v", m, again)
		}
		for _, x := range c.wants {
			if !m.Contains(x) {
				t.Errorf("%v does not want %016x", m, uint64(x))
			}
		}
		for _, x := range c.wantsNot {
			if m.Contains(x) {
				t.Errorf("%v wants %016x", m, uint64(x))
			}
		}
	}
	if m := NewMembership(65000, target); m.String() != "65000:0002fde800000064" || !m.Valid() {
		t.Errorf("%v", m)
	}
	for _, m := range []Membership{{Bits: 1}, {Bits: 31}, {Bits: 97}, {OriginAS: 1}, {Target: 1}, {Bits: 95, Target: 1}} {
		if m.Valid() {
			t.Errorf("%+v is valid", m)
		}
	}
	for _, key := range []string{"", "61", "20 0000fd", "20 0000fde8 00"} {
		if m, ok := MembershipOfKey(unhex(t, key)); ok {
			t.Errorf("key %s is %v", key, m)
		}
	}
}

// TestMembershipNextHop: 4 or 16 octets (RFC 4684, Section 4).
func TestMembershipNextHop(t *testing.T) {
	for _, n := range []int{0, 4, 5, 8, 12, 16, 24, 32} {
		nh := bytes.Repeat([]byte{32}, n)
		u, err := ParseUpdate(reachBody((&PathAttrs{}).Append(nil), RTConstrain, nh, unhex(t, target100)), Options{AS4: true, IBGP: true})
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

// TestMembershipRoundTrip: what a Builder writes is what was put in, message by message; End-of-RIB is
// found; a family that was not negotiated is passed over.
func TestMembershipRoundTrip(t *testing.T) {
	var want []Membership
	for i := range 50 {
		want = append(want, NewMembership(65000, ExtCommunity(i)), Membership{}, Membership{OriginAS: uint32(i), Bits: 32})
	}
	for _, addPath := range []FamilySet{0, Families(RTConstrain)} {
		for _, nh := range []NextHop{{}, {Addr: netip.MustParseAddr("10.9.0.2")}, {Addr: netip.MustParseAddr("2001:db8::2")}} {
			b := Builder{Max: 200, AS4: true, AddPath: addPath}
			var got []Membership
			flush := func() {
				m := b.Finish()
				if len(m) > 200 {
					t.Errorf("message of %d octets", len(m))
				}
				u, err := ParseUpdate(m[HeaderLen:], Options{AS4: true, IBGP: true, AddPath: addPath})
				if err != nil || u.MPNextHop != nh {
					t.Fatal(err, u.MPNextHop)
				}
				for _, l := range []List{u.MPReach, u.MPUnreach} {
					for m := range l.Memberships() {
						got = append(got, m)
					}
				}
			}
			start := func() {
				if nh.Addr.IsValid() {
					b.Reach(nil, RTConstrain, (&PathAttrs{}).Append(nil), nh)
				} else {
					b.Unreach(nil, RTConstrain)
				}
			}
			start()
			for i, m := range want {
				id := uint32(0)
				if addPath != 0 {
					id = uint32(i)
				}
				want[i].PathID = id
				if !b.AddKeyed(m.AppendKey(nil), nil, id) {
					flush()
					start()
					if !b.AddKeyed(m.AppendKey(nil), nil, id) {
						t.Fatal("no room in an empty message")
					}
				}
			}
			if flush(); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
	}
	u, err := ParseUpdate(AppendEndOfRIB(nil, RTConstrain)[HeaderLen:], Options{AS4: true, IBGP: true})
	if f, ok := u.EndOfRIB(); err != nil || !ok || f != RTConstrain {
		t.Error(f, ok, err)
	}
	body := reachBody((&PathAttrs{}).Append(nil), RTConstrain, []byte{10, 9, 0, 2}, []byte{255})
	u, err = ParseUpdate(body, Options{AS4: true, IBGP: true, Families: Families(IPv4Unicast, L2VPNEVPN)})
	if err != nil || !u.MPReach.Empty() {
		t.Error(err, u.MPReach)
	}
}

// TestMembershipAllocs: an UPDATE is taken apart, and another one made, without an allocation.
func TestMembershipAllocs(t *testing.T) {
	body := reachBody((&PathAttrs{}).Append(nil), RTConstrain, []byte{10, 9, 0, 2}, unhex(t, target100+"00"+originAny))
	var u Update
	room, out := make([]byte, 0, 64), make([]byte, 0, 8192)
	b := Builder{AS4: true}
	attrs := (&PathAttrs{}).Append(nil)
	if n := testing.AllocsPerRun(100, func() {
		if err := u.Parse(body, Options{AS4: true, IBGP: true}); err != nil {
			panic(err)
		}
		b.Reach(out, RTConstrain, attrs, u.MPNextHop)
		for k, err := range u.MPReach.Keyed() {
			if err != nil || !b.AddKeyed(k.AppendKey(room), k.AppendRest(nil), 0) {
				panic("no room")
			}
		}
		wanted := 0
		for m := range u.MPReach.Memberships() {
			if m.Contains(0x0002fde800000064) {
				wanted++
			}
		}
		if b.Finish(); wanted != 3 {
			panic("not wanted")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

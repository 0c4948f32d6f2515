package rtnl

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"iter"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// What Linux 6.18 has answered: whole datagrams.
var captures = map[string]string{
	// ip route add 192.0.2.1/24 dev lo: NLMSG_ERROR, capped, with a text
	"refused route": "5000000002000003070000004b290000eaffffff2c0000001800010407000000000000002b000100496e76616c69642070726566697820666f7220676976656e20707265666978206c656e6774680000",
	// ip link show dev nosuch: NLMSG_ERROR without attributes
	"no such link": "24000000020000010a0000004b290000edffffff2c000000120001000a00000000000000",
	// an acknowledgement
	"acknowledged": "2400000002000001090000004b2900000000000028000000120005000900000000000000",
	// a dump with an attribute that neighbours do not have: NLMSG_DONE with a text and an offset
	"refused dump": "38000000030002020c0000004b290000eaffffff1b000100556e6b6e6f776e2061747472696275746520747970650000080002001c000000",
	// ip rule: three entries and the end
	"rules": "3400000020000200010000004b29000002000000ff0000010000000008000f00ff00000008000e00ffffffff05001500020000003c00000020000200010000004b29000002000000fe0000010000000008000f00fe00000008000e00ffffffff050015000200000008000600fe7f00003c00000020000200010000004b29000002000000fd0000010000000008000f00fd00000008000e00ffffffff050015000200000008000600ff7f00001400000003000200010000004b29000000000000",
	// ip -4 address: lo and eth0
	"addresses": "4c00000014000200010000004b290000020880fe01000000080001007f000001080002007f000001070003006c6f0000080008008000000014000600ffffffffffffffff0d0000000d0000005800000014000200010000004b290000021880000400000008000100c000020208000200c000020208000400c00002ff090003006574683000000000080008008000000014000600ffffffffffffffff0d0000000d000000",
}

func capture(t testing.TB, name string) []byte {
	b, err := hex.DecodeString(captures[name])
	if err != nil || len(b) == 0 {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

// littleEndian skips a test whose bytes are of a little-endian machine.
func littleEndian(t testing.TB) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the bytes are little-endian")
	}
}

// first returns the first message of a capture.
func first(t testing.TB, b []byte) Message {
	for m := range Messages(b) {
		return m
	}
	t.Fatal("no message")
	return Message{}
}

func TestEncode(t *testing.T) {
	littleEndian(t)
	b := []byte("x...") // what was there before stays
	at := len(b)
	b = Begin(b, RTM_NEWROUTE, NLM_F_REQUEST|NLM_F_CREATE, 7)
	b = append(b, make([]byte, SizeRoute)...)
	b = AppendUint8(b, RTA_PREF, 3)
	b = AppendUint16(b, RTA_ENCAP_TYPE, 0x0102)
	b = AppendUint32(b, RTA_OIF, 0x01020304)
	b = AppendString(b, IFLA_IFNAME, "eth0")
	b = AppendBytes(b, RTA_FLOW, nil)
	b = AppendAddr(b, RTA_DST, netip.MustParseAddr("192.0.2.1"))
	b = AppendAddr(b, RTA_GATEWAY, netip.MustParseAddr("fe80::1%eth0"))
	b = AppendVia(b, RTA_VIA, netip.MustParseAddr("fd00::2"))
	b = AppendVia(b, RTA_VIA, netip.MustParseAddr("192.0.2.2"))
	nest := len(b)
	b = Nest(b, RTA_METRICS|NLA_F_NESTED)
	b = AppendUint32(b, RTAX_MTU, 1400)
	b = End(Unnest(b, nest), at)
	want := "782e2e2e" + "90000000" + "1800" + "0104" + "07000000" + "00000000" + "000000000000000000000000" +
		"0500140003000000" + "0600150002010000" + "0800040004030201" + "09000300657468300000" + "0000" + "04000b00" +
		"08000100c0000201" + "14000500fe800000000000000000000000000001" + "160012000a00fd000000000000000000000000000002" + "0000" +
		"0a0012000200c0000202" + "0000" + "0c000880" + "0800020078050000"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var types []uint16
	for typ, v := range Attributes(b[at+SizeHeader+SizeRoute:]) {
		types = append(types, typ)
		switch typ {
		case RTA_PREF:
			if v.Uint8() != 3 {
				t.Error(v)
			}
		case RTA_ENCAP_TYPE:
			if v.Uint16() != 0x0102 {
				t.Error(v)
			}
		case RTA_OIF:
			if v.Uint32() != 0x01020304 || v.Int32() != 0x01020304 {
				t.Error(v)
			}
		case IFLA_IFNAME:
			if v.Text() != "eth0" {
				t.Error(v.Text())
			}
		case RTA_GATEWAY:
			if v.Addr() != netip.MustParseAddr("fe80::1") {
				t.Error(v.Addr())
			}
		case RTA_VIA:
			if via := v.Via(); via != netip.MustParseAddr("fd00::2") && via != netip.MustParseAddr("192.0.2.2") {
				t.Error(via)
			}
		case RTA_METRICS:
			n := 0
			for typ, v := range v.Attributes() {
				if n++; typ != RTAX_MTU || v.Uint32() != 1400 || n > 1 {
					t.Error(typ, v)
				}
			}
		}
	}
	if !slices.Equal(types, []uint16{RTA_PREF, RTA_ENCAP_TYPE, RTA_OIF, IFLA_IFNAME, RTA_FLOW, RTA_DST, RTA_GATEWAY, RTA_VIA, RTA_VIA, RTA_METRICS}) {
		t.Error(types)
	}
}

// A message in which a length of 16 bits could have wrapped around is taken back.
func TestTooLong(t *testing.T) {
	message := func(n int) []byte {
		b := append([]byte("abcd"), Begin(nil, RTM_NEWNEXTHOP, NLM_F_REQUEST, 1)...)
		b = append(b, make([]byte, SizeNextHop)...)
		at := len(b)
		b = Nest(b, NHA_GROUP)
		b = append(b, make([]byte, n)...)
		return End(Unnest(b, at), 4)
	}
	const most = (MaxMessage - SizeHeader - SizeNextHop - 4) / SizeMember * SizeMember
	if b := message(most); len(b) != 4+SizeHeader+SizeNextHop+4+most {
		t.Errorf("%d octets", len(b))
	} else if m := first(t, b[4:]); len(m.Body) != SizeNextHop+4+most {
		t.Errorf("%d octets of body", len(m.Body))
	}
	for _, n := range []int{most + SizeMember, 1 << 16, 1<<16 + 8, 1 << 20} {
		if b := message(n); string(b) != "abcd" {
			t.Errorf("%d octets of %d are left", len(b), n)
		}
	}
}

func TestShortValues(t *testing.T) {
	for n := range 4 {
		v := Value{1, 2, 3}[:n]
		if n < 1 && v.Uint8() != 0 || n < 2 && (v.Uint16() != 0 || v.Via().IsValid()) || v.Uint32() != 0 || v.Int32() != 0 || v.Addr().IsValid() {
			t.Errorf("%d octets", n)
		}
	}
	if Value("\x00\x00").Text() != "" || Value("lo\x00").Text() != "lo" || Value("lo").Text() != "lo" {
		t.Error("text")
	}
}

func TestMalformed(t *testing.T) {
	littleEndian(t)
	for _, tc := range []struct {
		hex    string
		values int
		err    error
	}{
		{"", 0, nil},
		{"000000", 0, nil},                                    // padding
		{"04000100", 1, nil},                                  // no value
		{"05000100ff", 1, nil},                                // without its padding
		{"0500010007000000" + "0400", 1, nil},                 // padding behind it
		{"03000100", 0, ErrMalformed},                         // shorter than its header
		{"00000100", 0, ErrMalformed},                         // of no length: no endless loop
		{"0400010009000200ffffffff", 1, ErrMalformed},         // longer than what it is in
		{"ffff0100ffffffffffffffff", 0, ErrMalformed},         // the longest
		{"080001c001020304", 1, nil},                          // both flags in its type
		{"0400010004000200040003000400", 3, nil},              // three without values
		{"04000100040002000400030001000400", 3, ErrMalformed}, // a fourth that is too short
	} {
		b, _ := hex.DecodeString(tc.hex)
		var err error
		n := 0
		for typ, v := range Attributes(b) {
			switch {
			case typ == Malformed && len(v) == 0 && err == nil:
				err = ErrMalformed
			case typ == 0 || typ > 4 || err != nil:
				t.Errorf("%s: type %d", tc.hex, typ)
			default:
				n++
			}
		}
		if n != tc.values || !errors.Is(err, tc.err) {
			t.Errorf("%s: %d values, %v; want %d, %v", tc.hex, n, err, tc.values, tc.err)
		}
	}
	rules := capture(t, "rules")
	for cut := range rules {
		n := 0
		for range Messages(rules[:cut]) {
			n++
		}
		if want := map[bool]int{cut >= 52: 1}[true] + map[bool]int{cut >= 112: 1}[true] + map[bool]int{cut >= 172: 1}[true]; n != want {
			t.Errorf("cut at %d: %d messages, want %d", cut, n, want)
		}
	}
}

func TestErr(t *testing.T) {
	littleEndian(t)
	for name, want := range map[string]*Error{
		"refused route": {unix.EINVAL, "Invalid prefix for given prefix length", 0},
		"no such link":  {unix.ENODEV, "", 0},
		"refused dump":  {unix.EINVAL, "Unknown attribute type", 28},
	} {
		err := first(t, capture(t, name)).Err()
		var e *Error
		if !errors.As(err, &e) || *e != *want || !errors.Is(err, want.Errno) {
			t.Errorf("%s: %#v", name, err)
		}
	}
	if err := first(t, capture(t, "acknowledged")).Err(); err != nil {
		t.Error(err)
	}
	if s := (&Error{Errno: unix.EINVAL, Text: "why"}).Error(); s != "invalid argument (why)" {
		t.Error(s)
	}
	if s := (&Error{Errno: unix.EINVAL}).Error(); s != "invalid argument" {
		t.Error(s)
	}
	// Not capped: the request is in it, and the attributes behind that.
	refused := capture(t, "refused route")
	body := slices.Concat(refused[16:36], make([]byte, 28), refused[36:])
	m := Message{Type: NLMSG_ERROR, Flags: NLM_F_ACK_TLVS, Body: body}
	var e *Error
	if !errors.As(m.Err(), &e) || e.Text != "Invalid prefix for given prefix length" {
		t.Error(m.Err())
	}
	// The length of the request in it is a lie.
	native.PutUint32(body[4:], 1<<32-1)
	if !errors.As(m.Err(), &e) || e.Text != "" {
		t.Error(m.Err())
	}
	for _, m := range []Message{{Type: NLMSG_ERROR, Body: make([]byte, 3)}, {Type: NLMSG_ERROR, Body: make([]byte, 19)}, {Type: NLMSG_DONE}} {
		if !errors.Is(m.Err(), ErrMalformed) {
			t.Errorf("%+v: %v", m, m.Err())
		}
	}
}

// What the kernel sends is walked over without an allocation, and so is encoded what it is
// asked.
func TestAllocations(t *testing.T) {
	datagrams := [][]byte{capture(t, "rules"), capture(t, "addresses")}
	n := 0
	if got := testing.AllocsPerRun(100, func() {
		for _, b := range datagrams {
			for m := range Messages(b) {
				for _, v := range Attributes(m.Body[min(SizeAddress, len(m.Body)):]) {
					n += len(v) + int(v.Uint32())
				}
			}
		}
	}); got != 0 || n == 0 {
		t.Errorf("walk: %v allocations", got)
	}
	b, gw := make([]byte, 0, 256), netip.MustParseAddr("fd00::1")
	if got := testing.AllocsPerRun(100, func() {
		b = Begin(b[:0], RTM_NEWROUTE, NLM_F_REQUEST, 1)
		b = AppendAddr(append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), RTA_DST, gw)
		b = AppendVia(AppendUint32(AppendUint8(AppendUint16(b, 1, 1), 2, 2), 3, 3), RTA_VIA, gw)
		b = End(AppendString(b, IFLA_IFNAME, "eth0"), 0)
	}); got != 0 {
		t.Errorf("encode: %v allocations", got)
	}
}

// FuzzDatagram: nothing that a socket could yield makes the walker read outside of it, loop
// for ever or lose what is in front of the malformed part, and what was read and is
// written again is read as the same.
func FuzzDatagram(f *testing.F) {
	for name := range captures {
		f.Add(capture(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for m := range Messages(b) {
			if total += SizeHeader + len(m.Body); total > len(b) {
				t.Fatal("messages are longer than the datagram")
			}
			var e *Error
			if err := m.Err(); err != nil && !errors.Is(err, ErrMalformed) && (!errors.As(err, &e) || e.Errno == 0) {
				t.Fatal(err)
			}
			again := Begin(nil, m.Type, m.Flags, m.Seq)
			native.PutUint32(again[12:], m.Port)
			again = End(append(again, m.Body...), 0)
			if len(m.Body) <= MaxMessage-SizeHeader {
				if n := first(t, again); n.Type != m.Type || n.Flags != m.Flags || n.Seq != m.Seq || n.Port != m.Port || !bytes.Equal(n.Body, m.Body) {
					t.Fatalf("%+v became %+v", m, n)
				}
			}
			attributes(t, m.Body, 0)
		}
		done, _, err := WalkDump(b, func(Message) {})
		if err != nil && !done {
			t.Fatal("an error that does not end the dump")
		}
		_, _ = (&exchange{seq: 1, each: func(Message) {}}).take(b)
		w := NewWriter(nil)
		w.Add([]byte("one"))
		w.take(b)
	})
}

func attributes(t *testing.T, b []byte, depth int) {
	var again []byte
	n, ended := 0, false
	for typ, v := range Attributes(b) {
		if ended {
			t.Fatal("something follows what is malformed")
		}
		if ended = typ == Malformed; ended {
			continue
		}
		n += 4 + len(v)
		_, _, _ = v.Text(), v.Addr(), v.Via()
		again = AppendBytes(again, typ, v)
		if depth < 3 {
			attributes(t, v, depth+1)
		}
	}
	if n > len(b) {
		t.Fatal("attributes are longer than what they are in")
	}
	next, stop := iter.Pull2(Attributes(b))
	defer stop()
	for typ, v := range Attributes(again) {
		if ty, w, ok := next(); !ok || ty != typ || !bytes.Equal(v, w) {
			t.Fatalf("%d %x became %d %x", ty, w, typ, v)
		}
	}
	if typ, _, ok := next(); ok && typ != Malformed {
		t.Fatal("not all attributes are there again")
	}
}

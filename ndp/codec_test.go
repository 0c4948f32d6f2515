package ndp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/internal/testing/captures"
)

// packet wraps a message in what makes it valid.
func packet(src, dst netip.Addr, body []byte) Packet {
	p := Packet{SrcMAC: guestMAC, DstMAC: hostMAC, Src: src, Dst: dst, Body: body}
	q, err := ParseFrame(p.appendFrame(nil))
	if err != nil {
		panic(err)
	}
	return q
}

func fullRA() RouterAdvertisement {
	ra := guestRA()
	ra.Managed, ra.Other, ra.Preference = true, true, PreferenceLow
	ra.ReachableTime, ra.RetransTimer = 30*time.Second, time.Second
	ra.SourceLinkAddr = hostMAC
	ra.Prefixes = append(ra.Prefixes, Prefix{Prefix: netip.MustParsePrefix("2001:db8::/32"), Valid: Infinity, Preferred: Infinity})
	ra.Routes = append(ra.Routes, Route{Prefix: netip.MustParsePrefix("::/0"), Lifetime: Infinity}, Route{Prefix: netip.MustParsePrefix("2001:db8::1/128"), Preference: PreferenceLow})
	ra.PREF64 = append(ra.PREF64, PREF64{Prefix: netip.MustParsePrefix("2001:db8:64::/48"), Lifetime: 65528 * time.Second})
	ra.CaptivePortal = "https://portal.example.net/api"
	ra.Options = []Raw{{Type: 200, Data: []byte("opaque")}}
	return ra
}

func TestRouterAdvertisement(t *testing.T) {
	ra := fullRA()
	if err := ra.Check(); err != nil {
		t.Fatal(err)
	}
	p := packet(gateway, AllNodes, ra.append(nil))
	if typ, err := p.Check(); typ != TypeRouterAdvertisement || err != nil {
		t.Fatal(typ, err)
	}
	got, err := ParseRouterAdvertisement(&p)
	if err != nil || !reflect.DeepEqual(got, ra) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, ra)
	}
}

// What radvd sends is understood to the last field.
func TestRadvd(t *testing.T) {
	for _, c := range captures.Read(t, "testdata/captures.txt") {
		if !strings.Contains(c.Name, "router advertisement") {
			continue
		}
		p, err := ParseFrame(c.Data)
		if err != nil {
			t.Fatal(err)
		}
		ra, err := ParseRouterAdvertisement(&p)
		if err != nil {
			t.Fatal(err)
		}
		want := RouterAdvertisement{
			HopLimit: 64, Other: true, Preference: PreferenceHigh, Lifetime: 12 * time.Second, ReachableTime: 30 * time.Second, RetransTimer: time.Second,
			SourceLinkAddr: hostMAC, MTU: 1450,
			Prefixes: []Prefix{{Prefix: vm1Net, OnLink: true, Autonomous: true, Valid: 24 * time.Hour, Preferred: 4 * time.Hour}},
			Routes:   []Route{{Prefix: netip.MustParsePrefix("2001:db8:ffff::/48"), Preference: PreferenceLow, Lifetime: time.Hour}},
			RDNSS:    []RDNSS{{Lifetime: 20 * time.Minute, Servers: []netip.Addr{netip.MustParseAddr("2001:4860:4860::8888"), netip.MustParseAddr("2001:4860:4860::8844")}}},
			DNSSL:    []DNSSL{{Lifetime: 20 * time.Minute, Domains: []string{"example.net", "lab.example.net"}}},
		}
		if !reflect.DeepEqual(ra, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.Name, ra, want)
		}
		// radvd sends the route's /48 in 16 octets, we in the 8 that are enough.
		if ours := ra.append(nil); len(ours) != len(p.Body)-8 {
			t.Errorf("%s: %d octets, ours %d", c.Name, len(p.Body), len(ours))
		}
	}
}

func TestCheckRouterAdvertisement(t *testing.T) {
	bad := RouterAdvertisement{
		Lifetime: 20 * time.Hour, MTU: 1000,
		Prefixes: []Prefix{
			{Prefix: netip.MustParsePrefix("10.0.0.0/8")},
			{Prefix: vm1Net, Valid: time.Hour, Preferred: 2 * time.Hour},
			{Prefix: netip.MustParsePrefix("2001:db8::/48"), Autonomous: true},
		},
		Routes:        []Route{{}},
		RDNSS:         []RDNSS{{}, {Servers: []netip.Addr{netip.MustParseAddr("8.8.8.8")}}},
		DNSSL:         []DNSSL{{}, {Domains: []string{"a..b"}}},
		PREF64:        []PREF64{{Prefix: netip.MustParsePrefix("64:ff9b::/95")}},
		CaptivePortal: strings.Repeat("x", 3000),
	}
	err := bad.Check()
	if err == nil || strings.Count(err.Error(), "\n") != 11 {
		t.Errorf("not 12 findings:\n%v", err)
	}
	p := packet(gateway, AllNodes, bad.append(nil)) // what has no form on the wire is left out
	got, err := ParseRouterAdvertisement(&p)
	if err != nil || got.DNSSL != nil || got.PREF64 != nil || got.CaptivePortal != "" || len(got.RDNSS) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNeighborMessages(t *testing.T) {
	ns := NeighborSolicitation{Target: vm3, SourceLinkAddr: guestMAC, Nonce: []byte("noncey")}
	p := packet(vm1, SolicitedNode(vm3), ns.append(nil))
	if got, err := ParseNeighborSolicitation(&p); err != nil || !reflect.DeepEqual(got, ns) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, na := range []NeighborAdvertisement{
		{Router: true, Target: vm3, TargetLinkAddr: hostMAC},
		{Solicited: true, Target: vm3},
		{Override: true, Target: vm3},
	} {
		p := packet(vm3, vm1, na.append(nil))
		if got, err := ParseNeighborAdvertisement(&p); err != nil || got != na {
			t.Errorf("%+v, %v", got, err)
		}
	}
	rs := RouterSolicitation{SourceLinkAddr: guestMAC, Nonce: []byte("noncey")}
	p = packet(own, AllRouters, rs.append(nil))
	if got, err := ParseRouterSolicitation(&p); err != nil || !reflect.DeepEqual(got, rs) {
		t.Errorf("%+v, %v", got, err)
	}
	rd := Redirect{Target: gateway, Destination: vm3, TargetLinkAddr: hostMAC, Redirected: []byte("sixteen octets..")}
	p = packet(gateway, vm1, rd.append(nil))
	if typ, err := p.Check(); typ != TypeRedirect || err != nil {
		t.Error(typ, err)
	}
	if got, err := ParseRedirect(&p); err != nil || !reflect.DeepEqual(got, rd) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMalformed(t *testing.T) {
	ns := NeighborSolicitation{Target: vm3}.append(nil)
	group := NeighborSolicitation{Target: AllNodes}.append(nil)
	na := NeighborAdvertisement{Target: vm3}.append(nil)
	ra := RouterAdvertisement{}.append(nil)
	rd := Redirect{Target: gateway, Destination: vm3}.append(nil)
	rs := RouterSolicitation{}.append(nil)
	zero := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	parse := map[Type]func(*Packet) error{
		TypeRouterSolicitation:    func(p *Packet) error { _, err := ParseRouterSolicitation(p); return err },
		TypeRouterAdvertisement:   func(p *Packet) error { _, err := ParseRouterAdvertisement(p); return err },
		TypeNeighborSolicitation:  func(p *Packet) error { _, err := ParseNeighborSolicitation(p); return err },
		TypeNeighborAdvertisement: func(p *Packet) error { _, err := ParseNeighborAdvertisement(p); return err },
		TypeRedirect:              func(p *Packet) error { _, err := ParseRedirect(p); return err },
	}
	for _, tc := range []struct {
		name string
		src  netip.Addr
		body []byte
		want error
	}{
		{"short RS", own, rs[:7], errTooShort},
		{"short RA", gateway, ra[:15], errTooShort},
		{"short NS", vm1, ns[:23], errTooShort},
		{"short NA", vm1, na[:23], errTooShort},
		{"short Redirect", gateway, rd[:39], errTooShort},
		{"RS with option zero", own, append(bytes.Clone(rs), zero...), errOptionZero},
		{"RA with option zero", gateway, append(bytes.Clone(ra), zero...), errOptionZero},
		{"NS with option zero", vm1, append(bytes.Clone(ns), zero...), errOptionZero},
		{"NA with option zero", vm1, append(bytes.Clone(na), zero...), errOptionZero},
		{"Redirect with option zero", gateway, append(bytes.Clone(rd), zero...), errOptionZero},
		{"NS with half an option", vm1, append(bytes.Clone(ns), 1), errOptionLong},
		{"NS with a multicast target", vm1, group, errTarget},
		{"NA with a multicast target", vm1, NeighborAdvertisement{Target: AllNodes}.append(nil), errTarget},
		{"RS from :: with a link-layer address", netip.IPv6Unspecified(), RouterSolicitation{SourceLinkAddr: guestMAC}.append(nil), errLinkAddr},
		{"Redirect for a group", gateway, Redirect{Target: gateway, Destination: AllNodes}.append(nil), errTarget},
		{"Redirect to a global router", gateway, Redirect{Target: vm1, Destination: vm3}.append(nil), errOverride},
	} {
		p := Packet{Src: tc.src, Body: tc.body}
		if err := parse[Type(tc.body[0])](&p); !errors.Is(err, tc.want) || !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

// An option of a known type that does not fit is kept as it is.
func TestOddOptions(t *testing.T) {
	body := RouterAdvertisement{}.append(nil)
	odd := []Raw{
		{OptSourceLinkAddr, make([]byte, 14)},
		{OptMTU, make([]byte, 14)},
		{OptPrefix, make([]byte, 14)},
		{OptPrefix, append([]byte{129}, make([]byte, 29)...)},
		{OptRoute, append([]byte{65, 0, 0, 0, 0, 1}, make([]byte, 8)...)},
		{OptRoute, []byte{0, 0x10, 0, 0, 0, 1}},
		{OptRDNSS, make([]byte, 6)},
		{OptRDNSS, make([]byte, 14)},
		{OptDNSSL, make([]byte, 6)},
		{OptDNSSL, append(make([]byte, 6), 64, 'a', 0, 0, 0, 0, 0, 0)},
		{OptDNSSL, append(make([]byte, 6), 3, 'a', '.', 'b', 0, 0, 0, 0)},
		{OptDNSSL, append(make([]byte, 6), 7, 'a', 'b', 'c', 'd', 'e', 'f', 'g')},
		{OptPREF64, append([]byte{0, 6}, make([]byte, 12)...)},
		{OptPREF64, make([]byte, 6)},
		{OptCaptivePortal, make([]byte, 6)},
	}
	for _, o := range odd {
		body = appendOption(body, o.Type, o.Data)
	}
	p := packet(gateway, AllNodes, body)
	got, err := ParseRouterAdvertisement(&p)
	if want := (RouterAdvertisement{Options: odd}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestAddresses(t *testing.T) {
	if g := SolicitedNode(netip.MustParseAddr("2001:db8::1:2345:6789")); g != netip.MustParseAddr("ff02::1:ff45:6789") || GroupMAC(g).String() != "33:33:ff:45:67:89" {
		t.Error(g, GroupMAC(g))
	}
	for _, typ := range []Type{133, 134, 135, 136, 137, 1} {
		_ = typ.String()
	}
	if PreferenceLow.String() != "low" || PreferenceMedium.String() != "medium" || PreferenceHigh.String() != "high" || Preference(7).String() != "Preference(7)" {
		t.Error("preferences")
	}
}

func TestCheck(t *testing.T) {
	ok := packet(vm1, SolicitedNode(vm3), NeighborSolicitation{Target: vm3}.append(nil))
	for _, tc := range []struct {
		name   string
		change func(*Packet)
		want   error
	}{
		{"nothing", func(*Packet) {}, nil},
		{"hop limit", func(p *Packet) { p.HopLimit = 64 }, ErrHopLimit},
		{"seven octets", func(p *Packet) { p.Body = p.Body[:7] }, ErrShort},
		{"checksum", func(p *Packet) { p.Body = append([]byte{0}, p.Body[1:]...) }, ErrChecksum},
		{"code", func(p *Packet) { *p = packet(p.Src, p.Dst, append([]byte{135, 1}, p.Body[2:]...)) }, ErrCode},
		{"echo request", func(p *Packet) { *p = packet(p.Src, p.Dst, append([]byte{128, 0}, p.Body[2:]...)) }, ErrAddress},
		{"RA from a global address", func(p *Packet) { *p = packet(vm1, AllNodes, RouterAdvertisement{}.append(nil)) }, ErrAddress},
		{"NA from ::", func(p *Packet) {
			*p = packet(netip.IPv6Unspecified(), AllNodes, NeighborAdvertisement{Target: vm3}.append(nil))
		}, ErrAddress},
		{"solicited NA to a group", func(p *Packet) {
			*p = packet(vm3, AllNodes, NeighborAdvertisement{Solicited: true, Target: vm3}.append(nil))
		}, ErrAddress},
	} {
		p := ok
		p.Body = bytes.Clone(ok.Body)
		tc.change(&p)
		if _, err := p.Check(); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestParseFrameErrors(t *testing.T) {
	p := solicitation(vm1, vm3)
	good := p.appendFrame(nil)
	for _, tc := range []struct {
		name string
		at   int
		to   byte
		want error
	}{{"EtherType", 12, 8, ErrNotND}, {"version", 14, 0x40, ErrNotND}, {"next header", 20, 17, ErrNotND}, {"length", 18, 1, ErrShort}} {
		b := bytes.Clone(good)
		b[tc.at] = tc.to
		if _, err := ParseFrame(b); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := ParseFrame(good[:53]); !errors.Is(err, ErrShort) {
		t.Error(err)
	}
}

// Odd lengths exercise the end of the checksum; gopacket is the oracle.
func TestChecksum(t *testing.T) {
	for n := 8; n < 24; n++ {
		body := append([]byte{135, 0, 0, 0}, bytes.Repeat([]byte{0xa5}, n-4)...)
		p := Packet{SrcMAC: guestMAC, DstMAC: hostMAC, Src: vm1, Dst: vm3, Body: body}
		frame := p.appendFrame(nil)
		ip := &layers.IPv6{SrcIP: vm1.AsSlice(), DstIP: vm3.AsSlice()}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(135, 0)}
		_ = icmp.SetNetworkLayerForChecksum(ip)
		buf := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true}, icmp, gopacket.Payload(body[4:])); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(buf.Bytes(), frame[headerLen:]) {
			t.Errorf("%d octets: %s, gopacket %s", n, hex.EncodeToString(frame[headerLen:]), hex.EncodeToString(buf.Bytes()))
		}
	}
}

func TestNoAllocation(t *testing.T) {
	p := conformancePolicy(7, hostMAC)
	s := solicitation(vm1, vm3)
	frame := s.appendFrame(nil)
	body, out := make([]byte, 0, answerLen), make([]byte, 0, 128)
	if n := testing.AllocsPerRun(1000, func() {
		in, _ := ParseFrame(frame)
		_, _ = in.Check()
		in.IfIndex = 7
		reply, _ := p.Decide(time.Unix(0, 0), &in, body)
		out = reply.appendFrame(out[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

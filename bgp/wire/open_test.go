package wire

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func full() Open {
	return Open{AS: 4200000001, HoldTime: 90 * time.Second, ID: netip.MustParseAddr("10.0.0.1"), Capabilities: Capabilities{
		Families: []Family{IPv4Unicast, IPv6Unicast, {25, 70}}, RouteRefresh: true, EnhancedRefresh: true, ExtendedMessage: true, AS4: true,
		AddPath:         []AddPath{{IPv4Unicast, true, true}, {IPv6Unicast, false, true}},
		ExtendedNextHop: []ExtendedNextHop{{IPv4Unicast, 2}},
		GracefulRestart: &GracefulRestart{Restarting: true, Notification: true, Time: 4095 * time.Second, Families: []RestartFamily{{IPv4Unicast, true}, {IPv6Unicast, false}}},
		LongLived:       []LongLived{{IPv4Unicast, true, (1<<24 - 1) * time.Second}},
		FQDN:            &FQDN{"hv1", "example.org"}, SoftwareVersion: "hyperfib/1", Roles: []Role{RoleCustomer},
		Unknown: []Capability{{200, []byte{1, 2, 3}}},
	}}
}

func TestOpenRoundTrip(t *testing.T) {
	long := full()
	for range 5 {
		long.Capabilities.Unknown = append(long.Capabilities.Unknown, Capability{201, make([]byte, 100)})
	}
	for name, o := range map[string]Open{
		"full": full(), "long": long,
		"plain": {AS: 65000, ID: netip.MustParseAddr("1.2.3.4")},
	} {
		b := o.Append(nil)
		h, err := ParseHeader(b, MaxLen)
		if err != nil || h.Len != len(b) {
			t.Fatal(name, h, err)
		}
		got, err := ParseOpen(b[HeaderLen:])
		if err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("%s: %+v, %v\nwant %+v", name, got, err, o)
		}
	}
}

func TestHasFamily(t *testing.T) {
	var c Capabilities
	if !c.HasFamily(IPv4Unicast) || c.HasFamily(IPv6Unicast) {
		t.Error("without capabilities: IPv4 alone")
	}
	c.Families = []Family{IPv6Unicast}
	if c.HasFamily(IPv4Unicast) || !c.HasFamily(IPv6Unicast) {
		t.Error("IPv6 alone")
	}
	s := Families(IPv4Unicast, IPv6Unicast, L2VPNEVPN, Family{25, 65})
	if len(s.Slice()) != 3 || !s.Has(Family{25, 70}) || s.Has(Family{25, 65}) || s.Without(IPv4Unicast).Has(IPv4Unicast) || s.Has(Family{2, 70}) {
		t.Error(s.Slice())
	}
}

func TestNotification(t *testing.T) {
	long := strings.Repeat("ä", 200)
	for want, n := range map[string]Notification{
		"Hold Timer Expired (4/0)":                                              {Code: CodeHoldTimer},
		"Send Hold Timer Expired (8/0)":                                         {Code: CodeSendHold},
		"Cease/BFD Down (6/10)":                                                 {Code: CodeCease, Subcode: SubBFDDown},
		`Cease/Administrative Shutdown (6/2): "back at noon"`:                   Shutdown(SubShutdown, "back at noon"),
		`Cease/Administrative Reset (6/4)`:                                      Shutdown(SubReset, ""),
		`Cease/Hard Reset (6/9): Cease/BFD Down (6/10)`:                         HardReset(Notification{Code: CodeCease, Subcode: SubBFDDown}),
		`Cease/Hard Reset (6/9): Cease/Administrative Shutdown (6/2): "bye"`:    HardReset(Shutdown(SubShutdown, "bye")),
		`Cease/Hard Reset (6/9)`:                                                {Code: CodeCease, Subcode: SubHardReset},
		"OPEN Message Error/Unsupported Version Number (2/1): 00 04":            {Code: CodeOpen, Subcode: SubVersion, Data: []byte{0, 4}},
		"UPDATE Message Error/subcode 99 (3/99)":                                {Code: CodeUpdate, Subcode: 99},
		"ErrorCode(77) (77/0)":                                                  {Code: 77},
		`Cease/Administrative Shutdown (6/2): "a` + "\uFFFD" + `b"`:             {Code: CodeCease, Subcode: SubShutdown, Data: []byte("\x03a\x07b")},
		`Cease/Administrative Shutdown (6/2): "` + long[:254] + `"`:             Shutdown(SubShutdown, long),
		`Cease/Administrative Shutdown (6/2): "short"`:                          {Code: CodeCease, Subcode: SubShutdown, Data: []byte("\xffshort")},
		"Finite State Machine Error/Unexpected Message in OpenSent State (5/1)": {Code: CodeFSM, Subcode: SubFSMOpenSent},
		"ROUTE-REFRESH Message Error/Invalid Message Length (7/1)":              {Code: CodeRouteRefresh, Subcode: SubRefreshLength},
		"Message Header Error/Connection Not Synchronized (1/1)":                {Code: CodeHeader, Subcode: SubNotSynchronized},
	} {
		b := n.Append(nil)
		h, err := ParseHeader(b, MaxLen)
		if err != nil || h.Type != TypeNotification {
			t.Fatal(h, err)
		}
		got, err := ParseNotification(b[HeaderLen:])
		if err != nil || got.String() != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}

func TestStrings(t *testing.T) {
	for want, s := range map[string]interface{ String() string }{
		"KEEPALIVE": TypeKeepalive, "MessageType(9)": MessageType(9), "ipv6": IPv6Unicast, "afi 25 safi 65": Family{25, 65}, "evpn": L2VPNEVPN,
		"treat-as-withdraw": TreatAsWithdraw, "AS_PATH": AttrASPath, "AttrType(99)": AttrType(99), "65000:90": NewCommunity(65000, 90),
		"rt:65000:5": ExtCommunity(0x0002_fde8_0000_0005), "soo:1.2.3.4:5": ExtCommunity(0x0103_0102_0304_0005),
		"rt:4200000001:5": ExtCommunity(0x0202_fa56_ea01_0005), "0x030c000000000008": ExtCommunity(0x030c000000000008),
		"65000:1:2": LargeCommunity{65000, 1, 2}, "incomplete": OriginIncomplete, "Origin(9)": Origin(9),
		"64512 {1,2} (3 4) [5,6]": ASPath("\x02\x01\x00\x00\xfc\x00\x01\x02\x00\x00\x00\x01\x00\x00\x00\x02\x03\x02\x00\x00\x00\x03\x00\x00\x00\x04\x04\x02\x00\x00\x00\x05\x00\x00\x00\x06"),
	} {
		if s.String() != want {
			t.Errorf("%q, want %q", s, want)
		}
	}
	if c, err := ParseCommunity("65000:90"); err != nil || c != NewCommunity(65000, 90) {
		t.Error(c, err)
	}
	if c, err := ParseLargeCommunity("1:2:3"); err != nil || c != (LargeCommunity{1, 2, 3}) {
		t.Error(c, err)
	}
	for _, s := range []string{"", "1", "1:2:3", "65536:1", "a:b"} {
		if _, err := ParseCommunity(s); err == nil {
			t.Error(s)
		}
	}
	for _, s := range []string{"", "1", "1:2", "1:2:3:4", "4294967296:1:1"} {
		if _, err := ParseLargeCommunity(s); err == nil {
			t.Error(s)
		}
	}
}

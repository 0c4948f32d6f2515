package ether

import (
	"net/netip"
	"testing"
)

func TestMAC(t *testing.T) {
	var m MAC
	for _, bad := range []string{"", "50:54:33", "50:54:33:00:00:07:08:09", "x"} {
		if err := m.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
	if err := m.UnmarshalText([]byte("50-54-33-00-00-07")); err != nil || m.String() != "50:54:33:00:00:07" {
		t.Errorf("%v, %v", m, err)
	}
	if text, err := m.MarshalText(); err != nil || string(text) != m.String() {
		t.Errorf("%s, %v", text, err)
	}
	if !m.IsUnicast() || m.IsZero() || Broadcast.IsUnicast() || (MAC{}).IsUnicast() || !(MAC{}).IsZero() {
		t.Error("unicast or zero")
	}
	if a := netip.AddrFrom16(m.LinkLocal()); a != netip.MustParseAddr("fe80::5254:33ff:fe00:7") {
		t.Error(a)
	}
}

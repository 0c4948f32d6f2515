package fibcore

import (
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

func TestScopes(t *testing.T) {
	gw, dev := []wire.NextHop{{Gateway: netip.MustParseAddr("10.0.0.1"), IfIndex: 2}}, []wire.NextHop{{IfIndex: 2}}
	for _, c := range []struct {
		r        Route
		f        wire.Facts
		nextHops []wire.NextHop
		scope    uint8
	}{
		{Route{}, wire.Facts{Family: wire.FamilyIPv4, Type: wire.RouteUnicast}, gw, 0},
		{Route{}, wire.Facts{Family: wire.FamilyIPv4, Type: wire.RouteUnicast}, dev, 253},
		{Route{}, wire.Facts{Family: wire.FamilyIPv4, Type: wire.RouteLocal}, dev, 254},
		{Route{}, wire.Facts{Family: wire.FamilyIPv4, Type: wire.RouteBroadcast}, dev, 253},
		{Route{}, wire.Facts{Family: wire.FamilyIPv4, Type: wire.RouteBlackhole}, nil, 0},
		{Route{Scope: wire.ScopeUniverse}, wire.Facts{Family: wire.FamilyIPv4, Type: wire.RouteUnicast}, dev, 0},
		{Route{Scope: wire.ScopeHost}, wire.Facts{Family: wire.FamilyIPv4, Type: wire.RouteUnicast}, dev, 254},
		{Route{Scope: wire.ScopeLink}, wire.Facts{Family: wire.FamilyIPv6, Type: wire.RouteUnicast}, dev, 0},
	} {
		if got := scopeOf(&c.r, &c.f, c.nextHops); got != c.scope {
			t.Errorf("%+v: scope %d, want %d", c, got, c.scope)
		}
	}
}

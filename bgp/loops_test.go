package bgp_test

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/malformed"
)

// TestLoops announces a route again with attributes that are well-formed but say that
// it has been here before. The path from before must be gone, and the session stays.
func TestLoops(t *testing.T) {
	ours := netip.MustParseAddr("10.9.0.1")
	for name, a := range map[string]wire.PathAttrs{
		"our ORIGINATOR_ID":            {OriginatorID: ours},
		"our cluster in CLUSTER_LIST":  {ClusterList: []netip.Addr{netip.MustParseAddr("10.9.0.77"), ours}},
		"our AS in AS_PATH":            {ASPath: []uint32{64512, 65000, 64513}},
		"AS_PATH and ORIGINATOR_ID":    {ASPath: []uint32{65000}, OriginatorID: ours},
		"CLUSTER_LIST of nothing else": {ClusterList: []netip.Addr{ours}},
	} {
		t.Run(name, func(t *testing.T) {
			inStage(t, malformed.Case{Name: name, Peer: "ibgp", Options: wire.Options{AS4: true}}, manners[0], func(s *stage) {
				s.culprits()
				for _, prefix := range []string{route4, route6} {
					s.culprit.send(update(t, s.b, a, prefix))
				}
				s.settle()
				s.expect(route4, false)
				s.expect(route6, false)
				if s.culprit.ended() {
					t.Error("the session ended")
				}
				s.announce(route4)
				s.settle()
				s.expect(route4, true)
			})
		})
	}
}

// TestOutOfTurn sends good messages at the wrong time (RFC 6608, Section 4).
func TestOutOfTurn(t *testing.T) {
	open := rawOpen("10.9.0.2", 65000, true, wire.IPv4Unicast)
	first := announce(t, wire.Builder{AS4: true}, nil, route4)
	for name, c := range map[string]struct {
		before [][]byte
		last   []byte
		want   string
	}{
		"UPDATE first":          {nil, first, "Finite State Machine Error/Unexpected Message in OpenSent State (5/1)"},
		"KEEPALIVE first":       {nil, wire.AppendKeepalive(nil), "Finite State Machine Error/Unexpected Message in OpenSent State (5/1)"},
		"ROUTE-REFRESH first":   {nil, wire.RouteRefresh{Family: wire.IPv4Unicast}.Append(nil), "Finite State Machine Error/Unexpected Message in OpenSent State (5/1)"},
		"UPDATE after OPEN":     {[][]byte{open.Append(nil)}, first, "Finite State Machine Error/Unexpected Message in OpenConfirm State (5/2)"},
		"OPEN twice":            {[][]byte{open.Append(nil)}, open.Append(nil), "Finite State Machine Error/Unexpected Message in OpenConfirm State (5/2)"},
		"OPEN in Established":   {[][]byte{open.Append(nil), wire.AppendKeepalive(nil)}, open.Append(nil), "Finite State Machine Error/Unexpected Message in Established State (5/3)"},
		"garbage, then silence": {nil, []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), "Message Header Error/Connection Not Synchronized (1/1)"},
	} {
		t.Run(name, func(t *testing.T) {
			inStage(t, malformed.Case{Name: name, Peer: "open"}, manners[0], func(s *stage) {
				s.culprit = s.dial("10.9.0.2")
				for _, b := range append(c.before, c.last) {
					s.culprit.send(b)
					synctest.Wait()
				}
				s.settle()
				if n := s.culprit.notification; n == nil || !s.culprit.ended() || n.String() != c.want {
					t.Errorf("%v, ended %v, want %s", n, s.culprit.ended(), c.want)
				}
				s.c.Options, s.b = wire.Options{AS4: true}, wire.Builder{AS4: true}
				s.culprits()
			})
		})
	}
}

package bgp

import (
	"net/netip"
	"reflect"
	"unsafe"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
)

// same reports whether two policies are one value: the same code with the same captured
// variables. Such a change is none, and the peer is not asked for its routes again.
func same(a, b rib.Policy) bool {
	return *(*unsafe.Pointer)(unsafe.Pointer(&a)) == *(*unsafe.Pointer)(unsafe.Pointer(&b))
}

// importsDiffer reports whether the peer has to send its routes again after a change: those
// that the old policy refused are not stored.
func importsDiffer(a, b *PeerConfig) bool {
	return !same(a.Import, b.Import) || a.AllowOwnAS != b.AllowOwnAS || a.EBGP.ImportsDiffer(&b.EBGP)
}

var noAddr netip.Addr

// strictDiffers reports whether a connection that is not Established yet has to begin anew
// (draft-ietf-idr-bgp-bfd-strict-mode-19, Section 4, event 35).
func strictDiffers(a, b *PeerConfig) bool {
	return a.BFDStrict.Enabled != b.BFDStrict.Enabled || a.BFDStrict.Required != b.BFDStrict.Required
}

// softEqual reports whether a and b differ in soft fields only. Of graceful restart, an
// OPEN that is as good as the one that was sent will do.
func (s *Config) softEqual(a, b PeerConfig) bool {
	ga, gb := s.gracefulRestart(&a), s.gracefulRestart(&b)
	if ga.Enabled != gb.Enabled || ga.LongLivedTime != gb.LongLivedTime {
		return false
	}
	for _, c := range []*PeerConfig{&a, &b} {
		c.Passive, c.Listen, c.Description = false, false, ""
		c.ConnectRetry, c.IdleHold, c.SendHold = 0, 0, 0
		c.NextHopSelf, c.DefaultMembership, c.Import, c.Export = false, false, nil, nil
		c.Default = rib.DefaultRoute{}
		c.AddPathLimit, c.NextHop4, c.NextHop6, c.LinkLocal = 0, noAddr, noAddr, noAddr
		c.PrefixLimits, c.MaxPrefixes, c.MaxPrefixesHold, c.AllowOwnAS, c.OffLinkPrefixes = nil, 0, 0, 0, nil
		c.KeepRefused = 0
		c.RestartTime, c.GracefulRestart = 0, nil
		c.BFDStrict = fsm.StrictConfig{}
		c.EBGP = rib.EBGP{LocalAS: c.EBGP.LocalAS, Role: c.EBGP.Role}
	}
	return reflect.DeepEqual(a, b)
}

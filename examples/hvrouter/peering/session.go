package peering

import (
	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// SessionKey returns the key of a BGP session.
func SessionKey(r config.Reflector) bgp.PeerKey {
	k := bgp.PeerKey{Addr: r.Peer.Addr, Local: r.Local.Addr}
	if k.Addr.IsLinkLocalUnicast() && k.Addr.Is6() {
		k.Addr = k.Addr.WithZone(r.Interface)
	}
	return k
}

// Probe returns the session that watches a next hop; ok is false if none shall.
func Probe(c *config.Config, n config.NetNS, w config.NextHop) (s bfd.SessionConfig, ok bool) {
	r := config.Reflector{Interface: w.Interface, Peer: w.Probe, BFD: w.BFD, BFDProfile: w.BFDProfile}
	r.Local.Addr = w.Local()
	if !w.Probe.IsValid() {
		return s, false
	}
	return BFD(c, n, r)
}

// BFDKey names the BFD session of a reflector that is spoken to from a namespace.
func BFDKey(n config.NetNS, r config.Reflector) bfd.Key {
	return bfd.Key{Peer: r.Peer.Addr, Local: r.Local.Addr, Interface: r.Interface, NetNS: n.Path()}.Normal()
}

// BFD returns the session that watches a reflector from a namespace; ok is false if none
// shall.
func BFD(c *config.Config, n config.NetNS, r config.Reflector) (s bfd.SessionConfig, ok bool) {
	if r.BFD == "off" || c.BFD.Process == "off" {
		return s, false
	}
	p := c.BFD.Profile(r.BFDProfile)
	return bfd.SessionConfig{
		Key:           BFDKey(n, r),
		DesiredMinTx:  p.Interval.Duration,
		RequiredMinRx: p.Interval.Duration,
		Multiplier:    p.Multiplier,
		Passive:       p.Passive && r.BFD != "echo",
		Echo:          r.BFD == "echo",
	}, true
}

package peering

import (
	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// SessionKey names the BFD session of a domain's reflector.
func SessionKey(d config.Domain, r config.Reflector) bfd.Key {
	return bfd.Key{Peer: r.Peer.Addr, Local: r.Local.Addr, Interface: r.Interface, NetNS: d.NetNS.Path()}.Normal()
}

// BFD gives the session that watches a domain's reflector; ok is false if none
// shall.
func BFD(c *config.Config, d config.Domain, r config.Reflector) (s bfd.SessionConfig, ok bool) {
	if r.BFD == "off" || c.BFD.Process == "off" {
		return s, false
	}
	return bfd.SessionConfig{
		Key:           SessionKey(d, r),
		DesiredMinTx:  c.BFD.Interval.Duration,
		RequiredMinRx: c.BFD.Interval.Duration,
		Multiplier:    c.BFD.Multiplier,
	}, true
}

package peering

import (
	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// BFD gives the session that watches a reflector; ok is false if none shall.
func BFD(c *config.Config, r config.Reflector) (s bfd.SessionConfig, ok bool) {
	if r.BFD == "off" || c.BFD.Process == "off" {
		return s, false
	}
	return bfd.SessionConfig{
		Key:           bfd.Key{Peer: r.Peer.Addr, Local: r.Local.Addr, Interface: r.Interface}.Normal(),
		DesiredMinTx:  c.BFD.Interval.Duration,
		RequiredMinRx: c.BFD.Interval.Duration,
		Multiplier:    c.BFD.Multiplier,
	}, true
}

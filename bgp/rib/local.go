package rib

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// LocalPath is a path that we originate.
type LocalPath struct {
	// Prefix is the destination. Host bits are cleared.
	Prefix netip.Prefix
	// PathID tells several paths to one prefix apart.
	PathID uint32
	// NextHop is the next hop to announce. The zero value leaves it to each session: its own
	// address.
	NextHop wire.NextHop
	// Attrs are the other attributes. The zero value is ORIGIN IGP, an empty AS_PATH, and
	// LOCAL_PREF 100 towards iBGP peers.
	Attrs wire.PathAttrs
}

// Originate adds a local path, or replaces the one with the same prefix and path identifier.
// Local paths are never deferred and win against what peers announce.
func (t *Table) Originate(p LocalPath) error {
	if !p.Prefix.IsValid() {
		return fmt.Errorf("rib: originate: prefix %v is not valid", p.Prefix)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	octets := []byte(p.Attrs.Append(t.octets[:0]))
	at := len(octets)
	octets = appendNextHop(octets, p.NextHop)
	t.octets = octets[:0]
	n := wire.NLRI{Prefix: p.Prefix.Masked(), PathID: p.PathID}
	if why := t.peers[localPeer].accept(n, t.attrs.intern(octets, at)); why != 0 {
		return fmt.Errorf("rib: originate %v: %v", p.Prefix, why)
	}
	return nil
}

// Withdraw removes a local path and reports whether it was there.
func (t *Table) Withdraw(prefix netip.Prefix, pathID uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return prefix.IsValid() && t.peers[localPeer].withdraw(wire.NLRI{Prefix: prefix.Masked(), PathID: pathID})
}

package rib

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// LocalPath is a path that we originate.
type LocalPath struct {
	// Prefix is the destination. Host bits are cleared. It is ignored if EVPN or Membership is set.
	Prefix netip.Prefix
	// EVPN is an EVPN route, one NLRI as package bgp/evpn writes it: see [wire.EVPN]. Nil originates
	// Prefix.
	EVPN []byte
	// Membership is a route target membership: that we want the routes that carry a route target within
	// it. Nil originates EVPN or Prefix. Its PathID is ignored. A speaker with EVPN that originates none is sent no
	// EVPN routes by a peer with which it has negotiated route target constraint.
	Membership *wire.Membership
	// PathID tells several paths to one destination apart.
	PathID uint32
	// NextHop is the next hop to announce. The zero value leaves it to each session: its own
	// address.
	NextHop wire.NextHop
	// Attrs are the other attributes. The zero value is ORIGIN IGP, an empty AS_PATH, and
	// LOCAL_PREF 100 towards iBGP peers.
	Attrs wire.PathAttrs
}

// Originate adds a local path, or replaces the one with the same destination and path identifier.
// Local paths are never deferred and win against what peers announce. Two EVPN routes have the same
// destination if their keys are equal. p.EVPN is not kept.
func (t *Table) Originate(p LocalPath) error {
	n := name{NLRI: wire.NLRI{PathID: p.PathID}}
	var rest []byte
	switch {
	case p.Membership != nil:
		if !p.Membership.Valid() {
			return fmt.Errorf("rib: originate: membership %v of %d bits is not valid", p.Membership, p.Membership.Bits)
		}
		n.setMembership(p.Membership)
	case p.EVPN == nil:
		if !p.Prefix.IsValid() {
			return fmt.Errorf("rib: originate: prefix %v is not valid", p.Prefix)
		}
		n.Prefix = p.Prefix.Masked()
	default:
		for e, err := range (wire.List{Family: wire.L2VPNEVPN, Raw: p.EVPN}).EVPN() {
			if err != nil || len(e.Octets) != len(p.EVPN) {
				return fmt.Errorf("rib: originate: %x is not one EVPN route", p.EVPN)
			}
			n.key, n.fam, rest = e.AppendKey(nil), evpnFamily, e.AppendRest(nil)
		}
		if n.key == nil {
			return fmt.Errorf("rib: originate: an EVPN route without octets")
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	octets := []byte(p.Attrs.Append(t.octets[:0]))
	at := len(octets)
	octets = appendTail(octets, p.NextHop)
	t.octets = octets[:0]
	base := t.attrs.intern(octets, at)
	defer t.attrs.release(base)
	if why := t.peers[localPeer].accept(&n, t.attrs.with(base, rest, nil)); why != 0 {
		return fmt.Errorf("rib: originate %v%x: %v", n.Prefix, n.key, why)
	}
	return nil
}

// Withdraw removes a local path and reports whether it was there.
func (t *Table) Withdraw(prefix netip.Prefix, pathID uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return prefix.IsValid() && t.peers[localPeer].withdraw(&name{NLRI: wire.NLRI{Prefix: prefix.Masked(), PathID: pathID}})
}

// WithdrawEVPN is [Table.Withdraw] for the EVPN route with a key (see [wire.EVPN]).
func (t *Table) WithdrawEVPN(key []byte, pathID uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(key) > 0 && t.peers[localPeer].withdraw(&name{wire.NLRI{PathID: pathID}, key, evpnFamily})
}

// WithdrawMembership is [Table.Withdraw] for a route target membership, whose own PathID is ignored.
func (t *Table) WithdrawMembership(m wire.Membership, pathID uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := name{NLRI: wire.NLRI{PathID: pathID}}
	n.setMembership(&m)
	return t.peers[localPeer].withdraw(&n)
}

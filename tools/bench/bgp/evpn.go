package main

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// overlay is f with EVPN routes of type 2, for reflectors that speak EVPN.
func overlay(f func(*trial) error) func(*trial) error {
	return func(t *trial) error {
		if t.d.kind.noEVPN {
			return errors.New("does not speak EVPN")
		}
		family = wire.L2VPNEVPN
		defer func() { family = wire.IPv4Unicast }()
		return f(t)
	}
}

// macRoute is the NLRI of MAC address number i, in the overlay with a VNI, at a tunnel's end.
func macRoute(i int, vni uint32, from netip.Addr) (wire.EVPN, error) {
	r := evpn.Route{Type: evpn.TypeMACIP, RD: evpn.NewRD(from, uint16(vni)), MAC: evpn.MAC{0x52, 0x54}, Label: evpn.Label(vni)}
	binary.BigEndian.PutUint32(r.MAC[2:], uint32(i))
	octets, err := r.AppendBinary(nil)
	return wire.EVPN{Octets: octets}, err
}

// macNumber is the reverse of macRoute: the RD (8), ESI (10), tag (4) and length (1) stand before the MAC address.
func macNumber(n wire.EVPN) (int, bool) {
	const at = 2 + 8 + 10 + 4 + 1
	if n.Octets[0] != byte(evpn.TypeMACIP) || len(n.Octets) < at+6 {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(n.Octets[at+2:])), true
}

// overlayTable is table for EVPN routes: each set of attributes is that of a VNI.
func overlayTable(from netip.Addr, base, n, per int, packed bool) (stream []byte) {
	b := wire.Builder{AS4: true}
	pref := uint32(100)
	for i := 0; i < n; {
		vni := uint32(i/per + 1)
		attrs := (&wire.PathAttrs{LocalPref: &pref, ExtCommunities: []wire.ExtCommunity{0x0002fde8<<32 | wire.ExtCommunity(vni), 0x030c000000000008}}).Append(nil)
		for end := min(n, int(vni)*per); i < end; {
			b.Reach(stream, family, attrs, nextHop(from))
			for i < end {
				r, err := macRoute(base+i, vni, from)
				if err != nil {
					panic(err) // of our own making
				}
				if !b.AddKeyed(r.AppendKey(nil), r.AppendRest(nil), 0) {
					break
				}
				if i++; !packed {
					break
				}
			}
			stream = b.Finish()
		}
	}
	return stream
}

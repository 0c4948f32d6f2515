package rib

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// The model's rules for external peers.

func otc(a *wire.PathAttrs) uint32 {
	for _, x := range a.Other {
		if x.Type == wire.AttrOnlyToCustomer {
			return binary.BigEndian.Uint32(x.Value)
		}
	}
	return 0
}

func setOTC(a *wire.PathAttrs, as uint32) {
	a.Other = []wire.Attr{wire.NewAttr(wire.AttrOnlyToCustomer, binary.BigEndian.AppendUint32(nil, as))}
}

// eligible checks what an external peer announces, and makes of it what the import policy sees.
func (m *model) eligible(p *modelPeer, a *wire.PathAttrs) bool {
	e := p.cfg.EBGP
	if !e.AnyFirstAS && (len(a.ASPath) == 0 || a.ASPath[0] != p.cfg.AS) {
		return false
	}
	if e.LocalAS != 0 && times(a.ASPath, e.LocalAS) > p.cfg.AllowOwnAS {
		return false
	}
	switch from := otc(a); e.Role {
	case wire.RoleProvider, wire.RoleRS: // of customers and clients
		if from != 0 {
			return false
		}
	case wire.RolePeer:
		if from != 0 && from != p.cfg.AS {
			return false
		}
		setOTC(a, p.cfg.AS)
	case wire.RoleCustomer, wire.RoleRSClient:
		if from == 0 {
			setOTC(a, p.cfg.AS)
		}
	}
	if e.LocalAS != 0 && !e.LocalASNoPrepend {
		a.ASPath = slices.Concat([]uint32{e.LocalAS}, a.ASPath)
	}
	return true
}

// border makes AS_PATH and OTC of what is sent to an external peer.
func (m *model) border(a *wire.PathAttrs, to *modelPeer) {
	e := to.border
	private := func(as uint32) bool {
		return as >= 64512 && as <= 65534 || as >= 4200000000 && as < 4294967295
	}
	ours := m.as
	if e.LocalASReplaceAS {
		ours = e.LocalAS
	}
	var path []uint32
	for _, as := range a.ASPath {
		switch {
		case !private(as), as == to.cfg.AS, e.RemovePrivateAS == PrivateASKeep,
			e.RemovePrivateAS == PrivateASRemove && slices.ContainsFunc(a.ASPath, func(x uint32) bool { return !private(x) }):
			path = append(path, as)
		case e.RemovePrivateAS == PrivateASReplaceAll:
			path = append(path, ours)
		}
	}
	path = append([]uint32{ours}, path...)
	known := m.as
	if e.LocalAS != 0 {
		known = e.LocalAS
		if !e.LocalASReplaceAS {
			path = append([]uint32{e.LocalAS}, path...)
		}
	}
	a.ASPath = path
	if otc(a) == 0 && (e.Role == wire.RoleProvider || e.Role == wire.RolePeer || e.Role == wire.RoleRS) {
		setOTC(a, known)
	}
}

// keeps reports whether an external peer is sent a next hop as it is.
func keeps(nh netip.Addr, to *modelPeer) bool {
	e, addr := to.border, to.cfg.Addr
	if !nh.IsValid() || nh == addr {
		return false
	}
	return e.NextHopUnchanged || slices.ContainsFunc(e.ThirdParty, func(p netip.Prefix) bool { return p.Contains(nh) && p.Contains(addr) })
}

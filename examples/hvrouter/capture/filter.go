package capture

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
)

// UDP destination ports of BFD: control packets over one hop and over several, echo packets.
var bfdPorts = []uint16{3784, 3785, 4784}

// Offsets in an Ethernet frame, in octets.
const (
	typeAt      = 12
	ipAt        = 14
	protocol4At = ipAt + 9
	fragment4At = ipAt + 6
	source4At   = ipAt + 12
	target4At   = ipAt + 16
	next6At     = ipAt + 6
	source6At   = ipAt + 8
	target6At   = ipAt + 24
	payload6At  = ipAt + 40
)

const (
	typeIPv4, typeIPv6 = 0x0800, 0x86dd
	tcp, udp           = 6, 17
)

// filter returns a program for the kernel that takes the packets of a peer: from one of two
// addresses to one of them, TCP from or to the session's port, or UDP to a port of BFD. Echo packets
// have the local address as both. IPv6 with extension headers is not taken, nor are fragments.
func filter(local, peer netip.Addr, port uint16) ([]bpf.RawInstruction, error) {
	a := &program{}
	local, peer = local.Unmap(), peer.Unmap()
	a.load(typeAt, 2)
	if local.Is4() {
		a.want(typeIPv4)
		a.either(source4At, local, peer)
		a.either(target4At, local, peer)
		a.load(fragment4At, 2)
		a.wantNoBits(0x1fff) // the first fragment, or none
		a.code = append(a.code, bpf.LoadMemShift{Off: ipAt})
		a.load(protocol4At, 1)
		a.ports(func(at uint32) bpf.Instruction { return bpf.LoadIndirect{Off: ipAt + at, Size: 2} }, port)
	} else {
		a.want(typeIPv6)
		a.either(source6At, local, peer)
		a.either(target6At, local, peer)
		a.load(next6At, 1)
		a.ports(func(at uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: payload6At + at, Size: 2} }, port)
	}
	return bpf.Assemble(a.code)
}

// program is one under construction.
type program struct{ code []bpf.Instruction }

const (
	take = 1 << 18 // octets: more than any packet has
	drop = 0
)

func (a *program) load(at uint32, size int) {
	a.code = append(a.code, bpf.LoadAbsolute{Off: at, Size: size})
}

// want drops the packet unless what was loaded is v.
func (a *program) want(v uint32) {
	a.code = append(a.code, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: 1}, bpf.RetConstant{Val: drop})
}

func (a *program) wantNoBits(mask uint32) {
	a.code = append(a.code, bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: mask, SkipFalse: 1}, bpf.RetConstant{Val: drop})
}

// either drops the packet unless one of two addresses is at an offset.
func (a *program) either(at uint32, one, two netip.Addr) {
	is, or := equal(at, one), equal(at, two)
	for i := range is { // each word that differs leads to the second comparison
		if j, ok := is[i].(bpf.JumpIf); ok {
			j.SkipFalse = uint8(len(is) - i) // behind the jump below
			is[i] = j
		}
	}
	for i := range or {
		if j, ok := or[i].(bpf.JumpIf); ok {
			j.SkipFalse = uint8(len(or) - i)
			or[i] = j
		}
	}
	a.code = append(a.code, is...)
	a.code = append(a.code, bpf.Jump{Skip: uint32(len(or) + 2)})
	a.code = append(a.code, or...)
	a.code = append(a.code, bpf.Jump{Skip: 1}, bpf.RetConstant{Val: drop})
}

// equal compares an address, word by word.
func equal(at uint32, a netip.Addr) (code []bpf.Instruction) {
	b := a.AsSlice()
	for i := 0; i < len(b); i += 4 {
		code = append(code, bpf.LoadAbsolute{Off: at + uint32(i), Size: 4}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(b[i:])})
	}
	return code
}

// ports ends the program: the protocol has been loaded, load makes the instruction that loads
// from the header behind IP's.
func (a *program) ports(load func(at uint32) bpf.Instruction, port uint16) {
	taken, dropped := bpf.RetConstant{Val: take}, bpf.RetConstant{Val: drop}
	a.code = append(a.code,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: tcp, SkipFalse: 6},
		load(0), bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: 2},
		load(2), bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipFalse: 1},
		taken, dropped,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: udp, SkipTrue: 1}, dropped,
		load(2))
	for i, p := range bfdPorts {
		a.code = append(a.code, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(p), SkipTrue: uint8(len(bfdPorts) - i)})
	}
	a.code = append(a.code, dropped, taken)
}

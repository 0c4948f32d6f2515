package afpacket

import "golang.org/x/sys/unix"

// Cond is one condition of a socket filter: the Width octets (1, 2 or 4) at Offset
// from the Ethernet header have a value from Low to High.
type Cond struct {
	Offset    uint32
	Width     uint16
	Low, High uint32
}

// Equal is the condition that the width octets at offset are v.
func Equal(offset uint32, width uint16, v uint32) Cond {
	return Cond{Offset: offset, Width: width, Low: v, High: v}
}

// Filter builds the classic BPF program that accepts a frame if it came in for
// this host (not for another one, and not on its way out), without VLAN tag, and
// fulfils every condition. Only snap octets of it are kept. A load past the end of
// a frame rejects it.
func Filter(snap uint32, conds ...Cond) []unix.SockFilter {
	const (
		skfAdOff        = 0xfffff000 // SKF_AD_OFF, -0x1000
		skfAdPktType    = 4
		skfAdVLANTagged = 48
		ldAbs           = unix.BPF_LD | unix.BPF_ABS
		jeq             = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jge             = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		jgt             = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
		ret             = unix.BPF_RET | unix.BPF_K
	)
	// Each test jumps over a "return 0" of its own if it holds, so that no jump is
	// longer than two.
	reject := unix.SockFilter{Code: ret, K: 0}
	prog := []unix.SockFilter{
		{Code: ldAbs | unix.BPF_W, K: skfAdOff + skfAdPktType},
		{Code: jge, K: unix.PACKET_OTHERHOST, Jf: 1}, reject,
		{Code: ldAbs | unix.BPF_W, K: skfAdOff + skfAdVLANTagged},
		{Code: jeq, K: 0, Jt: 1}, reject,
	}
	widths := map[uint16]uint16{1: unix.BPF_B, 2: unix.BPF_H, 4: unix.BPF_W}
	for _, c := range conds {
		prog = append(prog, unix.SockFilter{Code: ldAbs | widths[c.Width], K: c.Offset})
		if c.Low == c.High {
			prog = append(prog, unix.SockFilter{Code: jeq, K: c.Low, Jt: 1}, reject)
			continue
		}
		prog = append(prog,
			unix.SockFilter{Code: jge, K: c.Low, Jt: 1}, reject,
			unix.SockFilter{Code: jgt, K: c.High, Jf: 1}, reject)
	}
	return append(prog, unix.SockFilter{Code: ret, K: snap})
}

package afpacket

import (
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/police"
)

// The instructions of classic BPF that are used here, and what it knows of a frame beside
// its octets (Linux, Documentation/networking/filter.rst, "BPF extensions").
const (
	ldAbs = unix.BPF_LD | unix.BPF_ABS
	ldLen = unix.BPF_LD | unix.BPF_W | unix.BPF_LEN
	and   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	jeq   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jge   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	ja    = unix.BPF_JMP | unix.BPF_JA
	ret   = unix.BPF_RET | unix.BPF_K

	skfAdOff        = 0xfffff000 // SKF_AD_OFF, -0x1000
	skfAdPktType    = skfAdOff + 4
	skfAdIfIndex    = skfAdOff + 8
	skfAdVLANTagged = skfAdOff + 48
)

// longest is the longest frame that is received: what an Ethernet of standard MTU brings.
// Nothing that is asked for is longer, and what is fills the receive buffer.
const longest = 1514

// sizes are the sizes of a load, by octets.
var sizes = [...]uint16{1: unix.BPF_B, 2: unix.BPF_H, 4: unix.BPF_W}

var reject = unix.SockFilter{Code: ret, K: 0}

// filter appends the classic BPF program that accepts a frame if it fulfils every
// condition, came in for this host (not for another one, and not on its way out) without a
// VLAN tag, and the list lets its interface through. The tag is no longer among the octets:
// the kernel has taken it out (skb_vlan_untag in net/core/skbuff.c). The program runs on every
// frame of the EtherType that any interface of the namespace receives, so the conditions
// come first, and of these the first ought to be the one that most traffic fails. A load
// past the end of a frame rejects it.
func filter(prog []unix.SockFilter, conds []Cond, list police.List) []unix.SockFilter {
	for _, c := range conds {
		prog = append(prog, unix.SockFilter{Code: ldAbs | sizes[c.Width], K: c.Offset})
		if c.Mask != 0 {
			prog = append(prog, unix.SockFilter{Code: and, K: c.Mask})
		}
		for i, v := range c.Values { // each jumps over the rest of them, and "reject"
			prog = append(prog, unix.SockFilter{Code: jeq, K: v, Jt: uint8(len(c.Values) - i)})
		}
		if len(c.Values) > 0 {
			prog = append(prog, reject)
		}
	}
	prog = append(prog,
		unix.SockFilter{Code: ldAbs | unix.BPF_W, K: skfAdPktType},
		unix.SockFilter{Code: jge, K: unix.PACKET_OTHERHOST, Jf: 1}, reject,
		unix.SockFilter{Code: ldAbs | unix.BPF_W, K: skfAdVLANTagged},
		unix.SockFilter{Code: jeq, K: 0, Jt: 1}, reject,
		unix.SockFilter{Code: ldLen},
		unix.SockFilter{Code: jge, K: longest + 1, Jf: 1}, reject,
		unix.SockFilter{Code: ldAbs | unix.BPF_W, K: skfAdIfIndex})
	return interfaces(prog, list, longest)
}

// AttachList has a socket of any kind, such as UDP's, drop what a list does not let
// through before it takes room in the receive buffer.
func AttachList(fd int, list police.List) error {
	prog := []unix.SockFilter{{Code: ldAbs | unix.BPF_W, K: skfAdIfIndex}}
	return attach(fd, interfaces(prog, list, 1<<16))
}

// interfaces appends what accepts the interfaces of a list, of which one is in the
// accumulator, and keeps size octets.
func interfaces(prog []unix.SockFilter, list police.List, size uint32) []unix.SockFilter {
	listed, others := reject, unix.SockFilter{Code: ret, K: size}
	if list.Only {
		listed, others = others, listed
	}
	return search(prog, list.Interfaces, listed, others)
}

// search appends a binary search for the accumulator in sorted values, which ends in one
// of two instructions.
func search(prog []unix.SockFilter, values []int, found, missing unix.SockFilter) []unix.SockFilter {
	const leaf = 4 // a shorter list is searched from the beginning
	if len(values) <= leaf {
		for i, v := range values { // each jumps over the rest of them, and "missing"
			prog = append(prog, unix.SockFilter{Code: jeq, K: uint32(v), Jt: uint8(len(values) - i)})
		}
		if prog = append(prog, missing); len(values) > 0 {
			prog = append(prog, found)
		}
		return prog
	}
	middle := len(values) / 2
	prog = append(prog, unix.SockFilter{Code: jge, K: uint32(values[middle]), Jf: 1}, unix.SockFilter{Code: ja})
	from := len(prog)
	prog = search(prog, values[:middle], found, missing)
	prog[from-1].K = uint32(len(prog) - from)
	return search(prog, values[middle:], found, missing)
}

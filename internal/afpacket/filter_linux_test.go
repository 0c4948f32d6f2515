package afpacket

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/police"
)

// meta is what the kernel knows about a frame beside its octets.
type meta struct{ packetType, tagged, link uint32 }

// run is a slow, obvious interpreter of the instructions that filters are made of.
func run(t *testing.T, prog []unix.SockFilter, frame []byte, m meta) uint32 {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		jump := func(yes bool) {
			if yes {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
		switch in.Code {
		case ldAbs | unix.BPF_W, ldAbs | unix.BPF_H, ldAbs | unix.BPF_B:
			if v, ok := map[uint32]uint32{skfAdPktType: m.packetType, skfAdVLANTagged: m.tagged, skfAdIfIndex: m.link}[in.K]; ok {
				a = v
				continue
			}
			width := map[uint16]int{unix.BPF_W: 4, unix.BPF_H: 2, unix.BPF_B: 1}[in.Code&0x18]
			if int(in.K)+width > len(frame) {
				return 0
			}
			b := make([]byte, 4)
			copy(b[4-width:], frame[in.K:])
			a = binary.BigEndian.Uint32(b)
		case ldLen:
			a = uint32(len(frame))
		case and:
			a &= in.K
		case jeq:
			jump(a == in.K)
		case jge:
			jump(a >= in.K)
		case ja:
			pc += int(in.K)
		case ret:
			return in.K
		default:
			t.Fatalf("instruction %+v", in)
		}
	}
	t.Fatal("fell off the end")
	return 0
}

func TestFilter(t *testing.T) {
	prog := filter(nil, []Cond{OneOf(12, 2, 0x86dd), {Offset: 14, Width: 1, Mask: 0xf0, Values: []uint32{0x60}}, OneOf(15, 1, 7, 9, 200), OneOf(16, 4, 0xdeadbeef),
		{Offset: 20, Width: 4}}, police.List{Only: true, Interfaces: []int{5}})
	good := []byte{12: 0x86, 13: 0xdd, 14: 0x65, 15: 9, 16: 0xde, 17: 0xad, 18: 0xbe, 19: 0xef, 23: 0}
	change := func(at int, to byte) []byte {
		b := append([]byte(nil), good...)
		b[at] = to
		return b
	}
	for _, tc := range []struct {
		name  string
		frame []byte
		m     meta
		want  uint32
	}{
		{"good", good, meta{link: 5}, longest},
		{"masked", change(14, 0x6f), meta{link: 5}, longest},
		{"other bits", change(14, 0x55), meta{link: 5}, 0},
		{"first of several", change(15, 7), meta{link: 5}, longest},
		{"last of several", change(15, 200), meta{link: 5}, longest},
		{"none of several", change(15, 8), meta{link: 5}, 0},
		{"EtherType", change(13, 0xde), meta{link: 5}, 0},
		{"word", change(19, 0), meta{link: 5}, 0},
		{"short", good[:19], meta{link: 5}, 0},
		{"short of what may be anything", good[:23], meta{link: 5}, 0},
		{"longest", append(good, make([]byte, longest-len(good))...), meta{link: 5}, longest},
		{"longer", append(good, make([]byte, longest+1-len(good))...), meta{link: 5}, 0},
		{"another interface", good, meta{link: 6}, 0},
		{"broadcast", good, meta{packetType: unix.PACKET_BROADCAST, link: 5}, longest},
		{"multicast", good, meta{packetType: unix.PACKET_MULTICAST, link: 5}, longest},
		{"another host", good, meta{packetType: unix.PACKET_OTHERHOST, link: 5}, 0},
		{"outgoing", good, meta{packetType: unix.PACKET_OUTGOING, link: 5}, 0},
		{"tagged", good, meta{tagged: 1, link: 5}, 0},
	} {
		if got := run(t, prog, tc.frame, tc.m); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

// Lists of every length are searched right, in both senses, and fit where they must: Linux
// before 6.8 allows 20 KiB for two filters, at some 8 octets an instruction, of which its
// compiler makes up to two out of one of ours.
func TestFilterInterfaces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range police.MostListed + 1 {
		list := police.List{Only: n%2 == 0}
		for range n {
			list.Interfaces = append(list.Interfaces, 1+r.IntN(1<<20))
		}
		slices.Sort(list.Interfaces)
		list.Interfaces = slices.Compact(list.Interfaces)
		prog := filter(nil, nil, list)
		if len(prog) > 20<<10/2/8 {
			t.Fatalf("%d instructions for %d interfaces", len(prog), n)
		}
		for _, link := range list.Interfaces {
			for _, near := range []int{link - 1, link, link + 1} {
				want := slices.Contains(list.Interfaces, near) == list.Only
				if got := run(t, prog, nil, meta{link: uint32(near)}); (got > 0) != want {
					t.Fatalf("only %v of %v: interface %d accepted: %v", list.Only, list.Interfaces, near, got > 0)
				}
			}
		}
		if got := run(t, prog, nil, meta{link: 1 << 30}); (got > 0) == list.Only {
			t.Fatalf("only %v of %v: interface 1<<30 accepted: %v", list.Only, list.Interfaces, got > 0)
		}
	}
}

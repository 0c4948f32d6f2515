package afpacket

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// meta is what the kernel knows about a frame beside its octets.
type meta struct{ packetType, tagged uint32 }

// run is a slow, obvious interpreter of the instructions Filter uses.
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
		case unix.BPF_LD | unix.BPF_ABS | unix.BPF_W, unix.BPF_LD | unix.BPF_ABS | unix.BPF_H, unix.BPF_LD | unix.BPF_ABS | unix.BPF_B:
			switch in.K {
			case 0xfffff004:
				a = m.packetType
				continue
			case 0xfffff030:
				a = m.tagged
				continue
			}
			width := map[uint16]int{unix.BPF_W: 4, unix.BPF_H: 2, unix.BPF_B: 1}[in.Code&0x18]
			if int(in.K)+width > len(frame) {
				return 0
			}
			b := make([]byte, 4)
			copy(b[4-width:], frame[in.K:])
			a = binary.BigEndian.Uint32(b)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= in.K)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(a > in.K)
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		default:
			t.Fatalf("instruction %+v", in)
		}
	}
	t.Fatal("fell off the end")
	return 0
}

func TestFilter(t *testing.T) {
	prog := Filter(64, Equal(12, 2, 0x86dd), Cond{Offset: 14, Width: 1, Low: 0x60, High: 0x6f}, Equal(16, 4, 0xdeadbeef))
	good := []byte{12: 0x86, 13: 0xdd, 14: 0x65, 16: 0xde, 17: 0xad, 18: 0xbe, 19: 0xef}
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
		{"good", good, meta{}, 64},
		{"lowest", change(14, 0x60), meta{}, 64},
		{"highest", change(14, 0x6f), meta{}, 64},
		{"below", change(14, 0x5f), meta{}, 0},
		{"above", change(14, 0x70), meta{}, 0},
		{"EtherType", change(13, 0xde), meta{}, 0},
		{"word", change(19, 0), meta{}, 0},
		{"short", good[:19], meta{}, 0},
		{"broadcast", good, meta{packetType: unix.PACKET_BROADCAST}, 64},
		{"multicast", good, meta{packetType: unix.PACKET_MULTICAST}, 64},
		{"another host", good, meta{packetType: unix.PACKET_OTHERHOST}, 0},
		{"outgoing", good, meta{packetType: unix.PACKET_OUTGOING}, 0},
		{"tagged", good, meta{tagged: 1}, 0},
	} {
		if got := run(t, prog, tc.frame, tc.m); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

package load

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/ndp"
)

var guest = plan.Lab{PerHV: 1}.Load(1)[0]

func TestARP(t *testing.T) {
	ask := func(who netip.Addr) []byte {
		p := arp.NewRequest(arp.MAC{2}, plan.Gateway4, who)
		frame, _ := p.On(0).AppendBinary(nil)
		return frame
	}
	c := &Guests{byLink: map[int]plan.Guest{7: guest}}
	f, err := arp.ParseFrame(c.answer(7, ask(guest.IPv4), nil))
	if err != nil || f.Packet.SenderMAC != arp.MAC(guest.MAC) || f.Packet.SenderIP != arp.IPFrom(guest.IPv4) {
		t.Errorf("answer %+v, %v", f, err)
	}
	if c.answer(7, ask(plan.Ghost), nil) != nil || c.answer(8, ask(guest.IPv4), nil) != nil {
		t.Error("answered for somebody else")
	}
}

func TestNeighbour(t *testing.T) {
	c := &Guests{byLink: map[int]plan.Guest{7: guest}}
	ask := func(who netip.Addr) []byte {
		body, _ := ndp.NeighborSolicitation{Target: who, SourceLinkAddr: ndp.MAC{2}}.AppendBinary(nil)
		p := ndp.Packet{SrcMAC: ndp.MAC{2}, DstMAC: ndp.GroupMAC(ndp.SolicitedNode(who)), Src: plan.Gateway6, Dst: ndp.SolicitedNode(who), Body: body}
		frame, _ := p.AppendBinary(nil)
		return frame
	}
	for _, who := range []netip.Addr{guest.IPv6(), guest.LinkLocal()} {
		p, err := ndp.ParseFrame(c.answer(7, ask(who), nil))
		if err != nil {
			t.Fatal(err)
		}
		if kind, err := p.Check(); err != nil || kind != ndp.TypeNeighborAdvertisement || p.Src != who {
			t.Errorf("answer %+v, %v", p, err)
		}
	}
	if c.answer(7, ask(plan.Ghost6), nil) != nil {
		t.Error("answered for somebody else")
	}
}

// The checksum of what was changed in place is right.
func TestEcho(t *testing.T) {
	ip := make([]byte, 34+10)
	copy(ip[14:], []byte{0x45, 0, 0, 30, 0, 0, 0, 0, 64, 1})
	copy(ip[26:], plan.Internet4.AsSlice())
	copy(ip[30:], guest.IPv4.AsSlice())
	copy(ip[34:], []byte{8, 0, 0, 0, 0x12, 0x34, 0, 1, 0xff, 0xfe})
	binary.BigEndian.PutUint16(ip[36:], ^sum(ip[34:]))
	reply := echo4(guest, ip)
	if reply == nil || reply[34] != 0 || sum(reply[34:]) != 0xffff {
		t.Errorf("reply % x", reply)
	}
	if echo4(guest, reply) != nil {
		t.Error("a reply is answered")
	}
}

func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

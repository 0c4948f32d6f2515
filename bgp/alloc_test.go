package bgp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// TestUpdateAllocates: an UPDATE that announces again what is there costs no
// allocation on its way from the reader's buffer into the table.
func TestUpdateAllocates(t *testing.T) {
	s, err := New(Config{AS: 65000, RouterID: addr1})
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(&s.env, s, PeerConfig{Addr: addr2}, nil)
	in, err := s.env.table.NewIn(rib.PeerConfig{Addr: addr2, AS: 65000, RouterID: addr2})
	if err != nil {
		t.Fatal(err)
	}
	n := fsm.Negotiated{RemoteAS: 65000, Families: wire.Families(wire.IPv4Unicast), AS4: true}
	sess := &session{in: in, neg: n, opt: n.UpdateOptions(65000)}
	body := announcement(t, 20)
	now := time.Now()
	update := func() {
		if err := sess.update(now, &p.update, body); err != nil {
			t.Fatal(err)
		}
	}
	update()
	if got := testing.AllocsPerRun(100, update); got != 0 {
		t.Errorf("%v allocations an UPDATE", got)
	}
	if c := in.Counters(wire.IPv4Unicast); c.Paths != 20 {
		t.Errorf("%+v", c)
	}
}

// announcement is the body of an UPDATE with n prefixes.
func announcement(t *testing.T, n int) []byte {
	t.Helper()
	var b wire.Builder
	pref := uint32(100)
	attrs := (&wire.PathAttrs{LocalPref: &pref}).Append(nil)
	b.Reach(make([]byte, 0, wire.MaxLen), wire.IPv4Unicast, attrs, wire.NextHop{Addr: addr2})
	for i := range n {
		if !b.Add(wire.NLRI{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)}) {
			t.Fatal("full")
		}
	}
	return b.Finish()[wire.HeaderLen:]
}

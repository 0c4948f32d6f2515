package rtadv

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/ndp"
)

var (
	ours = Uplink{IfIndex: 7, MAC: ndp.MAC{2, 0, 0, 0, 0, 1}, Local: netip.MustParseAddr("fe80::1")}
	from = netip.MustParseAddr("fe80::a")
	mac  = ndp.MAC{2, 0, 0, 0, 0, 10}
)

// TestTake: an advertisement leads to a question for its address, to the solicited-node group, and is handed on when
// that is answered, with the MAC that has answered.
func TestTake(t *testing.T) {
	c := newConn()
	c.uplinks[7] = &uplink{Uplink: ours}
	now := time.Now()
	take := func(p ndp.Packet) (ndp.Packet, bool) {
		now = now.Add(time.Millisecond)
		return c.take(now, &p)
	}
	heard := func() []Heard {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for {
			list, err := c.Next(ctx)
			if len(list) > 0 || err != nil && len(c.wake) == 0 {
				return list
			}
		}
	}
	advert := func(link int, from netip.Addr, mac ndp.MAC) ndp.Packet {
		body, _ := ndp.RouterAdvertisement{}.AppendBinary(nil)
		return ndp.Packet{IfIndex: link, SrcMAC: mac, DstMAC: ndp.GroupMAC(ndp.AllNodes), Src: from, Dst: ndp.AllNodes, HopLimit: 255, Body: body}
	}
	answer := func(target, to netip.Addr, mac ndp.MAC, solicited bool) ndp.Packet {
		body, _ := ndp.NeighborAdvertisement{Solicited: solicited, Target: target}.AppendBinary(nil)
		return ndp.Packet{IfIndex: 7, SrcMAC: mac, DstMAC: ours.MAC, Src: target, Dst: to, HopLimit: 255, Body: body}
	}

	forged := ndp.MAC{2, 0, 0, 0, 0, 99} // somebody advertises in the router's name
	q, ok := take(advert(7, from, forged))
	m, err := ndp.ParseNeighborSolicitation(&q)
	if !ok || err != nil || m.Target != from || m.SourceLinkAddr != ours.MAC || q.SrcMAC != ours.MAC || q.Src != ours.Local ||
		q.Dst != netip.MustParseAddr("ff02::1:ff00:a") || q.DstMAC != (ndp.MAC{0x33, 0x33, 0xff, 0, 0, 0xa}) || q.IfIndex != 7 {
		t.Errorf("the question is %+v (%+v), %v, %v", q, m, ok, err)
	}
	if _, ok := take(advert(7, from, mac)); ok {
		t.Error("asked twice within milliseconds")
	}
	for name, p := range map[string]ndp.Packet{
		"ours":                     advert(7, netip.MustParseAddr("fe80::b"), ours.MAC),
		"from our address":         advert(7, ours.Local, mac),
		"another interface":        advert(8, from, mac),
		"an answer to none of us":  answer(from, netip.MustParseAddr("fe80::2"), mac, true),
		"not solicited":            answer(from, ours.Local, mac, false),
		"for an address not asked": answer(netip.MustParseAddr("fe80::b"), ours.Local, mac, true),
		"nothing":                  {IfIndex: 7, SrcMAC: mac},
	} {
		if q, ok := take(p); ok {
			t.Errorf("%s: asked %+v", name, q)
		}
		if list := heard(); len(list) > 0 {
			t.Errorf("%s: heard %v", name, list)
		}
	}
	if _, ok := take(answer(from, ours.Local, mac, true)); ok {
		t.Error("an answer leads to a question")
	}
	if list := heard(); !slices.Equal(list, []Heard{{7, from, mac}}) {
		t.Errorf("heard %v", list)
	}
}

// TestAskAgain: the routers of an interface that was over its limit are solicited each 4.3 s, and once after that.
func TestAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := newConn()
		c.uplinks[7], c.uplinks[8] = &uplink{Uplink: ours}, &uplink{Uplink: Uplink{IfIndex: 8}, silenced: 3}
		start := time.Now()
		var asked []int
		silenced := func(ifindex int) uint64 { // interface 7 once a second, from the 10th to the 20th
			if ifindex == 8 {
				return 3
			}
			return uint64(min(max(int(time.Since(start).Seconds())-10, 0), 10))
		}
		done := make(chan bool)
		go func() {
			c.askAgain(ctx, silenced, func(u Uplink) { asked = append(asked, u.IfIndex, int(time.Since(start).Seconds())) })
			close(done)
		}()
		time.Sleep(time.Minute)
		cancel()
		<-done
		if want := []int{7, 12, 7, 17, 7, 21, 7, 25}; !slices.Equal(asked, want) {
			t.Errorf("asked %v, want %v", asked, want)
		}
	})
}

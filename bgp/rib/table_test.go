package rib

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// TestRefusals: bad configurations are refused with a word about what is wrong.
func TestRefusals(t *testing.T) {
	id := ip("10.0.0.1")
	for _, x := range []struct {
		c    Config
		want string
	}{
		{Config{RouterID: id}, "AS"},
		{Config{AS: 1}, "RouterID"},
		{Config{AS: 1, RouterID: ip("::1")}, "RouterID"},
		{Config{AS: 1, RouterID: ip("0.0.0.0")}, "RouterID"},
		{Config{AS: 1, RouterID: id, ClusterID: ip("::1")}, "ClusterID"},
		{Config{AS: 1, RouterID: id, Multipath: 256}, "Multipath"},
		{Config{AS: 1, RouterID: id, Multipath: -1}, "Multipath"},
	} {
		if _, err := New(x.c); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v", x.c, err)
		}
	}
	tab, err := New(Config{AS: 1, RouterID: id})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []PeerConfig{{}, {AS: 1, Limits: map[wire.Family]PrefixLimit{wire.IPv6Unicast: {Maximum: -1}}}} {
		if _, err := tab.NewIn(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	if err := tab.Originate(LocalPath{}); err == nil {
		t.Error("originated no prefix")
	}
	if tab.Withdraw(netip.Prefix{}, 0) || tab.Lookup(netip.Prefix{}) != nil || tab.Lookup(pfx("1.0.0.0/8")) != nil {
		t.Error("found what is not there")
	}
}

// TestAfterClose: what is closed does nothing any more.
func TestAfterClose(t *testing.T) {
	tab, ins := benchTable(t, 2)
	outs := openAll(t, ins)
	w := tab.Watch(WatchConfig{})
	feed(ins[0], bodies(10, 10, 1))
	for range 2 {
		ins[0].Close()
		outs[0].Close()
		w.Close()
	}
	feed(ins[0], bodies(10, 10, 1))
	ins[0].Drop(wire.IPv4Unicast)
	ins[0].MarkStale(wire.IPv4Unicast)
	ins[0].TreatAsWithdraw(parsed(t, bodies(10, 10, 1)[0]))
	outs[0].Refresh(wire.IPv4Unicast, true)
	if n := outs[0].Fill(make([]byte, 4096)); n != 0 {
		t.Errorf("a closed Out yields %d octets", n)
	}
	if n := w.Next(make([]Change, 1)); n != 0 {
		t.Error("a closed watcher yields changes")
	}
	if _, err := ins[0].NewOut(OutConfig{}); err == nil {
		t.Error("a closed peer opens a session")
	}
	if outs[0].Advertised(prefix4(0)) != nil {
		t.Error("a closed Out advertises")
	}
	if s := tab.Stats(); s.Paths != 0 || s.Peers != 1 {
		t.Errorf("left over: %+v", s)
	}
}

// TestCloseAmidUpdate: a long UPDATE lets the mutex go, and the peer may be closed meanwhile: what is left of
// the UPDATE withdraws nothing from the peer that has its number then.
func TestCloseAmidUpdate(t *testing.T) {
	tab, ins := benchTable(t, 1)
	ins[0].Close()
	next, err := tab.NewIn(PeerConfig{Addr: ip("10.0.3.1"), AS: 65000, RouterID: ip("10.0.3.1")})
	if err != nil || next.no != ins[0].no {
		t.Fatal(err, next.no, ins[0].no)
	}
	body := bodies(10, 10, 1)[0]
	feed(next, [][]byte{body})
	u := parsed(t, body)
	tab.mu.Lock()
	ins[0].refuse(&u.NLRI, 0, ReasonMalformed)
	u.Withdrawn, u.NLRI = u.NLRI, wire.List{}
	ins[0].unreach(u)
	tab.mu.Unlock()
	if c := next.Counters(wire.IPv4Unicast); c.Paths != 10 {
		t.Errorf("%d paths are left of 10", c.Paths)
	}
}

// TestExpireAfterReset: the end of a refresh lets the mutex go, and Configure may take the limit away meanwhile.
func TestExpireAfterReset(t *testing.T) {
	m := limiter{PrefixLimit: PrefixLimit{Maximum: 10}}
	n := name{NLRI: wire.NLRI{Prefix: prefix4(1), PathID: 7}}
	m.keep(&n)
	m.refresh++
	m.reset()
	m.expire(keyOfName(&n))
	m.keep(&n)
	m.refresh++
	m.expire(keyOfName(&n))
	if len(m.refused) != 0 || len(m.ofPrefix) != 0 {
		t.Errorf("left over: %v %v", m.refused, m.ofPrefix)
	}
}

// TestManyPaths: a prefix with more paths than a list takes, and a refresh of them.
func TestManyPaths(t *testing.T) {
	_, ins := benchTable(t, 2)
	out, err := ins[1].NewOut(OutConfig{AS4: true, AddPath: wire.Families(wire.IPv4Unicast)})
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(t, out, wire.Families(wire.IPv4Unicast), 65536)
	nlri := func(from, to int) (list []wire.NLRI) {
		for i := from; i < to; i++ {
			list = append(list, wire.NLRI{Prefix: pfx("10.0.0.0/8"), PathID: uint32(i)})
		}
		return list
	}
	lp := wire.PathAttrs{LocalPref: ptr(100)}
	if err := ins[0].Update(reachOf(t, true, lp, via("192.0.2.1"), nlri(0, 600)...)); err != nil {
		t.Fatal(err)
	}
	s.drain()
	if len(s.routes) != 600 {
		t.Errorf("%d paths arrived", len(s.routes))
	}
	_ = ins[0].Update(unreachOf(t, nlri(250, 590)...))
	out.Refresh(wire.IPv4Unicast, false) // makes it restate the prefix
	s.drain()
	if len(s.routes) != 260 {
		t.Errorf("%d paths are left", len(s.routes))
	}
	if err := ins[0].Update(reachOf(t, true, lp, via("192.0.2.2"), nlri(200, 600)...)); err != nil {
		t.Fatal(err)
	}
	s.drain()
	if len(s.routes) != 600 {
		t.Errorf("%d paths arrived", len(s.routes))
	}
	ins[0].Close()
	s.drain()
	if len(s.routes) != 0 {
		t.Errorf("%d paths are left", len(s.routes))
	}
}

// TestLinkLocal: a next hop's link-local address is for us, not for those we send the path to.
func TestLinkLocal(t *testing.T) {
	tab, ins := benchTable(t, 2)
	out := openAll(t, ins[1:])[0]
	s := newSink(t, out, 0, 65536)
	nh := wire.NextHop{Addr: ip("2001:db8::1"), LinkLocal: ip("fe80::9")}
	p := pfx("2001:db8:1::/48")
	u := messageOf(t, false, true, func(b *wire.Builder) []byte {
		a := wire.PathAttrs{LocalPref: ptr(100)}
		b.Reach(nil, wire.IPv6Unicast, a.Append(nil), nh)
		b.Add(wire.NLRI{Prefix: p})
		return b.Finish()
	})
	if err := ins[0].Update(u); err != nil {
		t.Fatal(err)
	}
	s.drain()
	if got := tab.Lookup(p)[0].NextHop; got != nh {
		t.Errorf("next hop is %v", got)
	}
	if got := s.routes[wire.NLRI{Prefix: p}]; got != "via 2001:db8::1, pref 100, originator 10.0.0.0, clusters 10.0.0.1" {
		t.Errorf("reflected: %s", got)
	}
}

// TestSlowReader: a session that never reads costs a bounded backlog, and then a dirty set.
func TestSlowReader(t *testing.T) {
	tab, ins := benchTable(t, 3)
	outs := openAll(t, ins)
	tab.limits.batch, tab.limits.backlog = 8<<10, 16<<10
	buf := make([]byte, 65536)
	for _, o := range outs { // in step before it begins
		for o.Fill(buf) > 0 {
		}
	}
	for i := range 20 { // twenty times everything changes
		feed(ins[0], bodies(4000, 100-10*(i%2), 40))
		for outs[1].Fill(buf) > 0 {
			if b := tab.Stats().Backlog; b > (16+2*8)<<10 {
				t.Fatalf("backlog of %d octets", b)
			}
		}
	}
	if n := outs[2].Counters().Lagged; n != 1 {
		t.Errorf("the slow one lagged %d times", n)
	}
	s := newSink(t, outs[2], 0, 65536)
	s.drain()
	if len(s.routes) != 4000 {
		t.Errorf("%d routes arrived at the slow one", len(s.routes))
	}
	if n := outs[2].Counters().Announced; n > 12000 {
		t.Errorf("the slow one was sent %d routes for 4000", n)
	}
}

// TestConcurrent lets everything run at once, for the race detector.
func TestConcurrent(t *testing.T) {
	tab, ins := benchTable(t, 4)
	list := bodies(500, 50, 10)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i, in := range ins {
		wake := make(chan struct{}, 1)
		wake <- struct{}{}
		out, err := in.NewOut(OutConfig{AS4: true, Notify: func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			buf := make([]byte, 4096)
			for {
				select {
				case <-stop:
					out.Close()
					return
				case <-wake:
					for out.Fill(buf) > 0 {
					}
				}
			}
		})
		wg.Go(func() {
			for range 3 {
				feed(in, list)
				if i == 0 {
					in.Drop(wire.IPv4Unicast)
				}
				in.MarkStale(wire.IPv4Unicast)
				out.Refresh(wire.IPv4Unicast, true)
				_ = in.Counters(wire.IPv4Unicast)
			}
		})
	}
	w := tab.Watch(WatchConfig{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		changes := make([]Change, 16)
		for range 100 {
			w.Next(changes)
		}
		for range tab.All(wire.IPv4Unicast) {
		}
	}()
	<-done
	close(stop)
	wg.Wait()
}

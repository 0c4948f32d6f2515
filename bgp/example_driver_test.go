package bgp_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
)

// lane is a network in which everything takes a millisecond, and its clock.
type lane struct {
	now      time.Time
	queue    []func() // what happens in the next millisecond
	speakers map[netip.Addr]*bgp.Speaker
	order    []netip.Addr
}

// laneEnd is one end of a connection in a lane.
type laneEnd struct {
	n             *lane
	local, remote netip.AddrPort
	other         *laneEnd
}

// laneHost is what a host of a lane has instead of a kernel.
type laneHost struct {
	n    *lane
	addr netip.Addr
}

func (h laneHost) Now() time.Time { return h.n.now }

func (h laneHost) Dial(a *bgp.Attempt) {
	near := &laneEnd{n: h.n, local: netip.AddrPortFrom(h.addr, 40000), remote: a.Remote}
	near.other = &laneEnd{n: h.n, local: near.remote, remote: near.local, other: near}
	h.n.queue = append(h.n.queue, func() {
		near.driver().Dialed(a, near, nil) // nothing arrives before this
		near.other.driver().Accept(near.other)
	})
}

func (h laneHost) Cancel(*bgp.Attempt) {}

func (e *laneEnd) driver() *bgp.Driver        { return e.n.speakers[e.local.Addr()].Driver() }
func (e *laneEnd) LocalAddr() netip.AddrPort  { return e.local }
func (e *laneEnd) RemoteAddr() netip.AddrPort { return e.remote }

func (e *laneEnd) Send(b []byte) {
	e.n.queue = append(e.n.queue, func() {
		e.other.driver().Input(e.other, b) // b is the speaker's again only after Sent
		e.driver().Sent(e, nil)
	})
}

func (e *laneEnd) Close(final []byte, _ time.Duration) {
	e.n.queue = append(e.n.queue, func() {
		e.other.driver().Input(e.other, final)
		e.other.driver().Closed(e.other, nil)
	})
}

// run lets time pass.
func (n *lane) run(d time.Duration) {
	for end := n.now.Add(d); n.now.Before(end); {
		n.now = n.now.Add(time.Millisecond)
		queue := n.queue
		n.queue = nil
		for _, do := range queue { // what arrives comes before what expires
			do()
		}
		for _, a := range n.order {
			d := n.speakers[a].Driver()
			if at := d.Deadline(); !at.IsZero() && !n.now.Before(at) {
				d.Advance(n.now)
			}
		}
	}
}

// Two speakers on one goroutine, under a clock of the caller's.
func ExampleDriver() {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	n := &lane{now: time.Unix(0, 0).UTC(), speakers: map[netip.Addr]*bgp.Speaker{}, order: []netip.Addr{a, b}}
	for _, addr := range n.order {
		s, err := bgp.New(bgp.Config{AS: 65000, RouterID: addr, Transport: laneHost{n, addr}, Random: func() float64 { return 0.5 }})
		if err != nil {
			panic(err)
		}
		n.speakers[addr] = s
		_ = s.Driver().Start()
	}
	_ = n.speakers[a].AddPeer(bgp.PeerConfig{Addr: b})
	_ = n.speakers[b].AddPeer(bgp.PeerConfig{Addr: a, Passive: true})
	_ = n.speakers[a].Originate(rib.LocalPath{Prefix: netip.MustParsePrefix("198.51.100.0/24")})
	routes := n.speakers[b].WatchRoutes(rib.WatchConfig{})

	n.run(time.Second)
	over, cancel := context.WithCancel(context.Background())
	cancel() // Next does not wait
	changes := make([]rib.Change, 16)
	k, _ := routes.Next(over, changes)
	for _, c := range changes[:k] {
		if !c.Converged {
			fmt.Println(n.now.Format("15:04:05"), c.Prefix, "by", c.NextHops())
		}
	}
	// Output: 00:00:01 198.51.100.0/24 by [192.0.2.1]
}

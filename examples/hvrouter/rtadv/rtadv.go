// Package rtadv hears and sends router advertisements on the uplinks of a namespace on which
// neighbours are found: package bgp/unnumbered says which, from what is heard here. To forge
// an advertisement costs nothing, so each leads to a neighbour solicitation, and only who answers that is
// handed on.
package rtadv

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/unnumbered"
	"github.com/hyperfib/hyperfib/ndp"
)

// Heard is an advertisement whose sender has answered for its address.
type Heard struct {
	IfIndex int
	From    netip.Addr // link-local
	MAC     ndp.MAC    // the one that has answered
}

// Uplink is an interface as a router there has it.
type Uplink struct {
	IfIndex int
	MAC     ndp.MAC
	Local   netip.Addr // our link-local address
}

// Lifetime and interval of our advertisements: FRR's, where BGP asks for them. With a lifetime of 0 FRR
// would not take us for a neighbour. Hosts on the link would take us for a default router; between a
// hypervisor and its top-of-rack are none.
const (
	lifetime    = 30 * time.Minute
	maxInterval = 10 * time.Second
)

// mostHeard bounds what waits for the reader. What is beyond is heard again.
const mostHeard = 1024

// packetsPerSecond is what is heard of an interface a second: advertisements, and answers to our
// solicitations. Beyond, nothing is heard of it for half a second.
const packetsPerSecond = 1000

// solicitInterval is how often the routers of an interface are asked to advertise themselves that was over
// packetsPerSecond, since what a router has said by itself may have been missed. It is RTR_SOLICITATION_INTERVAL
// (RFC 4861, Section 10), 4 s, and a little more: no multiple of the half second for which nothing is heard, so that
// answers do not always come in such a time.
const solicitInterval = 4300 * time.Millisecond

// Conn hears and sends. Its methods are safe for concurrent use.
type Conn struct {
	nd         *ndp.Conn // router and neighbour advertisements
	solicited  *ndp.Conn // router solicitations, of advertiser
	advertiser *ndp.Advertiser

	mu      sync.Mutex
	uplinks map[int]*uplink
	heard   map[Heard]bool
	wake    chan struct{} // capacity 1: heard is not empty
}

// uplink is an interface, with who is asked for there.
type uplink struct {
	Uplink
	prober   unnumbered.Prober
	silenced uint64 // how often it was over its limit, when that was looked at last
	missed   bool   // it was since the time before that
}

// newConn returns a Conn without sockets.
func newConn() *Conn {
	return &Conn{uplinks: map[int]*uplink{}, heard: map[Heard]bool{}, wake: make(chan struct{}, 1)}
}

// Open opens a Conn in the namespace at a path, "" for the process's own.
func Open(netNS string) (c *Conn, err error) {
	c = newConn()
	if c.nd, err = ndp.Listen(ndp.Config{NetNS: netNS, Types: []ndp.Type{ndp.TypeRouterAdvertisement, ndp.TypeNeighborAdvertisement}, ReceiveBuffer: 1 << 18}); err != nil {
		return nil, err
	}
	if c.solicited, err = ndp.Listen(ndp.Config{NetNS: netNS, Types: []ndp.Type{ndp.TypeRouterSolicitation}, ReceiveBuffer: 1 << 18}); err != nil {
		c.nd.Close()
		return nil, err
	}
	c.advertiser = ndp.NewAdvertiser(c.solicited)
	return c, nil
}

// Set makes these the uplinks. Routers on those that are new, or have another address or MAC now, are
// asked to advertise themselves.
func (c *Conn) Set(list []Uplink) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := map[int]*uplink{}
	for _, u := range list {
		if old := c.uplinks[u.IfIndex]; old != nil && old.Uplink == u {
			now[u.IfIndex] = old
			continue
		}
		now[u.IfIndex] = &uplink{Uplink: u, silenced: c.nd.Silenced(u.IfIndex)}
		if err := c.nd.Add(u.IfIndex); err != nil {
			delete(now, u.IfIndex) // it has gone meanwhile: its event is on its way
			continue
		}
		c.nd.Limit(u.IfIndex, packetsPerSecond)
		_ = c.advertiser.Set(u.IfIndex, ndp.Router{MAC: u.MAC, Source: u.Local,
			Advertisement: ndp.RouterAdvertisement{Lifetime: lifetime}, Timing: ndp.Timing{MaxInterval: maxInterval}})
		c.solicit(u)
	}
	for index := range c.uplinks {
		if _, ok := now[index]; !ok {
			c.nd.Remove(index)
			c.advertiser.Drop(index)
		}
	}
	c.uplinks = now
}

// Solicit asks the routers of an uplink to advertise themselves.
func (c *Conn) Solicit(ifindex int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u := c.uplinks[ifindex]; u != nil {
		c.solicit(u.Uplink)
		c.advertiser.Restart(ifindex)
	}
}

// solicit sends a router solicitation (RFC 4861, Section 6.3.7).
func (c *Conn) solicit(u Uplink) {
	body, err := ndp.RouterSolicitation{SourceLinkAddr: u.MAC}.AppendBinary(nil)
	if err == nil {
		_, _ = c.nd.Write([]ndp.Packet{{IfIndex: u.IfIndex, SrcMAC: u.MAC, DstMAC: ndp.GroupMAC(ndp.AllRouters), Src: u.Local, Dst: ndp.AllRouters, HopLimit: 255, Body: body}})
	}
}

// Run hears and sends until ctx ends, and closes the Conn.
func (c *Conn) Run(ctx context.Context) error {
	var sending sync.WaitGroup
	defer sending.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer c.solicited.Close()
	stop := context.AfterFunc(ctx, func() { c.nd.Close() })
	defer stop()
	sending.Go(func() { _ = c.advertiser.Run(ctx) })
	sending.Go(func() { c.askAgain(ctx, c.nd.Silenced, c.solicit) })
	buf := make([]ndp.Packet, ndp.Batch)
	var ask []ndp.Packet
	for {
		n, err := c.nd.Read(buf)
		if errors.Is(err, os.ErrClosed) && ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		now := time.Now()
		ask = ask[:0]
		for i := range buf[:n] {
			if q, ok := c.take(now, &buf[i]); ok {
				ask = append(ask, q)
			}
		}
		_, _ = c.nd.Write(ask) // what is lost is asked again after the next advertisement
	}
}

// askAgain solicits the routers of those interfaces of which something was missed, while that is so and once
// afterwards. Silenced returns how often nothing was heard of an interface for a while.
func (c *Conn) askAgain(ctx context.Context, silenced func(ifindex int) uint64, solicit func(Uplink)) {
	tick := time.NewTicker(solicitInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		for index, u := range c.uplinks {
			before, n := u.missed, silenced(index)
			u.silenced, u.missed = n, n != u.silenced
			if before || u.missed {
				solicit(u.Uplink)
			}
		}
		c.mu.Unlock()
	}
}

// take takes a packet, and returns what is to be asked because of it, if ok.
func (c *Conn) take(now time.Time, p *ndp.Packet) (ask ndp.Packet, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.uplinks[p.IfIndex]
	if u == nil || u.MAC == p.SrcMAC || len(p.Body) == 0 {
		return ndp.Packet{}, false
	}
	switch ndp.Type(p.Body[0]) {
	case ndp.TypeRouterAdvertisement:
		if _, err := ndp.ParseRouterAdvertisement(p); err == nil && p.Src != u.Local && u.prober.Advertised(now, p.Src) {
			return u.question(p.Src)
		}
	case ndp.TypeNeighborAdvertisement:
		m, err := ndp.ParseNeighborAdvertisement(p)
		if err != nil || !m.Solicited || p.Dst != u.Local || len(c.heard) >= mostHeard || !u.prober.Answered(now, m.Target) {
			break
		}
		c.heard[Heard{p.IfIndex, m.Target, p.SrcMAC}] = true
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	return ndp.Packet{}, false
}

// question returns a neighbour solicitation for an address (RFC 4861, Section 7.2.2). It goes to the solicited-node
// group, and not to the MAC of the advertisement, so that whoever has the address hears it, whatever somebody else
// advertises in its name.
func (u *uplink) question(target netip.Addr) (ndp.Packet, bool) {
	body, err := ndp.NeighborSolicitation{Target: target, SourceLinkAddr: u.MAC}.AppendBinary(nil)
	group := ndp.SolicitedNode(target)
	return ndp.Packet{IfIndex: u.IfIndex, SrcMAC: u.MAC, DstMAC: ndp.GroupMAC(group), Src: u.Local, Dst: group, HopLimit: 255, Body: body}, err == nil
}

// Next waits for advertisements, which are coalesced. It returns the error of ctx when that ends.
func (c *Conn) Next(ctx context.Context) (list []Heard, err error) {
	select {
	case <-c.wake:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for h := range c.heard {
		list = append(list, h)
	}
	clear(c.heard)
	return list, nil
}

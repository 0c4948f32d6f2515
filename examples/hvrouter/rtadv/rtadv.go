// Package rtadv hears and sends router advertisements on the uplinks of a namespace on which
// neighbours are found: package bgp/unnumbered says which, from what is heard here.
package rtadv

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/ndp"
)

// Heard is an advertisement.
type Heard struct {
	IfIndex int
	From    netip.Addr // link-local
	MAC     ndp.MAC
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

// packetsPerSecond is what is heard of an interface a second.
const packetsPerSecond = 100

// Conn hears and sends. Its methods are safe for concurrent use.
type Conn struct {
	nd         *ndp.Conn // router advertisements
	solicited  *ndp.Conn // router solicitations, of advertiser
	advertiser *ndp.Advertiser

	mu      sync.Mutex
	uplinks map[int]Uplink
	heard   map[Heard]bool
	wake    chan struct{} // capacity 1: heard is not empty
}

// Open opens a Conn in the namespace at a path, "" for the process's own.
func Open(netNS string) (c *Conn, err error) {
	c = &Conn{uplinks: map[int]Uplink{}, heard: map[Heard]bool{}, wake: make(chan struct{}, 1)}
	if c.nd, err = ndp.Listen(ndp.Config{NetNS: netNS, Types: []ndp.Type{ndp.TypeRouterAdvertisement}, ReceiveBuffer: 1 << 18}); err != nil {
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
	now := map[int]Uplink{}
	for _, u := range list {
		now[u.IfIndex] = u
		if c.uplinks[u.IfIndex] == u {
			continue
		}
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
	if u, ok := c.uplinks[ifindex]; ok {
		c.solicit(u)
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
	buf := make([]ndp.Packet, ndp.Batch)
	for {
		n, err := c.nd.Read(buf)
		if errors.Is(err, os.ErrClosed) && ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		for i := range buf[:n] {
			c.take(&buf[i])
		}
	}
}

func (c *Conn) take(p *ndp.Packet) {
	if _, err := ndp.ParseRouterAdvertisement(p); err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if u, ok := c.uplinks[p.IfIndex]; !ok || u.MAC == p.SrcMAC || len(c.heard) >= mostHeard {
		return
	}
	c.heard[Heard{p.IfIndex, p.Src, p.SrcMAC}] = true
	select {
	case c.wake <- struct{}{}:
	default:
	}
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

package edge

import (
	"context"
	"net"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/dhcp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// lease serves the guest's address over DHCP, if the configuration says so.
func (e *Edge) lease(c *config.Config, p guest.Port) {
	l, ok := Lease(c, p.Guest)
	if !ok {
		e.noLease(p.Link.IfIndex)
		return
	}
	if e.dhcp == nil && !e.startDHCP() {
		return
	}
	if len(c.Edge.DHCP.Relay) > 0 && p.MAC.IsZero() {
		e.log.Error("DHCP is not relayed for a guest without mac: a server would give it any number of addresses", "event", "dhcp-error", "guest", p.Name)
	}
	e.dhcp.Set(p.Link.IfIndex, p.Interface, l)
	if err := e.dhcp.SetRelay(relay(c)); err != nil {
		e.log.Error("DHCP relay", "event", "dhcp-error", "err", err)
	}
}

// noLease serves nothing on an interface. Without any, the port is left to others.
func (e *Edge) noLease(link int) {
	if e.dhcp == nil {
		return
	}
	if e.dhcp.Delete(link); e.dhcp.Guests() == 0 {
		e.dhcpStop()
		e.dhcp, e.dhcpStop = nil, nil
	}
}

func relay(c *config.Config) (r dhcp.Relay) {
	for _, a := range c.Edge.DHCP.Relay {
		r.Servers, r.Address = append(r.Servers, a.Addr), c.Loopback.Address.Addr()
	}
	return r
}

func (e *Edge) startDHCP() bool {
	server, err := dhcp.Listen(dhcp.Config{NetNS: e.config.NetNS, Upstream: e.config.Underlay,
		Device: e.config.VRF, UpstreamDevice: e.config.UnderlayVRF, Report: e.dhcpEvent})
	if err != nil {
		e.log.Error("DHCP", "event", "dhcp-error", "err", err)
		return false
	}
	ctx, cancel := context.WithCancel(e.ctx)
	e.dhcp, e.dhcpStop = server, cancel
	e.bursts.Go(func() {
		if err := server.Run(ctx); err != nil {
			e.log.Error("DHCP ended", "event", "dhcp-error", "err", err)
		}
	})
	return true
}

func (e *Edge) dhcpEvent(d dhcp.Event) {
	switch d.Kind {
	case dhcp.Declined:
		e.log.Warn("a guest found its address in use by somebody else", "event", "dhcp-declined", "interface", d.Interface, "address", d.Address, "count", d.Count)
	case dhcp.Unasked:
		e.log.Warn("an answer of a DHCP server was dropped: no guest has asked for it", "event", "dhcp-unasked", "server", d.Address, "count", d.Count)
	case dhcp.Stranger:
		e.log.Warn("an answer was dropped that is from none of edge.dhcp.relay", "event", "dhcp-stranger", "server", d.Address, "count", d.Count)
	case dhcp.Astray:
		e.log.Warn("an answer of a DHCP server was dropped: it came over an interface that does not lead there, or not from port 67", "event", "dhcp-astray", "server", d.Address, "count", d.Count)
	}
}

// Lease is what DHCP gives a guest; ok is false if it gives nothing.
func Lease(c *config.Config, g config.Guest) (l dhcp.Lease, ok bool) {
	d := c.Edge.DHCP
	if !d.On || len(g.IPv4) == 0 {
		return l, false
	}
	l = dhcp.Lease{Address: g.IPv4[0].Addr, Gateway: domain.Gateway4(c, g), Length: int(c.Edge.PrefixLength4),
		Time: d.Lease.Duration, HostName: g.Name, MTU: uint16(min(c.Edge.RAFor(g).MTU, 65535))}
	if d.Host {
		l.Length = 32
	}
	if !g.MAC.IsZero() {
		l.MAC = net.HardwareAddr(g.MAC[:])
	}
	for _, a := range g.IPv4[1:] {
		l.Others = append(l.Others, a.Addr)
	}
	for _, a := range d.DNS {
		l.DNS = append(l.DNS, a.Addr)
	}
	return l, true
}

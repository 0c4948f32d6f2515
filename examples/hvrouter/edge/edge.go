// Package edge is what the daemon does towards its guests besides routes: their
// interfaces' link state, router advertisements, DHCP, announcements of the
// gateway, and the overlays that join guests of several hypervisors.
//
// An [Edge] keeps no state of its own that counts: it is told what is there
// ([Edge.Arrive], [Edge.Serve], [Edge.Leave], [Edge.Overlays]) and hands it to the
// packages that serve many interfaces from one goroutine each.
package edge

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/dhcp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/handover"
	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/ndp"
	"github.com/hyperfib/hyperfib/vxlan"
)

// gateway6 is the hypervisor's link-local address on every guest interface.
var gateway6 = netip.MustParseAddr("fe80::1")

// Edge serves all guests of one hypervisor. Its methods are called by one
// goroutine; Run may run in another.
type Edge struct {
	config Config
	log    *slog.Logger
	links  *linkSetter
	ra     *ndp.Advertiser
	nd     *ndp.Conn // of ra and proxy
	arp    *arp.Conn // of responder
	fdb    *vxlan.FDB
	// fdbEnded has the result of fdb's Run.
	fdbEnded chan error

	responder *arp.Responder
	proxy     *ndp.Responder
	finder    *finder
	// proxied are the interfaces on which the kernel answers ARP for others, or has since the Edge
	// was opened, by name, and when that ended: what guests asked before may wait in the responder's
	// socket, and has its answer. Zero: it has not ended.
	proxied map[string]time.Time

	ctx       context.Context // of Run, for announcements
	stop      context.CancelFunc
	once      sync.Once      // for close
	bursts    sync.WaitGroup // announcements, and fdb
	dhcp      *dhcp.Server   // nil while no guest is served
	dhcpStop  context.CancelFunc
	overlays  map[string]standing
	failures  map[string]string // why overlays cannot be made, as it was logged
	kept      *keeper
	displaced displaced
	flushes   chan struct{} // capacity 1: forwarding entries are to be written
}

// Config says where an [Edge] works.
type Config struct {
	// NetNS is the path of the namespace of guests' interfaces and of the bridges of
	// overlays; "" is the process's own.
	NetNS string
	// Underlay is the path of the namespace of the loopback address, where VXLAN
	// packets and what a DHCP relay says travel; "" is NetNS.
	Underlay string
	// SocketStore keeps the sockets that guests' questions come in by while the daemon
	// restarts. It belongs to the Edge from Open on. Required; see [handover.Open] for one
	// that is nobody.
	SocketStore *handover.Client
	// VRF is the device that guests' interfaces belong to, UnderlayVRF that of the
	// loopback address; "" is none.
	VRF, UnderlayVRF string
	// AuditRound is how often forwarding entries are read again, as in [vxlan.Config].
	AuditRound time.Duration
	// Differed takes what that has found and no notification had told, before it is repaired or after. It is
	// called by Run, and should return when its context ends. Required.
	Differed func(context.Context, vxlan.Event)
	// Repaired takes what another program had changed of an overlay's settings and guests' entries, as Differed does. Required.
	Repaired func(context.Context, Repair)
	// Log takes errors that concern one guest. Required.
	Log *slog.Logger
}

// Open opens the sockets. It needs CAP_NET_ADMIN and CAP_NET_RAW.
func Open(c Config) (*Edge, error) {
	e := &Edge{config: c, log: c.Log, overlays: map[string]standing{}, failures: map[string]string{}, flushes: make(chan struct{}, 1), fdbEnded: make(chan error, 1)}
	e.ctx, e.stop = context.WithCancel(context.Background())
	if err := e.open(); err != nil {
		e.Close()
		return nil, err
	}
	shares := ndp.Share(e.nd, 2)
	e.ra, e.responder, e.proxy = ndp.NewAdvertiser(shares[0]), arp.NewResponder(e.arp), ndp.NewResponder(shares[1])
	return e, nil
}

func (e *Edge) open() (err error) {
	if e.arp, err = arp.Listen(arp.Config{NetNS: e.config.NetNS, SocketStore: e.config.SocketStore.Of(kind("arp", e.config.NetNS))}); err != nil {
		return err
	}
	types := []ndp.Type{ndp.TypeRouterSolicitation, ndp.TypeNeighborSolicitation}
	if e.nd, err = ndp.Listen(ndp.Config{NetNS: e.config.NetNS, Types: types, SocketStore: e.config.SocketStore.Of(kind("ndp", e.config.NetNS))}); err != nil {
		return err
	}
	if e.finder, err = openFinder(e.config.NetNS); err != nil {
		return err
	}
	if e.links, err = openLinks(e.config.NetNS); err != nil {
		return err
	}
	if e.kept, err = openKeeper(e.config.NetNS, e.links); err != nil {
		return err
	}
	e.kept.round, e.kept.repaired, e.kept.failed = max(cmp.Or(e.config.AuditRound, 30*time.Second), 0), e.config.Repaired, e.refused
	if err = netns.Do(e.config.NetNS, func() error { e.proxied = proxying(); return nil }); err != nil {
		return err
	}
	return e.startFDB()
}

// Close closes the sockets of an Edge that is not run.
func (e *Edge) Close() { e.once.Do(e.close) }

func (e *Edge) close() {
	e.stop()
	e.bursts.Wait()
	e.config.SocketStore.Close() // first: it uses the descriptors of those below
	if e.arp != nil {
		e.arp.Close()
	}
	if e.nd != nil {
		e.nd.Close()
	}
	if e.finder != nil {
		e.finder.close()
	}
	if e.kept != nil {
		e.kept.close()
	}
	if e.links != nil {
		e.links.close()
	}
}

// Run serves until ctx ends, closes everything and says nothing to the guests: a
// restart is not the end of their router. Guests that are served when it begins have
// answers to what they asked while no daemon was there.
func (e *Edge) Run(ctx context.Context) error {
	defer e.Close()
	failed := make(chan error, 8)
	ctx, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	nd := func(ctx context.Context) error { return ndp.Serve(ctx, e.nd, e.ra, e.proxy) }
	for _, run := range []func(context.Context) error{nd, e.logRepairs, e.config.SocketStore.Run, e.kept.Run,
		e.finder.arp.Run, e.finder.ndp.Run, e.finder.follow4, e.finder.follow6} {
		others.Go(func() {
			failed <- run(ctx)
			cancel()
		})
	}
	if err := e.responder.Run(ctx); err != nil {
		return err
	}
	return <-failed
}

// Arrive brings the guest's interface up, with the gateway's MAC if there is one.
func (e *Edge) Arrive(c *config.Config, p guest.Port) {
	mac := c.Edge.MAC
	if err := e.links.prepare(p.Link, mac); err != nil {
		e.log.Error("guest's interface", "event", "guest-error", "guest", p.Name, "interface", p.Interface, "err", err)
	}
}

// gatewayMAC is the gateway's Ethernet address on the guest's link.
func gatewayMAC(c *config.Config, p guest.Port) [6]byte {
	if !c.Edge.MAC.IsZero() {
		return c.Edge.MAC
	}
	return p.Link.MAC
}

// Reannounce says again what a guest is told when it arrives: its interface has just got its
// carrier, and whatever was said before was lost.
func (e *Edge) Reannounce(c *config.Config, p guest.Port) {
	e.ra.Restart(p.Link.IfIndex)
	e.announce(c, p)
}

// Serve tells guests about their router, answers their questions, and makes them
// forget an older router.
func (e *Edge) Serve(c *config.Config, ports ...guest.Port) {
	for _, p := range ports {
		e.serve(c, p)
	}
	e.announce(c, ports...)
}

func (e *Edge) serve(c *config.Config, p guest.Port) {
	mac := gatewayMAC(c, p)
	if err := e.advertise(c, p, mac); err != nil {
		e.log.Error("router advertisement", "event", "guest-error", "guest", p.Name, "err", err)
	}
	if err := e.answer(c, p, mac); err != nil {
		e.log.Error("answering the guest", "event", "guest-error", "guest", p.Name, "err", err)
	}
	if err := e.finder.set(c, p, mac); err != nil {
		e.log.Error("finding addresses", "event", "guest-error", "guest", p.Name, "err", err)
	}
	e.limit(p)
	e.lease(c, p)
}

// heardRate is how many questions a second a guest may ask: twice as many as it may be answered,
// since some have no answer.
func heardRate(p guest.Port) float64 { return 2 * float64(cmp.Or(p.Rate, arp.DefaultRate)) }

// limit bounds what a guest may ask. Beyond, it is not heard, which costs nothing.
func (e *Edge) limit(p guest.Port) {
	limit := heardRate(p)
	e.arp.Limit(p.Link.IfIndex, limit)
	e.nd.Limit(p.Link.IfIndex, limit)
	e.finder.limit(p.Link.IfIndex, limit)
}

// Leave ends what was served; gone tells that the interface does not exist any
// more.
func (e *Edge) Leave(p guest.Port, gone bool) {
	if gone {
		e.ra.Drop(p.Link.IfIndex)
	} else {
		e.ra.Remove(p.Link.IfIndex)
	}
	e.responder.RemoveGuest(p.Link.IfIndex)
	e.proxy.RemoveGuest(p.Link.IfIndex)
	delete(e.proxied, p.Interface)
	e.finder.remove(p.Link.IfIndex)
	e.noLease(p.Link.IfIndex)
}

// announce claims the gateway's addresses on guests' links: after a migration
// a guest may remember another hypervisor's MAC. It returns at once.
func (e *Edge) announce(c *config.Config, ports ...guest.Port) {
	var v4 []arp.Frame
	var v6 []ndp.Packet
	for _, p := range ports {
		mac := gatewayMAC(c, p)
		for _, a := range domain.GuestAddresses(c, p.Guest) {
			if addr := a.Prefix.Addr(); addr.Is4() {
				v4 = append(v4, arp.NewAnnouncement(arp.MAC(mac), addr).On(p.Link.IfIndex))
			} else {
				v6 = append(v6, ndp.Unsolicited(p.Link.IfIndex, ndp.MAC(mac), addr, true))
			}
		}
	}
	e.bursts.Go(func() { e.said(arp.AnnounceAll(e.ctx, e.arp, v4)) })
	e.bursts.Go(func() { e.said(ndp.AnnounceAll(e.ctx, e.nd, v6)) })
}

func (e *Edge) said(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		e.log.Debug("announcement", "event", "guest-error", "err", err)
	}
}

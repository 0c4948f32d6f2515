// Package edge is the lab's edge router: a small BGP router put together from the
// packages bgp, bfd, fib and ndp, without hvrouter. It announces the default routes,
// installs what it hears, and drops paths that BFD or a link says are dead. Where the lab's
// fabrics are routed it is the top-of-rack routers and spines, too: it speaks eBGP over
// link-local addresses, and passes on what it hears. A spine that has a reflector, too, is its client: it announces
// to it what it hears from the racks, with its own address as next hop, and to the racks what the reflector says.
package edge

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/ndp"
)

// session is one BGP session and the BFD session beside it.
type session struct {
	device      string
	local, peer netip.Addr
	watch       string        // on, echo or off: how BFD watches the peer
	restart     time.Duration // how long the peer keeps our routes while we are away
}

func (s session) family() wire.Family {
	if s.peer.Is4() {
		return wire.IPv4Unicast
	}
	return wire.IPv6Unicast
}

// unnumbered reports whether the session is one of eBGP over link-local addresses.
func (s session) unnumbered() bool { return s.peer.IsLinkLocalUnicast() }

// peerKey names a BGP session as the speaker does.
func peerKey(peer, local netip.Addr, device string) bgp.PeerKey {
	if peer.IsLinkLocalUnicast() {
		return bgp.PeerKey{Addr: peer.WithZone(device)}
	}
	return bgp.PeerKey{Addr: peer, Local: local}
}

// router is the running program.
type router struct {
	log      *slog.Logger
	table    uint32
	hold     time.Duration
	sessions []session
	also     []also
	// community marks our routes, and what we install; 0 is all.
	community wire.Community
	prefixes  []netip.Prefix
	devices   map[netip.Addr]string // of gateways, once found
	speaker   *bgp.Speaker
	bfd       bfd.Service
	fib       *fib.FIB
	links     map[string]int
	transit   bool       // pass on what external peers announce
	announced rib.Policy // to external peers, at the start

	interval   time.Duration // of BFD
	multiplier uint8
	advertiser *ndp.Advertiser
}

// Main runs the edge router until it is told to stop.
//
//	edge -as 65000 -router-id 0.0.0.3 -default -interval 100ms -status SOCKET DEVICE,LOCAL,PEER,BFD,RESTART-TIME...
//
// A session with a link-local peer is one of eBGP, without numbers. SIGUSR1 drains the router,
// SIGUSR2 takes that back: what it announces has the community GRACEFUL_SHUTDOWN (RFC 8326, Section 4), and
// if it ends drained it takes leave of its peers. Otherwise they keep its routes, as it does.
func Main(args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, log, args); err != nil {
		log.Error("edge router ended", "err", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, log *slog.Logger, args []string) error {
	fs := flag.NewFlagSet("edge", flag.ContinueOnError)
	as := fs.Uint("as", 65000, "autonomous system")
	id := fs.String("router-id", "", "BGP identifier")
	table := fs.Uint("table", 90, "kernel table")
	multiplier := fs.Uint("multiplier", 5, "BFD multiplier")
	defaults := fs.Bool("default", false, "announce the default routes")
	socket := fs.String("bfd-socket", "", "have BFD in a process of its own, at this unix socket")
	bulk := fs.Int("bulk", 0, "announce this many prefixes of 10.0.0.0/8 besides")
	key := fs.String("md5-key", "", "TCP MD5 key of all sessions")
	r := &router{log: log}
	fs.DurationVar(&r.interval, "interval", 100*time.Millisecond, "BFD interval")
	fs.BoolVar(&r.transit, "transit", false, "pass on what external peers announce")
	fs.DurationVar(&r.hold, "hold", 90*time.Second, "hold time to offer")
	fs.Func("community", "mark what is announced, and install only what has it", func(s string) (err error) {
		r.community, err = wire.ParseCommunity(s)
		return err
	})
	fs.Func("also", "announce another next hop: `DEVICE,HOP,COMMUNITY,PROBE-DEVICE,PROBE`", func(s string) error {
		a, err := parseAlso(s)
		r.also = append(r.also, a)
		return err
	})
	status := fs.String("status", "", "unix socket that tells the sessions as JSON")
	if err := fs.Parse(args); err != nil {
		return err
	}
	r.table, r.devices, r.multiplier = uint32(*table), map[netip.Addr]string{}, uint8(*multiplier)
	if err := r.parse(fs.Args()); err != nil {
		return err
	}
	routerID, err := netip.ParseAddr(*id)
	if err != nil {
		return err
	}
	if *defaults {
		r.prefixes = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	}
	for i := range *bulk {
		r.prefixes = append(r.prefixes, plan.Bulk(i))
	}
	if r.fib, err = fib.New(fib.Config{Tables: []uint32{r.table}}); err != nil {
		return err
	}
	if r.bfd, err = service(log, *socket); err != nil {
		return err
	}
	return r.run(ctx, *status, func(restarting bool) error {
		if err := r.open(uint32(*as), routerID, restarting); err != nil {
			return err
		}
		for _, s := range r.sessions {
			if err := r.add(s, *key); err != nil {
				return err
			}
		}
		for _, a := range r.also {
			if a.probe.device == "" {
				continue
			}
			if err := r.watch(a.probe); err != nil {
				return err
			}
		}
		return nil
	})
}

// service has BFD sessions in this process, or in the one at a socket, which is started if
// there is none and survives us.
func service(log *slog.Logger, socket string) (bfd.Service, error) {
	if socket == "" {
		return bfd.NewServer(bfd.Config{})
	}
	return bfd.NewClient(bfd.ClientConfig{Socket: socket, Name: "edge", Command: []string{"/proc/self/exe", "hvrouter", "bfd", "-socket", socket},
		Notice: func(err error) { log.Warn("BFD process", "err", err) }})
}

func (r *router) parse(args []string) error {
	for _, arg := range args {
		word := strings.Split(arg, ",")
		if len(word) != 5 {
			return fmt.Errorf("%s: want DEVICE,LOCAL,PEER,BFD,RESTART-TIME", arg)
		}
		l, err := netip.ParseAddr(word[1])
		p, err2 := netip.ParseAddr(word[2])
		restart, err3 := time.ParseDuration(word[4])
		if err := errors.Join(err, err2, err3); err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
		r.sessions = append(r.sessions, session{word[0], l, p, word[3], restart})
	}
	return nil
}

// open makes the speaker; restarting says that the kernel has what a process before this
// one has left.
func (r *router) open(as uint32, id netip.Addr, restarting bool) (err error) {
	restart := bgp.GracefulRestart{Enabled: true, Restarting: restarting, ForwardingPreserved: restarting}
	c := bgp.Config{AS: as, RouterID: id, GracefulRestart: restart}
	r.announced = r.exports(false)
	for _, s := range r.sessions {
		if s.unnumbered() { // found by their advertisements, hypervisors are those who dial
			c.Listen = []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), 0)}
		}
	}
	if r.speaker, err = bgp.New(c); err != nil {
		return err
	}
	return r.announce()
}

// linkLocal is our link-local address on an interface.
func linkLocal(device string) (ll netip.Addr) {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return ll
	}
	addrs, _ := link.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			return p.Addr()
		}
	}
	return ll
}

func (r *router) add(s session, key string) error {
	if s.unnumbered() {
		if err := r.speaker.AddPeer(r.external(s, r.announced)); err != nil || s.watch == "off" {
			return err
		}
		return r.watch(s)
	}
	families := []wire.Family{s.family()}
	c := bgp.PeerConfig{Addr: s.peer, LocalAddr: s.local, Interface: s.device, Families: families, Import: r.mine(), Export: r.export(s),
		AddPathReceive: families, TTLSecurity: true, LinkLocal: linkLocal(s.device), MD5Key: key,
		HoldTime: r.hold, RestartTime: s.restart, NextHopSelf: r.transit}
	if len(r.also) > 0 {
		c.AddPathSend = families
	}
	if err := r.speaker.AddPeer(c); err != nil || s.watch == "off" {
		return err
	}
	return r.watch(s)
}

// watch adds the BFD session beside a BGP session, or a probe.
func (r *router) watch(s session) error {
	return r.bfd.Add(bfd.SessionConfig{
		Key:          bfd.Key{Peer: s.peer, Local: s.local, Interface: s.device},
		DesiredMinTx: r.interval, RequiredMinRx: r.interval, Multiplier: r.multiplier, Echo: s.watch == "echo"})
}

func (r *router) run(ctx context.Context, status string, open func(restarting bool) error) error {
	g, ctx := errgroup.WithContext(ctx)
	kernel := r.fib.Watch(fib.WatchOptions{}) // before Run, or what happens at once is missed
	g.Go(func() error { return r.fib.Run(ctx) })
	links := r.readLinks(ctx, kernel)
	left, err := r.fib.Adopted(ctx)
	if err := errors.Join(links, err); err != nil {
		return err
	}
	if err := open(left); err != nil {
		return err
	}
	r.speaker.InventoryComplete()
	if err := r.advertise(); err != nil {
		return err
	}
	go r.follow(ctx, kernel)
	g.Go(func() error { return r.bfd.Run(ctx) })
	g.Go(func() error { return r.speak(ctx) })
	g.Go(func() error { return r.install(ctx) })
	g.Go(func() error { return r.paths(ctx) })
	g.Go(func() error { return r.advertiser.Run(ctx) })
	if status != "" {
		g.Go(func() error { return r.tell(ctx, status) })
	}
	err = g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Command unnumbered makes a host a router between its top-of-rack routers, on links that have no
// address but a link-local one: eBGP and BFD with each of them, IPv4 routes by IPv6 next hops
// (RFC 8950, Section 4), in the kernel, shared by the link bandwidth that each path has. A router whose BFD
// session fails is taken out of all routes by one message to the kernel.
//
//	unnumbered -as 65000 -router-id 192.0.2.1 -announce 192.0.2.1/32 fe80::1%eth0 fe80::1%eth1
//
// The routers are named by their addresses; package ndp hears them in router advertisements.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/fib"
)

// options are what the command line says.
type options struct {
	netNS    string         // path of the network namespace, "" for our own
	as       uint32         // our AS number; the routers have others
	routerID netip.Addr     // our BGP identifier
	announce []netip.Prefix // our prefixes
	routers  []netip.Addr   // link-local, with their interfaces as zones
	table    uint32         // routing table, 0 for main
	bfd      time.Duration  // interval of BFD, three of which are the detection time; 0 for none
	synced   func(*router)  // called when the routers have said everything; nil for none
}

func main() {
	var o options
	as := flag.Uint("as", 65000, "our `AS` number")
	table := flag.Uint("table", 0, "routing table `id`, 0 for main")
	announce := flag.String("announce", "", "`prefixes` to announce, with commas between them")
	flag.StringVar(&o.netNS, "netns", "", "network namespace `path`")
	flag.TextVar(&o.routerID, "router-id", netip.MustParseAddr("192.0.2.1"), "our BGP identifier")
	flag.DurationVar(&o.bfd, "bfd", 100*time.Millisecond, "`interval` of BFD, 0 for none")
	flag.Parse()
	o.as, o.table = uint32(*as), uint32(*table)
	for s := range strings.FieldsFuncSeq(*announce, func(r rune) bool { return r == ',' }) {
		p, err := netip.ParsePrefix(s)
		exitOn(err)
		o.announce = append(o.announce, p)
	}
	for _, s := range flag.Args() {
		a, err := netip.ParseAddr(s)
		if exitOn(err); a.Zone() == "" {
			exitOn(fmt.Errorf("%v needs its interface, such as %v%%eth0", a, a))
		}
		o.routers = append(o.routers, a)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exitOn(run(ctx, o))
}

func exitOn(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// router are the parts at work.
type router struct {
	options
	speaker *bgp.Speaker
	service *bfd.Server
	kernel  *fib.FIB
}

// run works until ctx ends or a part fails. The routes stay in the kernel, for the next run.
func run(ctx context.Context, o options) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &router{options: o}
	if r.kernel, err = fib.New(fib.Config{NetNS: o.netNS}); err != nil {
		return err
	}
	if r.service, err = bfd.NewServer(bfd.Config{}); err != nil {
		return err
	}
	parts := []func(context.Context) error{r.kernel.Run, r.service.Run}
	done := make(chan error, 3)
	for _, part := range parts {
		go func() { err := part(ctx); cancel(err); done <- err }()
	}
	if err = r.begin(ctx); err == nil {
		parts = append(parts, r.speaker.Run)
		go func() { err := r.speaker.Run(ctx); cancel(err); done <- err }()
		go r.watchPaths(ctx)
		r.install(ctx)
	}
	cancel(err)
	for range parts {
		<-done
	}
	if err := context.Cause(ctx); err != context.Canceled {
		return err
	}
	return nil
}

// begin makes the speaker, with its peers and BFD sessions.
func (r *router) begin(ctx context.Context) error {
	left, err := r.kernel.Adopted(ctx)
	if err != nil {
		return err
	}
	restart := bgp.GracefulRestart{Enabled: true, Restarting: left, ForwardingPreserved: left}
	if r.speaker, err = bgp.New(bgp.Config{NetNS: r.netNS, AS: r.as, RouterID: r.routerID, Multipath: 64, GracefulRestart: restart}); err != nil {
		return err
	}
	for _, a := range r.routers {
		// Between two routers the host is no way: it announces what is its own.
		if err := r.speaker.AddPeer(bgp.PeerConfig{Addr: a, AS: bgp.ExternalAS, IPv6NextHop: true, Import: rib.AcceptAll, Export: own}); err != nil {
			return err
		}
		if r.bfd == 0 {
			continue
		}
		key := bfd.Key{Peer: a, Interface: a.Zone(), NetNS: r.netNS}
		if err := r.service.Add(bfd.SessionConfig{Key: key, DesiredMinTx: r.bfd, RequiredMinRx: r.bfd, Multiplier: 3}); err != nil {
			return err
		}
	}
	for _, p := range r.announce {
		if err := r.speaker.Originate(rib.LocalPath{Prefix: p}); err != nil {
			return err
		}
	}
	r.speaker.InventoryComplete()
	return nil
}

// own announces what originates here.
func own(r *rib.Route) rib.Verdict {
	if r.Local() {
		return rib.VerdictAccept
	}
	return rib.VerdictReject
}

// watchPaths takes the routers out whose BFD session fails, and in again. One that has no BFD is in.
func (r *router) watchPaths(ctx context.Context) {
	for e := range r.service.Watch().All(ctx) {
		peer := e.Peer.WithZone(e.Interface)
		for _, hop := range r.kernel.Via(peer) {
			switch {
			case e.State == bfd.StateUp:
				r.kernel.GatewayUp(hop.IfIndex, hop.Gateway)
			case e.State == bfd.StateDown && e.Downs > 0 && e.Reason != bfd.ReasonRemoteAdminDown:
				r.kernel.GatewayDown(hop.IfIndex, hop.Gateway)
				_ = r.speaker.PathDown(bgp.PeerKey{Addr: peer}, bgp.PathFailureBFDDown)
			}
		}
	}
}

// install writes BGP's routes into the kernel.
func (r *router) install(ctx context.Context) {
	for c, err := range r.speaker.WatchRoutes(rib.WatchConfig{}).All(ctx) {
		if err != nil {
			return
		}
		if c.Converged {
			if r.kernel.Sweep(); r.synced != nil {
				r.synced(r)
			}
			continue
		}
		route := fib.Route{RouteKey: fib.RouteKey{Prefix: c.Prefix, Table: r.table, Metric: 20}}
		var bandwidth []float64
		for i := range c.Paths {
			if hops := r.kernel.Via(c.Paths[i].Gateway()); len(hops) > 0 {
				route.NextHops = append(route.NextHops, hops[0])
				bandwidth = append(bandwidth, float64(c.Paths[i].Weight))
			}
		}
		for i, w := range fib.Weights(bandwidth) {
			route.NextHops[i].Weight = w
		}
		if len(route.NextHops) == 0 {
			_ = r.kernel.DeleteRoute(route.RouteKey)
		} else if err := r.kernel.SetRoute(route); err != nil {
			log.Printf("%v: %v", c.Prefix, err)
		}
	}
}

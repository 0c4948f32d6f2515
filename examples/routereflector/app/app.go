// Package app is the route reflector of the command above it, importable so that
// other programs can play its part. It is glue: what a client is, which of its
// failures count, what is shown. All BGP is in package bgp, all BFD in package
// bfd.
package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/trim"
)

// Main runs the command with its arguments (without the program's name) and
// returns the exit code: 0 after SIGTERM or SIGINT, 2 for a wrong command line, 1
// for anything else. A signal counts as a restart: sessions close without a
// NOTIFICATION, so that clients keep our routes until we are back.
func Main(args []string) int {
	if len(args) > 0 && args[0] == "show" {
		return show(args[1:], os.Stdout, os.Stderr)
	}
	o, err := parse(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "routereflector:", err)
		return 1
	}
	return 0
}

// run is the reflector until ctx ends.
func run(ctx context.Context, o options, logTo io.Writer) error {
	log := slog.New(slog.NewTextHandler(logTo, nil))
	config := CoreConfig{Log: log}
	if o.bfdInterval > 0 {
		server, err := bfd.NewServer(bfd.Config{
			Coexist: true, // a host may run a reflector for each routing domain
			Notice:  func(err error) { log.Warn("bfd", "err", err) },
		})
		if err != nil {
			return err
		}
		config.BFD = server
	}
	core, err := newCore(o, config)
	if err != nil {
		return err
	}
	speaker := core.Speaker()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	part := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	part("bgp", speaker.Run)
	part("events", core.follow)
	part("memory", func(ctx context.Context) error {
		return trim.Run(ctx, func() int { return speaker.Table().Stats().Paths })
	})
	if config.BFD != nil {
		part("bfd", config.BFD.Run)
		part("bfd events", func(ctx context.Context) error { return core.followBFD(ctx, config.BFD) })
	}
	if o.api != "" {
		part("api", func(ctx context.Context) error { return serve(ctx, o.api, speaker) })
	}
	log.Info("started", "as", o.as, "router-id", o.routerID, "listen", o.listen, "clients", o.clients)
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("stopping")
	return nil
}

// newSpeaker makes the speaker with its ranges of clients. change, if not nil, has the last
// word about its configuration.
func newSpeaker(o options, change func(*bgp.Config)) (*bgp.Speaker, error) {
	config := bgp.Config{
		AS: o.as, RouterID: o.routerID, ClusterID: o.clusterID, Listen: o.listen, NetNS: o.netns, MaxDynamicPeers: o.maxClients,
		GracefulRestart: bgp.GracefulRestart{
			Enabled: o.restartTime > 0,
			// A reflector cannot know whether clients still hold routes of an earlier
			// process, so it assumes so; it forwards nothing, so nothing was lost.
			Restarting: !o.cold, ForwardingPreserved: true, EarlyUpdates: true,
			RestartTime: o.restartTime, LongLivedTime: o.longLived,
		},
	}
	if change != nil {
		change(&config)
	}
	s, err := bgp.New(config)
	if err != nil {
		return nil, err
	}
	if o.rtConstrain && !o.rtMemberships { // we want everything, as there may be clients that do not say what they want
		if err := s.Table().Originate(rib.LocalPath{Membership: &wire.Membership{}}); err != nil {
			return nil, err
		}
	}
	s.InventoryComplete() // a reflector originates nothing else
	for _, prefix := range o.clients {
		if err := s.AddRange(bgp.RangeConfig{Prefix: prefix, Template: template(o, prefix)}); err != nil {
			return nil, err
		}
	}
	for _, addr := range o.reflectors {
		if err := s.AddPeer(above(o, addr)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// above is the configuration of a reflector above us, of which we are a client: to us it is no
// client, and gets the routes of our clients only (RFC 4456, Section 6). It is dialled from the
// address that we listen on, since it knows its clients by theirs.
func above(o options, addr netip.Addr) bgp.PeerConfig {
	c := template(o, netip.PrefixFrom(addr, addr.BitLen()))
	c.Addr, c.Description, c.RouteReflectorClient = addr, "reflector above us", false
	c.Families = slices.DeleteFunc(c.Families, func(f wire.Family) bool { return f == wire.RTConstrain }) // we want everything, and so may others of its clients
	for _, l := range o.listen {
		if l.Addr().Is4() == addr.Is4() && !l.Addr().IsUnspecified() && !c.LocalAddr.IsValid() {
			c.LocalAddr = l.Addr()
		}
	}
	return c
}

// template is the configuration of every client.
func template(o options, prefix netip.Prefix) bgp.PeerConfig {
	both := []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}
	all := both
	if o.evpn { // without ADD-PATH: the route distinguisher keeps the routes of two routers apart
		all = append(slices.Clip(both), wire.L2VPNEVPN)
	}
	if o.rtConstrain {
		all = append(all, wire.RTConstrain)
	}
	c := bgp.PeerConfig{
		Description: "client of " + prefix.String(),
		Families:    all, IPv6NextHop: true, RouteReflectorClient: true, DefaultMembership: !o.rtMemberships,
		HoldTime: o.hold, TTLSecurity: o.ttlSecurity, MD5Key: o.md5Key, BFDStrict: o.bfdStrict, OffLinkPrefixes: o.offLink,
		PrefixLimits: map[wire.Family]rib.PrefixLimit{}, MaxPrefixesHold: o.limitHold,
	}
	for _, f := range all {
		c.PrefixLimits[f] = o.limit
	}
	if o.addPath {
		c.AddPathSend, c.AddPathReceive = both, both
	}
	return c
}

package junos

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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/sock"
)

// group is a BGP group of the configuration.
type group struct {
	name      string
	local     netip.Addr // local-address
	allow     netip.Prefix
	cluster   netip.Addr
	community wire.Community // added on import, demanded on export
	paths     int            // add-path send path-count
	family    wire.Family
}

// reflector is the one instance.
type reflector struct {
	log    *slog.Logger
	as     uint32
	id     netip.Addr
	groups []*group
	bfd    bfd.Service // nil: none
	detect bfd.SessionConfig

	mu      sync.Mutex
	table   table
	clients map[netip.Addr]*client
	absent  map[netip.Addr]*time.Timer // clients whose routes are kept
}

// Main runs the stand-in until it is told to stop.
//
//	junos -as 65000 -router-id 1.0.0.1 -bfd 100ms,5 NAME,LOCAL,ALLOW,CLUSTER,COMMUNITY,PATHS...
func Main(args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	r := &reflector{log: log, table: table{}, clients: map[netip.Addr]*client{}, absent: map[netip.Addr]*time.Timer{}}
	err := r.parse(args)
	if err == nil {
		err = r.run(ctx)
	}
	if err != nil && ctx.Err() == nil {
		log.Error("ended", "err", err)
		return 1
	}
	return 0
}

func (r *reflector) parse(args []string) error {
	fs := flag.NewFlagSet("junos", flag.ContinueOnError)
	as := fs.Uint("as", 65000, "autonomous-system")
	fs.TextVar(&r.id, "router-id", netip.Addr{}, "router-id of all sessions")
	watch := fs.String("bfd", "", "minimum-interval and multiplier; empty: none")
	if err := fs.Parse(args); err != nil {
		return err
	}
	r.as = uint32(*as)
	if *watch != "" {
		interval, multiplier, _ := strings.Cut(*watch, ",")
		d, err := time.ParseDuration(interval)
		n, err2 := strconv.ParseUint(multiplier, 10, 8)
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("-bfd: %w", err)
		}
		r.detect = bfd.SessionConfig{DesiredMinTx: d, RequiredMinRx: d, Multiplier: uint8(n)}
	}
	for _, arg := range fs.Args() {
		g, err := parseGroup(arg)
		if err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
		r.groups = append(r.groups, g)
	}
	return nil
}

func parseGroup(arg string) (*group, error) {
	w := strings.Split(arg, ",")
	if len(w) != 6 {
		return nil, errors.New("want NAME,LOCAL,ALLOW,CLUSTER,COMMUNITY,PATHS")
	}
	local, err := netip.ParseAddr(w[1])
	allow, err2 := netip.ParsePrefix(w[2])
	cluster, err3 := netip.ParseAddr(w[3])
	community, err4 := wire.ParseCommunity(w[4])
	paths, err5 := strconv.Atoi(w[5])
	g := &group{w[0], local, allow, cluster, community, paths, wire.IPv4Unicast}
	if local.Is6() {
		g.family = wire.IPv6Unicast
	}
	return g, errors.Join(err, err2, err3, err4, err5)
}

func (r *reflector) run(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	if r.detect.Multiplier > 0 {
		server, err := bfd.NewServer(bfd.Config{})
		if err != nil {
			return err
		}
		r.bfd = server
		tasks.Go(func() error { return server.Run(ctx) })
		tasks.Go(func() error { return r.detected(ctx) })
	}
	for _, g := range r.groups {
		l, err := listen(ctx, g.local)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { l.Close() })
		tasks.Go(func() error {
			for {
				c, err := l.Accept()
				if err != nil {
					return err
				}
				go r.accept(g, c)
			}
		})
	}
	return tasks.Wait()
}

// listen opens the port with ttl 255, and the firewall's filter for it.
func listen(ctx context.Context, local netip.Addr) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) {
			err = errors.Join(sock.SetTTL(int(fd), local.Is6(), 255), sock.SetMinTTL(int(fd), local.Is6(), 255))
		})
		return errors.Join(failed, err)
	}}
	return lc.Listen(ctx, "tcp", netip.AddrPortFrom(local, 179).String())
}

// drop forgets what a client announced, only what is stale if wanted. The lock is
// held.
func (r *reflector) drop(from netip.Addr, stale bool) {
	for _, prefix := range r.table.of(from, stale) {
		r.forget(prefix, from)
	}
}

func (r *reflector) forget(prefix netip.Prefix, from netip.Addr) {
	r.table.remove(prefix, from)
	r.changed(prefix)
}

// changed tells all clients of the family.
func (r *reflector) changed(prefix netip.Prefix) {
	for _, c := range r.clients {
		if (c.g.family == wire.IPv6Unicast) == prefix.Addr().Is6() {
			c.mark(prefix)
		}
	}
}

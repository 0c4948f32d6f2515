package edge

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/ndp"
)

// external is the configuration of an eBGP peer without numbers: IPv4 by IPv6 next hops (RFC 8950,
// Section 4).
func (r *router) external(s session, export rib.Policy) bgp.PeerConfig {
	return bgp.PeerConfig{Addr: s.peer.WithZone(s.device), Interface: s.device, AS: bgp.ExternalAS, IPv6NextHop: true,
		Import: rib.AcceptAll, Export: export, HoldTime: r.hold, RestartTime: s.restart, ConnectRetry: time.Second}
}

// exports is what is announced: what is ours, and the rest if we are transit. Who is drained
// says so.
func (r *router) exports(drained bool) rib.Policy {
	return func(route *rib.Route) rib.Verdict {
		if !route.Local() && !r.transit {
			return rib.VerdictReject
		}
		if drained {
			route.AddCommunity(wire.CommunityGracefulShutdown)
		}
		return rib.VerdictAccept
	}
}

// drain makes us the last choice of external peers, or takes that back.
func (r *router) drain(on bool) error {
	policy := r.exports(on) // one value: sessions with it share what is encoded
	for _, s := range r.sessions {
		if !s.unnumbered() {
			continue
		}
		if err := r.speaker.UpdatePeer(r.external(s, policy)); err != nil {
			return err
		}
	}
	return nil
}

// speak runs the speaker, and drains it as signals say.
func (r *router) speak(ctx context.Context) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	run, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	done := make(chan error, 1)
	go func() { done <- r.speaker.Run(run) }()
	for drained := false; ; {
		select {
		case s := <-signals:
			drained = s == syscall.SIGUSR1
			if err := r.drain(drained); err != nil {
				return err
			}
			r.log.Info("drain", "on", drained)
		case err := <-done:
			return err
		case <-ctx.Done():
			if drained {
				r.speaker.Shutdown("drained")
				time.Sleep(leave)
			}
			end()
			return <-done
		}
	}
}

// leave is how long peers have to hear that a drained router ends.
const leave = 200 * time.Millisecond

// advertised is the longest time between two advertisements: FRR does not solicit them, so that it
// has no session before the next one comes.
const advertised = 4 * time.Second

// advertise says what is advertised on the links without numbers, by which neighbours find us.
func (r *router) advertise() error {
	conn, err := ndp.Listen(ndp.Config{Types: []ndp.Type{ndp.TypeRouterSolicitation}})
	if err != nil {
		return err
	}
	r.advertiser = ndp.NewAdvertiser(conn)
	for _, s := range r.sessions {
		if !s.unnumbered() {
			continue
		}
		if err := r.advertiseAt(s.device, s.local); err != nil {
			return err
		}
	}
	return nil
}

// advertiseAt advertises us on an interface, at one of our addresses there: at once, if that is another one
// (RFC 4861, Section 6.2.8).
func (r *router) advertiseAt(device string, local netip.Addr) error {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	return r.advertiser.Set(link.Index, ndp.Router{MAC: ndp.MAC(link.HardwareAddr), Source: local, Timing: ndp.Timing{MaxInterval: advertised}})
}

// local is the address that we have on a link without numbers.
type local struct {
	session              // local: the address that it has now
	there   []netip.Addr // link-local addresses of the interface
}

// locals are those that we begin with, by the index of the interface.
func (r *router) locals() map[int]*local {
	out := map[int]*local{}
	for _, s := range r.sessions {
		if s.unnumbered() {
			out[r.links[s.device]] = &local{s, []netip.Addr{s.local}}
		}
	}
	return out
}

// take takes an address that has come or gone.
func (l *local) take(a netip.Addr, gone bool) {
	l.there = slices.DeleteFunc(l.there, func(o netip.Addr) bool { return o == a })
	if !gone {
		l.there = append(l.there, a)
	}
}

// move has a session at another address, if its own has gone: the neighbour hears of it by an advertisement, and
// its new connection takes the place of the old one (RFC 4724, Section 5). BFD is another session.
func (r *router) move(l *local) error {
	if slices.Contains(l.there, l.session.local) || len(l.there) == 0 {
		return nil
	}
	old := bfd.Key{Peer: l.peer, Local: l.session.local, Interface: l.device}
	l.session.local = l.there[0]
	r.log.Info("another address", "interface", l.device, "address", l.session.local)
	err := r.advertiseAt(l.device, l.session.local)
	if l.watch != "off" {
		err = errors.Join(err, r.bfd.Remove(old), r.watch(l.session))
	}
	return err
}

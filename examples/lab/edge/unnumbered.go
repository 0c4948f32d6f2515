package edge

import (
	"context"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

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

// advertise sends router advertisements on the links without numbers, by which
// neighbours find us.
func (r *router) advertise(ctx context.Context) error {
	conn, err := ndp.Listen(ndp.Config{Types: []ndp.Type{ndp.TypeRouterSolicitation}})
	if err != nil {
		return err
	}
	a := ndp.NewAdvertiser(conn)
	for _, s := range r.sessions {
		if !s.unnumbered() {
			continue
		}
		link, err := net.InterfaceByName(s.device)
		if err == nil {
			err = a.Set(link.Index, ndp.Router{MAC: ndp.MAC(link.HardwareAddr), Timing: ndp.Timing{MaxInterval: advertised}})
		}
		if err != nil {
			return err
		}
	}
	return a.Run(ctx)
}

package edge

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/fib"
)

// readLinks waits until the FIB knows the interfaces.
func (r *router) readLinks(ctx context.Context, w *fib.Watcher) error {
	for e, err := range w.All(ctx) {
		if err != nil {
			return err
		}
		if e.Kind == fib.EventSynced {
			break
		}
	}
	r.links = map[string]int{}
	for _, l := range r.fib.Links() {
		r.links[l.Interface] = l.IfIndex
	}
	return nil
}

// follow follows the interfaces from then on.
func (r *router) follow(ctx context.Context, w *fib.Watcher) {
	own := r.locals()
	for e, err := range w.All(ctx) {
		switch {
		case err != nil:
		case e.Kind == fib.EventLink && !e.Link.Up():
			r.speaker.LinkDown(e.Link.Interface)
		case e.Kind == fib.EventLink:
			if l := own[e.Link.IfIndex]; l != nil { // with another MAC, perhaps
				r.report(l.device, r.advertiseAt(l.device, l.session.local))
			}
		case e.Kind == fib.EventAddress && e.Addr.Addr().IsLinkLocalUnicast() && e.Addr.Addr().Is6():
			if l := own[e.Link.IfIndex]; l != nil {
				l.take(e.Addr.Addr(), e.Gone)
				r.report(l.device, r.move(l))
			}
		case e.Kind == fib.EventError:
			r.log.Error("kernel", "err", e.Err)
		}
	}
}

// report logs what is wrong with an interface, if anything is.
func (r *router) report(device string, err error) {
	if err != nil {
		r.log.Error("interface", "name", device, "err", err)
	}
}

// install brings every change of the best paths to the kernel.
func (r *router) install(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	w := r.speaker.Table().Watch(rib.WatchConfig{Notify: func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}})
	defer w.Close()
	changes := make([]rib.Change, 64)
	for {
		n := w.Next(changes)
		for _, c := range changes[:n] {
			if c.Converged {
				r.fib.Sweep()
				continue
			}
			r.route(c)
		}
		if n > 0 {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// metric of the routes; nothing else is in the table.
const metric = 32

func (r *router) route(c rib.Change) {
	route := fib.Route{RouteKey: fib.RouteKey{Table: r.table, Prefix: c.Prefix, Metric: metric}}
	for _, p := range c.Paths {
		gateway := p.Gateway()
		hop := fib.NextHop{Gateway: gateway.WithZone(""), IfIndex: r.links[r.deviceOf(gateway)]}
		if !p.Local && !slices.Contains(route.NextHops, hop) { // one reflector tells of it over both fabrics
			route.NextHops = append(route.NextHops, hop)
		}
	}
	if len(route.NextHops) == 0 {
		if err := r.fib.DeleteRoute(route.RouteKey); err != nil {
			r.log.Error("route not deleted", "prefix", c.Prefix, "err", err)
		}
		return
	}
	if err := r.fib.SetRoute(route); err != nil {
		r.log.Error("route refused", "prefix", c.Prefix, "err", err)
	}
}

// paths tells the speaker which paths BFD holds for dead.
func (r *router) paths(ctx context.Context) error {
	w := r.bfd.Watch()
	defer w.Close()
	for e, err := range w.All(ctx) {
		if err != nil {
			return err
		}
		if r.probed(e) {
			continue
		}
		key := peerKey(e.Peer, e.Local, e.Interface)
		switch {
		case e.State == bfd.StateUp:
			err = r.speaker.PathUp(key)
		case e.Reason == bfd.ReasonExpired || e.Reason == bfd.ReasonNeighborDown || e.Reason == bfd.ReasonEchoFailed:
			err = r.speaker.PathDown(key, r.failure(key, e))
		}
		if err != nil && !errors.Is(err, bgp.ErrNoPeer) {
			r.log.Warn("BFD", "peer", e.Peer, "err", err)
		}
		r.log.Info("BFD", "peer", e.Peer, "state", e.State.String(), "reason", e.Reason.String())
	}
	return nil
}

// failure says what the death of a BFD session means. A peer whose BFD shares the fate of its
// control plane may just restart: then BGP has noticed before, since the peer's kernel closes the
// connection. Who passes paths on must not keep them for a peer that is dead: others have
// another way, which we do not see.
func (r *router) failure(key bgp.PeerKey, e bfd.Event) bgp.PathFailure {
	p, err := r.speaker.Peer(key)
	if e.RemoteC || r.transit && err == nil && p.State == bgp.Established {
		return bgp.PathFailureBFDDownIndependent
	}
	return bgp.PathFailureBFDDown
}

// Peer is what [Main] tells about a session over its status socket.
type Peer struct {
	Name  string `json:"name"`
	State string `json:"state"`
	BFD   string `json:"bfd"`
}

// tell answers every connection with the list of sessions.
func (r *router) tell(ctx context.Context, path string) error {
	_ = os.Remove(path)
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			return ctx.Err()
		}
		_ = json.NewEncoder(c).Encode(r.peers())
		c.Close()
	}
}

func (r *router) peers() []Peer {
	states := map[bgp.PeerKey]string{}
	if all, err := r.bfd.Sessions(); err == nil {
		for _, s := range all {
			states[peerKey(s.Peer, s.Local, s.Interface)] = s.State.String()
		}
	}
	var out []Peer
	for _, p := range r.speaker.Peers() {
		out = append(out, Peer{Name: p.Key.Addr.String(), State: p.State.String(), BFD: states[p.Key]})
	}
	return out
}

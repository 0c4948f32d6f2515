package daemon

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// wires is a network of driven speakers without any delay: what is sent arrives at the next turn,
// in the order in which it was sent.
type wires struct {
	now        func() time.Time
	turn       []func()
	reflectors []*reflector // in the order in which they came
}

// port is the transport of one speaker.
type port struct {
	w     *wires
	s     func() *bgp.Speaker // nil: it has ended
	given map[*bgp.Attempt]bool
}

func (p *port) Now() time.Time        { return p.w.now() }
func (p *port) Cancel(a *bgp.Attempt) { p.given[a] = true }

func (p *port) Dial(a *bgp.Attempt) {
	p.w.turn = append(p.w.turn, func() {
		if p.given[a] || p.s() == nil {
			return
		}
		r := p.w.reflector(a.Remote.Addr())
		if r == nil {
			p.s().Driver().Dialed(a, nil, os.NewSyscallError("connect", syscall.ECONNREFUSED))
			return
		}
		from := netip.AddrPortFrom(a.Local.Addr(), 40000)
		near, far := &wireEnd{port: p, local: from, remote: a.Remote}, &wireEnd{port: r.port, local: a.Remote, remote: from}
		near.other, far.other = far, near
		if !r.speaker.Driver().Accept(far) {
			p.s().Driver().Dialed(a, nil, os.NewSyscallError("connect", syscall.ECONNREFUSED))
			return
		}
		p.s().Driver().Dialed(a, near, nil)
	})
}

// run has everything arrive that is on its way, and reports whether that was something.
func (w *wires) run() (did bool) {
	for len(w.turn) > 0 {
		f := w.turn[0]
		w.turn = w.turn[1:]
		f()
		did = true
	}
	for _, r := range w.reflectors {
		if at := r.speaker.Driver().Deadline(); !at.IsZero() && !w.now().Before(at) {
			r.speaker.Driver().Advance(w.now())
			did = true
		}
	}
	return did
}

func (w *wires) deadline() (next time.Time) {
	for _, r := range w.reflectors {
		if at := r.speaker.Driver().Deadline(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

func (w *wires) reflector(addr netip.Addr) *reflector {
	if i := slices.IndexFunc(w.reflectors, func(r *reflector) bool { return r.addr == addr }); i >= 0 {
		return w.reflectors[i]
	}
	return nil
}

// wireEnd is one end of a connection.
type wireEnd struct {
	port          *port
	local, remote netip.AddrPort
	other         *wireEnd
}

func (e *wireEnd) LocalAddr() netip.AddrPort  { return e.local }
func (e *wireEnd) RemoteAddr() netip.AddrPort { return e.remote }

// to reports something to the speaker at an end, at the next turn, unless it has ended.
func (e *wireEnd) to(f func(*bgp.Driver)) {
	e.port.w.turn = append(e.port.w.turn, func() {
		if s := e.port.s(); s != nil {
			f(s.Driver())
		}
	})
}

func (e *wireEnd) Send(b []byte) {
	e.other.to(func(d *bgp.Driver) { d.Input(e.other, b) })
	e.to(func(d *bgp.Driver) { d.Sent(e, nil) })
}

func (e *wireEnd) Close(final []byte, _ time.Duration) {
	if len(final) > 0 {
		e.other.to(func(d *bgp.Driver) { d.Input(e.other, final) })
	}
	e.other.to(func(d *bgp.Driver) { d.Closed(e.other, io.EOF) })
}

// reflector is a route reflector with the sessions that a configuration has with an address.
type reflector struct {
	addr    netip.Addr
	speaker *bgp.Speaker
	routes  *bgp.RouteWatcher
	port    *port
	heard   map[netip.Prefix]bool // from another router
}

// reflect begins a reflector at an address, which announces prefixes over its next address.
func (w *wires) reflect(c *config.Config, addr netip.Addr, prefixes ...string) error {
	if w.reflector(addr) != nil {
		return nil // it is there
	}
	r := &reflector{addr: addr}
	r.port = &port{w: w, given: map[*bgp.Attempt]bool{}, s: func() *bgp.Speaker {
		if w.reflector(addr) != r {
			return nil
		}
		return r.speaker
	}}
	id := netip.AddrFrom4([4]byte{9, 9, 9, addr.AsSlice()[len(addr.AsSlice())-1]})
	cfg := bgp.Config{AS: c.AS, RouterID: id, Transport: r.port, Random: func() float64 { return 0.5 }, GracefulRestart: bgp.GracefulRestart{Enabled: true, RestartTime: time.Minute}}
	var err error
	if r.speaker, err = bgp.New(cfg); err != nil {
		return err
	}
	families := []wire.Family{wire.IPv4Unicast}
	if addr.Is6() {
		families[0] = wire.IPv6Unicast
	}
	for _, d := range c.Domains {
		sessions, _ := c.SessionsOf(d)
		for _, s := range sessions {
			if s.Peer.Addr == addr && !slices.ContainsFunc(r.speaker.Peers(), func(p bgp.PeerStatus) bool { return p.Key.Addr == s.Local.Addr }) {
				p := bgp.PeerConfig{Addr: s.Local.Addr, LocalAddr: addr, Passive: true, RouteReflectorClient: true, Families: families, AddPathReceive: families, AddPathSend: families}
				if err := r.speaker.AddPeer(p); err != nil {
					return err
				}
			}
		}
	}
	for _, p := range prefixes {
		if err := r.speaker.Originate(rib.LocalPath{Prefix: netip.MustParsePrefix(p), NextHop: wire.NextHop{Addr: addr.Next()}}); err != nil {
			return err
		}
	}
	r.speaker.InventoryComplete()
	r.routes = r.speaker.WatchRoutes(rib.WatchConfig{})
	w.reflectors = append(w.reflectors, r)
	return r.speaker.Driver().Start()
}

// crash ends a reflector without a word.
func (w *wires) crash(addr netip.Addr) {
	r := w.reflector(addr)
	if r == nil {
		return
	}
	w.reflectors = slices.DeleteFunc(w.reflectors, func(one *reflector) bool { return one == r })
	r.speaker.Driver().Stop()
}

// news returns what the reflectors have learned since the last call: of each prefix the paths of
// their clients.
func (w *wires) news(ended context.Context) (lines []string) {
	buf := make([]rib.Change, 64)
	for _, r := range w.reflectors {
		for n, _ := r.routes.Next(ended, buf); n > 0; n, _ = r.routes.Next(ended, buf) {
			for _, c := range buf[:n] {
				line := fmt.Sprintf("at %v %v", r.addr, c.Prefix)
				for _, p := range c.Paths {
					if p.Local {
						continue
					}
					if r.heard == nil {
						r.heard = map[netip.Prefix]bool{}
					}
					r.heard[c.Prefix] = true
					line += fmt.Sprintf(" over %v", p.NextHop.Addr)
					if pref, ok := p.Attrs.LocalPref(); ok && pref != 100 {
						line += fmt.Sprintf(" pref %d", pref)
					}
					if p.Attrs.Communities().Contains(peering.GracefulShutdown) {
						line += " graceful-shutdown"
					}
					if p.Stale {
						line += " stale"
					}
				}
				if c.Prefix.IsValid() && (r.heard[c.Prefix] || len(c.Paths) == 0) {
					lines = append(lines, line)
				}
			}
		}
	}
	return lines
}

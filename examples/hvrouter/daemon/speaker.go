package daemon

import (
	"context"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// speaker is one domain's BGP: the adapter between the loop and package bgp.
type speaker struct {
	*bgp.Speaker
	log   *slog.Logger
	name  string
	netns config.NetNS
	cBit  bool // our BFD does not share the fate of this process
	// linkLocal gives our link-local address on an interface.
	linkLocal func(name string) netip.Addr
	mu        sync.Mutex
	peers     map[bgp.PeerKey]configured
}

// configured is a peer as it was last configured. Policies are functions, which
// cannot be compared, so what they were made of is kept.
type configured struct {
	bgp.PeerConfig
	imports, exports config.Policy
}

// configure makes the configuration of a peer. Policies that have not changed are
// taken from old: a new one would make the session exchange its routes again.
func configure(c *config.Config, r config.Reflector, linkLocal netip.Addr, old configured) configured {
	p := configured{peering.Peer(c, r, linkLocal), r.Import, r.Export}
	p.Import, p.Export = old.Import, old.Export
	if !r.Import.Equal(old.imports) {
		p.Import = peering.Policy(r.Import)
	}
	if !r.Export.Equal(old.exports) {
		p.Export = peering.Policy(r.Export)
	}
	return p
}

func (p configured) same(o configured) bool {
	policies := p.imports.Equal(o.imports) && p.exports.Equal(o.exports)
	for _, c := range []*configured{&p, &o} {
		c.Import, c.Export = nil, nil
	}
	return policies && reflect.DeepEqual(p.PeerConfig, o.PeerConfig)
}

// newSpeaker makes the speaker of a domain. Addresses of ours that do not exist
// cannot be listened on, their sessions only dial.
func newSpeaker(log *slog.Logger, c *config.Config, d config.Domain, p *place) (*speaker, error) {
	s, err := bgp.New(peering.Speaker(c, d, p.again && !c.BGP.GracefulRestart.Off, p.links.hasAddress))
	if err != nil {
		return nil, err
	}
	return &speaker{Speaker: s, log: log, name: d.Name, netns: d.NetNS, peers: map[bgp.PeerKey]configured{},
		cBit: c.BFD.Process == "separate", linkLocal: p.links.linkLocal}, nil
}

// Configure implements announcer.
func (s *speaker) Configure(c *config.Config, d config.Domain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[bgp.PeerKey]configured{}
	for _, r := range d.Reflectors {
		k := bgp.PeerKey{Addr: r.Peer.Addr, Local: r.Local.Addr}
		next[k] = configure(c, r, s.linkLocal(r.Interface), s.peers[k])
	}
	for k := range s.peers {
		if _, ok := next[k]; !ok {
			s.report(k, s.RemovePeer(k))
		}
	}
	for k, p := range next {
		old, ok := s.peers[k]
		switch {
		case !ok:
			s.report(k, s.AddPeer(p.PeerConfig))
		case !old.same(p):
			s.report(k, s.UpdatePeer(p.PeerConfig))
		}
	}
	s.peers = next
}

func (s *speaker) report(k bgp.PeerKey, err error) {
	if err != nil {
		s.log.Error("BGP session", "event", "bgp-error", "domain", s.name, "peer", k, "err", err)
	}
}

// Announce implements announcer.
func (s *speaker) Announce(list []domain.Announcement) {
	for _, a := range list {
		pref := a.LocalPref
		err := s.Table().Originate(rib.LocalPath{Prefix: a.Prefix, Attrs: wire.PathAttrs{LocalPref: &pref}})
		if err != nil {
			s.log.Error("announcement", "event", "bgp-error", "domain", s.name, "prefix", a.Prefix, "err", err)
		}
	}
}

// Withdraw implements announcer.
func (s *speaker) Withdraw(list []netip.Prefix) {
	for _, p := range list {
		s.Table().Withdraw(p, 0)
	}
}

// gracefulShutdown is the community GRACEFUL_SHUTDOWN of RFC 8326, 65535:0.
const gracefulShutdown = wire.Community(0xffff0000)

// drain announces everything once more, to be used only if there is nothing else
// (RFC 8326).
func (s *speaker) drain(list []domain.Announcement) {
	for _, a := range list {
		var least uint32
		_ = s.Table().Originate(rib.LocalPath{Prefix: a.Prefix,
			Attrs: wire.PathAttrs{LocalPref: &least, Communities: []wire.Community{gracefulShutdown}}})
	}
}

// key gives the session that a BFD session watches.
func key(w peering.Watch) bgp.PeerKey {
	return bgp.PeerKey{Addr: w.Key.Peer, Local: w.Key.Local}
}

// speakers is every domain's, by name.
type speakers map[string]*speaker

// lookup gives a domain's paths to a prefix, best first.
func (s speakers) lookup(name string, p netip.Prefix) []rib.Path { return s[name].Table().Lookup(p) }

// PathDown implements paths.
func (s speakers) PathDown(w peering.Watch, remoteC bool) {
	d := s[w.Domain]
	why := bgp.BFDDown
	if remoteC && d.cBit {
		why = bgp.BFDDownIndependent
	}
	d.report(key(w), d.Speaker.PathDown(key(w), why))
}

// PathUp implements paths.
func (s speakers) PathUp(w peering.Watch) {
	d := s[w.Domain]
	d.report(key(w), d.Speaker.PathUp(key(w)))
}

// LinkDown tells every speaker of a namespace that an interface lost its carrier.
func (s speakers) LinkDown(n config.NetNS, name string) {
	for _, d := range s {
		if d.netns != n {
			continue
		}
		if n := d.Speaker.LinkDown(name); n > 0 {
			d.log.Warn("carrier lost", "event", "carrier-lost", "domain", d.name, "interface", name, "sessions", n)
		}
	}
}

// changesAtOnce is how many prefixes the loop takes from BGP at a time: enough to
// be worth the switch, few enough that a guest's arrival waits under a millisecond.
const changesAtOnce = 256

// watch brings the domain's paths to the loop until ctx ends.
func (s *speaker) watch(ctx context.Context, l loop, r *router, g *routing) {
	ready := make(chan struct{}, 1)
	notify := func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	}
	w := s.Table().Watch(rib.WatchConfig{AllPaths: true, Notify: notify})
	defer w.Close()
	buf := make([]rib.Change, changesAtOnce)
	sets := make([]pathSet, 0, changesAtOnce)
	for {
		n, converged := w.Next(buf)
		sets = sets[:0]
		for _, c := range buf[:n] {
			sets = append(sets, pathSet{c.Prefix, peering.Remote(c.Paths)})
		}
		if (n > 0 || converged) && !l.do(ctx, func() { r.onPaths(g, sets, converged) }) {
			return
		}
		if n > 0 {
			continue
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return
		}
	}
}

// repeats remembers each peer's last error.
type repeats map[bgp.PeerKey]string

// seen tells whether the peer's last error was the same, with no session since.
func (r *repeats) seen(e bgp.Event) bool {
	if *r == nil {
		*r = repeats{}
	}
	text := ""
	if e.Err != nil {
		text = e.Err.Error()
	}
	same := (*r)[e.Peer] == text
	(*r)[e.Peer] = text
	return same
}

// tell logs what happens to the sessions until ctx ends.
func (s *speaker) tell(ctx context.Context) {
	sub := s.Subscribe()
	defer sub.Close()
	var last repeats
	for {
		e, err := sub.Next(ctx)
		if err != nil {
			return
		}
		switch e.Kind {
		case bgp.EventUp, bgp.EventDown:
			delete(last, e.Peer)
			s.log.Info("BGP session "+e.Kind.String(), "event", "bgp-"+e.Kind.String(), "domain", s.name, "peer", e.Peer, "err", e.Err)
		case bgp.EventError, bgp.EventUpdateError, bgp.EventListen:
			if last.seen(e) {
				continue // a peer that is away fails a few times a second
			}
			s.log.Warn("BGP", "event", "bgp-"+e.Kind.String(), "domain", s.name, "peer", e.Peer, "err", e.Err)
		case bgp.EventRestart:
			s.log.Info("BGP graceful restart", "event", "bgp-restart", "domain", s.name, "peer", e.Peer, "phase", e.Restart)
		default:
			s.log.Debug("BGP", "event", "bgp-"+e.Kind.String(), "domain", s.name, "peer", e.Peer, "state", e.State, "family", e.Family)
		}
	}
}

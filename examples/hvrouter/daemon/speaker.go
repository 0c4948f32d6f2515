package daemon

import (
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// speaker is the BGP of one domain, or of those that share its sessions: the adapter
// between the loop and package bgp.
type speaker struct {
	*bgp.Speaker
	log   *slog.Logger
	name  string
	netns config.NetNS
	cBit  bool // our BFD does not share the fate of this process
	// linkLocal gives our link-local address on an interface.
	linkLocal func(name string) netip.Addr
	members   []peering.Member
	// wide tells that some session has more ways than its own.
	wide bool
	ways *ways
	// patience is how long routes of an earlier run stay while no peer is there to say
	// what they should be.
	patience time.Duration
	told     told

	mu       sync.Mutex
	peers    map[bgp.PeerKey]configured
	complete []bool // the inventory of each member is
	cfg      *config.Config
	domain   config.Domain
}

// configured is a peer as it was last configured. Policies are functions, which
// cannot be compared, so what they were made of is kept.
type configured struct {
	bgp.PeerConfig
	imports, exports config.Policy
	ways             []peering.Announced // nil: the session's own
}

// peer makes the configuration of a peer. Policies that have not changed are
// taken from old: a new one would make the session exchange its routes again.
func (s *speaker) peer(c *config.Config, r config.Reflector, dead deaths, old configured) configured {
	p := configured{PeerConfig: peering.Peer(c, r, s.linkLocal(r.Interface)), imports: r.Import, exports: r.Export}
	if len(r.Ways) > 0 {
		p.ways = dead.announced(peering.Announce(r, s.members))
	}
	p.Import, p.Export = old.Import, old.Export
	first := old.Addr != p.Addr
	if shared := s.members[0].Community != 0; !r.Import.Equal(old.imports) || first {
		p.Import = peering.Policy(r.Import)
		if shared {
			p.Import = peering.Known(s.members, p.Import)
		}
	}
	if !r.Export.Equal(old.exports) || !slices.Equal(p.ways, old.ways) {
		p.Export = peering.Policy(r.Export)
		if len(r.Ways) > 0 {
			p.Export = peering.Only(p.ways, p.Export)
		}
	}
	return p
}

func (p configured) same(o configured) bool {
	policies := p.imports.Equal(o.imports) && p.exports.Equal(o.exports) && slices.Equal(p.ways, o.ways)
	for _, c := range []*configured{&p, &o} {
		c.Import, c.Export = nil, nil
	}
	return policies && reflect.DeepEqual(p.PeerConfig, o.PeerConfig)
}

// newSpeaker makes the speaker of a domain, and of those that share its sessions.
// Addresses of ours that do not exist cannot be listened on, their sessions only dial.
func newSpeaker(log *slog.Logger, c *config.Config, d config.Domain, p *place) (*speaker, error) {
	members := peering.Members(c, d)
	var domains []config.Domain
	for _, m := range members {
		domains = append(domains, *c.Domain(m.Domain))
	}
	preserved := p.kept.families(domains)
	cfg := peering.Speaker(c, d, preserved, p.links.hasAddress)
	cfg.NetNS = p.path
	b, err := bgp.New(cfg)
	if err != nil {
		return nil, err
	}
	s := &speaker{Speaker: b, log: log, name: d.Name, netns: d.NetNS, peers: map[bgp.PeerKey]configured{},
		cBit: c.BFD.Process == "separate", linkLocal: p.links.linkLocal, members: members,
		ways: newWays(), told: newTold(), patience: c.BGP.GracefulRestart.Time.Duration + c.BGP.GracefulRestart.LongLived.Duration}
	s.complete = make([]bool, len(s.members))
	sessions, shared := c.SessionsOf(d)
	s.wide = slices.ContainsFunc(sessions, config.Reflector.Wide)
	if shared {
		s.name = "shared"
	}
	if len(preserved) == 0 {
		s.ways.set(probed(c, s.members), true)
		s.ways.ring()
	}
	return s, nil
}

// configure brings the sessions in line with the configuration; sessions that did not
// change are left alone.
func (s *speaker) configure(c *config.Config, d config.Domain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg, s.domain = c, d
	s.bring()
}

// review looks again at what is announced and used, because ways died or live again.
func (s *speaker) review() {
	s.mu.Lock()
	if s.cfg != nil {
		s.bring()
	}
	s.mu.Unlock()
	s.ways.ring()
}

// bring adds, changes and removes peers; the lock is held.
func (s *speaker) bring() {
	next := map[bgp.PeerKey]configured{}
	sessions, _ := s.cfg.SessionsOf(s.domain)
	dead := s.ways.snapshot()
	for _, r := range sessions {
		k := peering.SessionKey(r)
		next[k] = s.peer(s.cfg, r, dead, s.peers[k])
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
	if err != nil && !errors.Is(err, bgp.ErrClosed) {
		s.log.Error("BGP session", "event", "bgp-error", "domain", s.name, "peer", k, "err", err)
	}
}

// changesAtOnce is how many prefixes the loop takes from BGP at a time: enough to
// be worth the switch, few enough that a guest's arrival waits under a millisecond.
const changesAtOnce = 256

package bgp

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// startup is the restarting side of graceful restart (RFC 4724, Section 4.1). It
// is one for the whole speaker: the R bit stays set in our OPENs, and best paths
// wait, until End-of-RIB has come from all peers worth waiting for, or the
// deferral time is over. Pure, not safe for concurrent use.
type startup struct {
	cfg    GracefulRestart
	active bool
	began  time.Time
	// ranges: clients that nobody has listed may still come.
	ranges bool
	peers  map[PeerKey]*awaited
}

// awaited is a peer that a restarting speaker waits for.
type awaited struct {
	up      bool
	mute    bool // without graceful restart it may never send End-of-RIB
	fresh   bool // it has restarted itself
	dead    bool // BFD says so
	missing wire.FamilySet
}

func newStartup(cfg GracefulRestart, now time.Time) *startup {
	return &startup{
		cfg: cfg, began: now, peers: map[PeerKey]*awaited{},
		active: cfg.Enabled && cfg.Restarting,
	}
}

func (s *startup) peer(k PeerKey) *awaited {
	p := s.peers[k]
	if p == nil {
		p = &awaited{}
		if s.active {
			s.peers[k] = p
		}
	}
	return p
}

// added tells of a configured peer, removed that it is none any more.
func (s *startup) added(k PeerKey)   { s.peer(k) }
func (s *startup) removed(k PeerKey) { delete(s.peers, k) }

// up tells of an Established session. A peer without the capability may never send
// End-of-RIB, and is not waited for. One that has restarted itself may be waiting
// for us (RFC 4724, Section 4.1, excludes it); it is waited for as long as one that
// has not come yet, since what it has to say may be what the kernel still holds.
func (s *startup) up(k PeerKey, n *Negotiated) {
	g := n.Remote.GracefulRestart
	*s.peer(k) = awaited{up: true, missing: n.Families, mute: g == nil, fresh: g != nil && g.Restarting}
}

// down tells that a session ended. dead says that BFD or the interface is down:
// such a peer is not waited for at all.
func (s *startup) down(k PeerKey, dead bool) {
	p := s.peer(k)
	p.up, p.dead = false, dead
}

// endOfRIB tells of an End-of-RIB.
func (s *startup) endOfRIB(k PeerKey, f wire.Family) {
	if p := s.peers[k]; p != nil {
		p.missing = p.missing.Without(f)
	}
}

// done reports whether waiting is over. Once it is, it stays over.
func (s *startup) done(now time.Time) bool {
	if s.active && s.complete(now) {
		s.active = false
		s.peers = nil
	}
	return !s.active
}

func (s *startup) complete(now time.Time) bool {
	if !now.Before(s.began.Add(s.cfg.DeferralTime)) {
		return true
	}
	early := now.Before(s.began.Add(s.cfg.EstablishTime))
	if early && (s.ranges || len(s.peers) == 0) {
		return false
	}
	for _, p := range s.peers {
		if p.waitedFor(early) {
			return false
		}
	}
	return true
}

func (p *awaited) waitedFor(early bool) bool {
	if p.dead {
		return false
	}
	if !p.up {
		return early
	}
	return p.missing != 0 && !p.mute && (early || !p.fresh)
}

// next is when done may become true without an event, zero once it is.
func (s *startup) next(now time.Time) time.Time {
	if !s.active {
		return time.Time{}
	}
	if t := s.began.Add(s.cfg.EstablishTime); now.Before(t) {
		return t
	}
	return s.began.Add(s.cfg.DeferralTime)
}

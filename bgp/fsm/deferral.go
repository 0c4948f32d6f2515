package fsm

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// DeferralConfig configures the deferral of a restarting speaker. The zero value defers
// nothing.
type DeferralConfig struct {
	// DeferralTime bounds the wait for End-of-RIB: the Selection_Deferral_Timer of RFC
	// 4724, Section 4.1. 0 means that the speaker has not restarted.
	DeferralTime time.Duration
	// EstablishTime is how long a peer without a session is waited for, once another one has had a
	// session. 0 waits for none.
	EstablishTime time.Duration
}

// Deferral is graceful restart as the Restarting Speaker sees it (RFC 4724, Section 4.1).
// There is one for the whole speaker: the R bit stays set in its OPENs, and its best paths
// are deferred, until End-of-RIB has come from all peers that are worth waiting for, or
// DeferralTime is over. While no peer at all has come since the start, each is worth waiting
// for: otherwise what an earlier run left in the kernel would go although nobody has said that
// it is wrong. K identifies a peer. It is pure, and not safe for concurrent use.
//
// The owner reports what happens, and calls Advance after that and at the time of Deadline.
type Deferral[K comparable] struct {
	cfg    DeferralConfig      // as given to NewDeferral
	active bool                // best paths are deferred, and the R bit is set
	began  time.Time           // when Begin was called: the timers run from there
	early  bool                // EstablishTime is not over
	others bool                // there may be peers that Add has not listed
	heard  bool                // some session has been Established
	peers  map[K]*deferralPeer // those that were added and not removed
}

// deferralPeer is a peer that a restarting speaker may wait for.
type deferralPeer struct {
	up         bool           // its session is Established
	noEndOfRIB bool           // without graceful restart it may never send End-of-RIB
	restarted  bool           // it has restarted itself
	pathDown   bool           // BFD or the interface says so
	missing    wire.FamilySet // families whose End-of-RIB has not come yet
}

// NewDeferral returns a Deferral that Begin starts.
func NewDeferral[K comparable](c DeferralConfig) *Deferral[K] {
	return &Deferral[K]{cfg: c, active: c.DeferralTime > 0, early: true, peers: map[K]*deferralPeer{}}
}

// Begin starts both timers.
func (d *Deferral[K]) Begin(now time.Time) { d.began = now }

// Active reports whether the restart goes on. Once it is over, it stays over.
func (d *Deferral[K]) Active() bool { return d.active }

func (d *Deferral[K]) peer(k K) *deferralPeer {
	p := d.peers[k]
	if p == nil {
		p = &deferralPeer{}
		if d.active {
			d.peers[k] = p
		}
	}
	return p
}

// Add reports a peer that is configured.
func (d *Deferral[K]) Add(k K) { d.peer(k) }

// AddOthers reports that peers may come that nobody has listed: within EstablishTime the
// restart is not over then.
func (d *Deferral[K]) AddOthers() { d.others = true }

// Remove reports that a peer is not configured any more.
func (d *Deferral[K]) Remove(k K) { delete(d.peers, k) }

// Up reports an Established session. RFC 4724, Section 4.1: the speaker "MUST defer route
// selection for an address family until it either (a) receives the End-of-RIB marker from
// all its peers (excluding the ones with the "Restart State" bit set in the received
// capability and excluding the ones that do not advertise the graceful restart capability)
// or (b) the Selection_Deferral_Timer referred to below has expired." We deviate: all
// families wait for each other, and a peer that has restarted itself is waited for as long
// as one without a session, since what it is going to announce may be what our forwarding
// state still has.
func (d *Deferral[K]) Up(k K, n *Negotiated) {
	g := n.Remote.GracefulRestart
	d.heard = true
	*d.peer(k) = deferralPeer{up: true, missing: n.Families, noEndOfRIB: g == nil, restarted: g != nil && g.Restarting}
}

// Down reports the end of a session, or that the state of the path to a peer without one has
// changed. A peer whose path is down (BFD, or the interface) is not waited for.
func (d *Deferral[K]) Down(k K, pathDown bool) {
	p := d.peer(k)
	p.up, p.pathDown = false, pathDown
}

// EndOfRIB reports an End-of-RIB.
func (d *Deferral[K]) EndOfRIB(k K, f wire.Family) {
	if p := d.peers[k]; p != nil {
		p.missing = p.missing.Without(f)
	}
}

// Advance ends the restart if it is over.
func (d *Deferral[K]) Advance(now time.Time) {
	d.early = now.Before(d.began.Add(d.cfg.EstablishTime))
	if d.active && d.complete(now) {
		d.active, d.peers = false, nil
	}
}

func (d *Deferral[K]) complete(now time.Time) bool {
	if !now.Before(d.began.Add(d.cfg.DeferralTime)) {
		return true
	}
	if d.early && (d.others || len(d.peers) == 0) {
		return false
	}
	if !d.heard && len(d.peers) > 0 {
		return false
	}
	for _, p := range d.peers {
		if p.awaited(d.early) {
			return false
		}
	}
	return true
}

// awaited reports whether the speaker waits for the peer; early says that EstablishTime is
// not over.
func (p *deferralPeer) awaited(early bool) bool {
	if p.pathDown {
		return false
	}
	if !p.up {
		return early
	}
	return p.missing != 0 && !p.noEndOfRIB && (early || !p.restarted)
}

// Deadline returns when Advance may end the restart without another event; zero if never.
func (d *Deferral[K]) Deadline() time.Time {
	switch {
	case !d.active:
		return time.Time{}
	case d.early:
		return d.began.Add(min(d.cfg.EstablishTime, d.cfg.DeferralTime))
	}
	return d.began.Add(d.cfg.DeferralTime)
}

package bgp

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// learned are the paths of a peer: its Adj-RIB-In, which lives longer than a session, and
// what graceful restart makes of it. Only the peer's owner uses it.
type learned struct {
	in     *rib.In     // nil before the first session
	help   fsm.Helper  // decides when stale paths are dropped (RFC 4724, Section 4.2)
	info   *peerInfo   // the status of the peer
	events *peerEvents // where events of the peer are published
}

// open makes the Adj-RIB-In fit for a session.
func (l *learned) open(table *rib.Table, c rib.PeerConfig) error {
	if l.in != nil {
		return l.in.Configure(c)
	}
	in, err := table.NewIn(c)
	if err != nil {
		return err
	}
	l.in = in
	l.info.set(func(*PeerStatus) { l.info.in = in })
	return nil
}

// close drops all paths.
func (l *learned) close() {
	if l.in != nil {
		l.in.Close()
	}
}

// up takes in that a session is Established.
func (l *learned) up(now time.Time, n *fsm.Negotiated) {
	l.help.Up(now, n)
	l.apply()
}

// lost takes in that a session has ended. An end on purpose has a reason of its own for
// which paths are retained; why is nil otherwise.
func (l *learned) lost(now time.Time, n *fsm.Negotiated, retain bool, why *ending) {
	if why != nil {
		retain = why.retain(n)
		if retain {
			for _, f := range n.Families.Slice() {
				why.drop(l.in, f)
			}
		}
	}
	l.help.Lost(now, n, retain)
	l.apply()
}

// endOfRIB takes in the peer's End-of-RIB.
func (l *learned) endOfRIB(f wire.Family) {
	l.help.EndOfRIB(f)
	l.apply()
}

// advance does what is due at now.
func (l *learned) advance(now time.Time) {
	l.help.Advance(now)
	l.apply()
}

// pathDown applies a failure to the paths of a peer without a session.
func (l *learned) pathDown(why *ending) {
	if l.in == nil {
		return
	}
	if !why.retainLast && len(why.elsewhere) == 0 {
		l.help.DropStale()
		l.apply()
		return
	}
	for _, f := range l.help.Stale().Slice() {
		why.drop(l.in, f)
	}
}

// apply does to the paths what graceful restart wants.
func (l *learned) apply() {
	phase := l.help.Phase()
	for _, e := range l.help.Effects() {
		if l.in == nil {
			continue
		}
		switch e.Action {
		case fsm.HelperDrop:
			l.in.Drop(e.Family)
		case fsm.HelperMarkStale:
			l.in.MarkStale(e.Family)
		case fsm.HelperMarkLongLived:
			l.in.MarkLongLived(e.Family)
		case fsm.HelperSweep:
			l.in.Sweep(e.Family)
		case fsm.HelperMarkTwiceStale:
			l.in.MarkTwiceStale(e.Family)
		case fsm.HelperSweepTwiceStale:
			l.in.SweepTwiceStale(e.Family)
		}
	}
	changed := false
	l.info.set(func(st *PeerStatus) {
		changed = st.Restart != phase
		st.Restart = phase
	})
	if changed {
		l.events.event(EventRestart, nil)
	}
}

// ending says that a session is ended on purpose, so that the rules of graceful restart for
// a lost connection do not apply. The zero value retains nothing.
type ending struct {
	// retainLast retains paths as stale for whose prefix there is no other, until there is one.
	retainLast bool
	// elsewhere has the next hops that the failure does not concern.
	elsewhere []netip.Prefix
}

func (e *ending) retain(n *fsm.Negotiated) bool {
	return (e.retainLast || len(e.elsewhere) > 0) && n.GracefulRestart
}

// drop drops the paths of a family that the failure concerns.
func (e *ending) drop(in *rib.In, f wire.Family) {
	if e.retainLast {
		in.DropRedundant(f, e.elsewhere...)
	} else {
		in.DropOnLink(f, e.elsewhere...)
	}
}

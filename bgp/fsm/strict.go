package fsm

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// StrictConfig is BGP BFD strict mode: a session does not become Established before BFD to the
// peer is Up (draft-ietf-idr-bgp-bfd-strict-mode-19). It is in force on a connection on which both
// OPENs have its capability. Then a connection whose OPENs are exchanged while BFD is not Up stays
// in OpenSent, without our KEEPALIVE, until BFD is.
//
// The wait always ends: HoldTime bounds it, and so does the negotiated hold time, in which the
// peer hears no KEEPALIVE of ours. The next attempt comes after the usual back-off, or at once when
// BFD is Up.
type StrictConfig struct {
	// Enabled has our OPEN offer it (OpenConfig.BFDStrict is to be the same), and has the session
	// wait if the peer's offers it, too. A peer that does not gets an ordinary session.
	Enabled bool
	// Required has the session wait whatever the peer's OPEN says. A peer that does not offer it
	// ends the connection by its HoldTimer, since it hears no KEEPALIVE: use it where BFD is
	// known to be there.
	Required bool
	// HoldTime is how long a connection may wait for BFD (BfdHoldTime, Section 3). 0 means the
	// negotiated hold time, or 30 s if that is 0.
	HoldTime time.Duration
	// HoldDown is how long BFD must have been Up before a session becomes Established (Section
	// 10). 0 means that it may at once. A BFD session that flaps has to wait for longer: see
	// [HoldDownMax].
	HoldDown time.Duration
}

// defaultBFDHold is the default of BfdHoldTime (draft-ietf-idr-bgp-bfd-strict-mode-19, Section 3),
// for sessions without a HoldTimer.
const defaultBFDHold = 30 * time.Second

// Dampening of a BFD session that flaps, in strict mode. One that goes Down within FlapTime of the
// moment from which a session could use it has flapped: the next time it must have been Up for a
// second, then for two, and so on, up to HoldDownMax. One that stays Up for longer, or Down for
// FlapTime, has its flaps forgotten.
const (
	FlapTime    = time.Minute
	HoldDownMax = time.Minute
)

// applies reports whether strict mode is in force on a connection.
func (c *StrictConfig) applies(n *Negotiated) bool {
	return c.Enabled && (c.Required || n.bfdStrict())
}

// holdTime returns how long a connection with a negotiated hold time may wait for BFD.
func (c *StrictConfig) holdTime(negotiated time.Duration) time.Duration {
	switch {
	case c.HoldTime > 0:
		return c.HoldTime
	case negotiated > 0:
		return negotiated
	}
	return defaultBFDHold
}

// bfdGate is what BFD says of the path to a peer, for strict mode: sessions that it applies to
// become Established while the gate is open. The zero value knows nothing yet, and is closed.
type bfdGate struct {
	state    EventKind     // the last that was reported: EventBFDUp, EventBFDDown, EventBFDAdminDown; 0: none
	upAt     time.Time     // when BFD came Up
	holdDown time.Duration // for how long from then the gate stays closed
	opensAt  time.Time     // when that ends; zero: it has ended, or BFD is not Up
	flaps    int           // in a row
	forgetAt time.Time     // when they are forgotten, since BFD is Down; zero: it is not, or none is known
}

// open reports whether BFD is no reason to wait. It is none where a side took it down on purpose
// (RFC 5882, Section 4.2).
func (g *bfdGate) open() bool {
	return g.state == EventBFDAdminDown || g.state == EventBFDUp && g.opensAt.IsZero()
}

// take takes in what BFD says, and reports whether that is new.
func (g *bfdGate) take(now time.Time, kind EventKind, c *StrictConfig) bool {
	was := g.state
	if kind == was {
		return false
	}
	g.state = kind
	if was == EventBFDUp {
		g.opensAt = time.Time{}
		switch {
		case kind != EventBFDDown || !c.Enabled:
		case now.Sub(g.upAt) < g.holdDown+FlapTime:
			g.flaps++
			g.forgetAt = now.Add(FlapTime)
		default:
			g.flaps = 0
		}
	}
	if kind != EventBFDDown {
		g.forgetAt = time.Time{}
	}
	if kind == EventBFDUp {
		g.upAt = now
		g.hold(now, c)
	}
	return true
}

// hold keeps the gate closed for as long as BFD must have been Up.
func (g *bfdGate) hold(now time.Time, c *StrictConfig) {
	g.holdDown, g.opensAt = 0, time.Time{}
	if !c.Enabled {
		return
	}
	g.holdDown = c.HoldDown
	if g.flaps > 0 {
		g.holdDown = max(c.HoldDown, doubled(time.Second, HoldDownMax, g.flaps-1))
	}
	if at := g.upAt.Add(g.holdDown); now.Before(at) {
		g.opensAt = at
	}
}

// forgetFlaps has BFD count as one that has never flapped.
func (g *bfdGate) forgetFlaps(now time.Time, c *StrictConfig) {
	g.flaps, g.forgetAt = 0, time.Time{}
	if g.state == EventBFDUp {
		g.hold(now, c)
	}
}

// bfdWait is the wait of a connection for BFD: the sub-states of
// draft-ietf-idr-bgp-bfd-strict-mode-19, Section 8.1. The zero value is none.
type bfdWait struct {
	on        bool      // OpenSentBfdUpPending
	confirmed bool      // OpenSentConfirmedBfdUpPending: the peer's KEEPALIVE has come
	since     time.Time // when it began
	until     time.Time // the BfdHoldTimer; zero: BFD is Up, and held down
}

// bfdDown is Cease/BFD Down (RFC 9384, Section 3).
var bfdDown = wire.Notification{Code: wire.CodeCease, Subcode: wire.SubBFDDown}

// awaitBFD begins the wait. It deviates from Section 8.5.5, which starts the BfdHoldTimer only if
// there is no HoldTimer: a peer that sends KEEPALIVEs would have us wait for ever.
func (c *connection) awaitBFD(now time.Time) {
	c.bfd = bfdWait{on: true, since: now}
	if c.gate.state != EventBFDUp {
		c.bfd.until = now.Add(c.cfg.Strict.holdTime(c.hold))
	}
}

// bfd takes in what BFD says of the path to the peer.
func (m *Machine) bfd(now time.Time, ev Event) {
	if ev.Kind != EventBFDUp {
		m.pathUp = time.Time{}
	}
	was := m.gate.state
	changed := m.gate.take(now, ev.Kind, &m.cfg.Strict)
	switch {
	case ev.Kind == EventBFDDown && m.State() == Established:
		m.stopBoth(now, ev)
	case ev.Kind == EventBFDDown && changed && was != 0:
		// Sections 8.5.2 and 8.6.2. That it has not been Up yet is no reason: that is what the
		// wait is for.
		for _, c := range []*connection{&m.second, &m.first} {
			if c.strict {
				m.step(now, c, ev)
			}
		}
	case m.gate.open():
		m.bfdOpen(now, ev)
	case ev.Kind == EventBFDUp:
		for _, c := range []*connection{&m.second, &m.first} {
			c.bfd.until = time.Time{} // the gate opens, or BFD goes Down again
		}
	}
}

// bfdOpen lets the connection on that waits for BFD. Without one, BFD that is Up is a reason to try
// at once.
func (m *Machine) bfdOpen(now time.Time, ev Event) {
	waits := false
	for _, c := range []*connection{&m.second, &m.first} {
		if c.bfd.on {
			waits = true
			m.step(now, c, ev)
		}
	}
	if !waits && ev.Kind == EventBFDUp {
		m.RetryNow(now)
	}
}

// Flapped reports whether the machine remembers that BFD has flapped and is Down now, which it does
// for [FlapTime].
func (m *Machine) Flapped() bool { return !m.gate.forgetAt.IsZero() }

// BFDWait is a wait for BFD, in strict mode.
type BFDWait struct {
	Conn  ConnID    // the connection that waits, in OpenSent
	Since time.Time // when its OPENs were exchanged
	// Until is how long it may wait; zero if BFD is Up.
	Until time.Time
	// HeldDown, if BFD is Up, is until when it must have been Up (StrictConfig.HoldDown, or
	// dampening); else zero.
	HeldDown time.Time
}

// WaitsForBFD returns what waits for BFD, and whether anything does.
func (m *Machine) WaitsForBFD() (w BFDWait, waits bool) {
	for _, c := range []*connection{&m.first, &m.second} {
		if c.bfd.on {
			return BFDWait{c.id, c.bfd.since, c.bfd.until, m.gate.opensAt}, true
		}
	}
	return w, false
}

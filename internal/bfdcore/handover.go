package bfdcore

// One process hands its sessions over to its successor, the taker, over a connection. The
// giver stops serving the sessions, sends everything, and waits:
//
//	giver                     taker
//	everything      ------->
//	                <-------  ready   it has everything, and could go on
//	go              ------->          or no: the giver goes on itself
//	                <-------  runs    the giver ends
//
// Either may die at any moment, which the other one sees as the end of the connection,
// since both keep it open: the giver after it has sent everything, the taker until it
// runs. So a connection that ends says that the other process is dead, and the sessions
// are one's own.
//
// A taker that is alive and stuck between go and runs has the sessions, and no process serves
// them until it goes on: the giver cannot know whether it will. So a taker has done
// everything that takes time before it is ready.
//
// In version 1 there is no runs: the giver ends after go. And it closes the connection in
// place of no, since a taker of version 1 takes every frame for go; so there the end
// of the connection does not say that the giver is dead.

// GiverEvent is what a [Giver] hears of.
type GiverEvent uint8

// What happens to a giver that has sent everything.
const (
	GiverReady    GiverEvent = iota // the taker is ready
	GiverTimedOut                   // the taker takes too long
	GiverRuns                       // the taker runs
	GiverClosed                     // the connection ended
	GiverStopped                    // the process is to end
)

// GiverAction is what a [Giver] has to do.
type GiverAction uint8

// What a giver does.
const (
	GiverWait   GiverAction = iota // nothing
	GiverSayGo                     // say go
	GiverSayNo                     // say no, keep the connection, and serve the sessions again
	GiverResume                    // serve the sessions again
	GiverEnd                       // end, and leave the sessions to the taker
)

// Giver is the process that hands over, once it has sent everything.
type Giver struct {
	Confirms bool // the taker says that it runs: version 2
	gone     bool // go was said
	over     bool // it goes on or ends: later events change nothing
}

// Step takes an event and returns what to do.
func (g *Giver) Step(e GiverEvent) GiverAction {
	if g.over {
		return GiverWait
	}
	switch {
	case e == GiverReady && !g.gone:
		g.gone = true
		return GiverSayGo
	case e == GiverRuns && g.gone, e == GiverStopped && g.gone:
		g.over = true
		return GiverEnd
	case e == GiverClosed:
		g.over = true
		return GiverResume
	case (e == GiverTimedOut || e == GiverStopped || e == GiverRuns) && !g.gone:
		g.over = true
		return GiverSayNo
	}
	return GiverWait
}

// Said notes that go was written. It reports whether the giver ends: in version 1 there is
// nothing to wait for.
func (g *Giver) Said() (end bool) {
	g.over = g.over || !g.Confirms
	return !g.Confirms
}

// TakerEvent is what a [Taker] hears of.
type TakerEvent uint8

// What happens to a taker.
const (
	TakerComplete TakerEvent = iota // everything is here
	TakerGo                         // the giver says go
	TakerNo                         // the giver says no
	TakerClosed                     // the connection ended
)

// TakerAction is what a [Taker] has to do.
type TakerAction uint8

// What a taker does.
const (
	TakerWait     TakerAction = iota // nothing
	TakerSayReady                    // say ready; if that cannot be said, it has failed
	TakerRun                         // serve the sessions, then say runs
	TakerFail                        // let go of everything: the giver goes on
)

// Taker is the process that takes over.
type Taker struct {
	Confirms bool // version 2
	ready    bool // ready was said
	over     bool // it runs or has failed: later events change nothing
}

// Step takes an event and returns what to do.
func (t *Taker) Step(e TakerEvent) TakerAction {
	switch {
	case t.over:
		return TakerWait
	case e == TakerComplete && !t.ready:
		t.ready = true
		return TakerSayReady
	case t.ready && (e == TakerGo || e == TakerClosed && t.Confirms):
		t.over = true
		return TakerRun
	}
	t.over = true
	return TakerFail
}

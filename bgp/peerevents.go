package bgp

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
)

// peerEvents makes the events of a peer, and publishes those that its reporter lets through.
// Only the peer's owner uses it.
type peerEvents struct {
	key  PeerKey          // of the peer
	now  func() time.Time // the time of day
	hub  *eventHub        // of the speaker
	info *peerInfo        // where the last error is to be seen
	m    *fsm.Machine     // whose state events have
	help *fsm.Helper      // likewise
	rep  *reporter        // leaves out repetitions

	reason *PeerError // why the connection that is being closed has ended
}

// event publishes that something has happened to the peer.
func (e *peerEvents) event(kind EventKind, err error) {
	e.publish(Event{Kind: kind, State: e.m.State(), Err: err})
}

// publish publishes an event that has its Kind, State, Family and Err.
func (e *peerEvents) publish(ev Event) {
	now := e.now()
	ev.Time, ev.Peer, ev.Restart = now, e.key, e.help.Phase()
	e.send(e.rep.take(now, ev))
}

func (e *peerEvents) send(events []Event) {
	for _, ev := range events {
		e.hub.publish(ev)
	}
}

// record keeps and publishes why there is no connection.
func (e *peerEvents) record(now time.Time, err *PeerError, state State) {
	err.Peer, err.Time, err.State = e.key, now, state
	e.info.set(func(st *PeerStatus) { st.LastError = err })
	e.failed(err)
}

// failed publishes why a connection has ended.
func (e *peerEvents) failed(err *PeerError) {
	e.reason = err
	e.publish(Event{Kind: EventError, State: err.State, Err: err})
}

// advance publishes what is due at now.
func (e *peerEvents) advance(now time.Time) { e.send(e.rep.advance(now, e.key)) }

package app

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/bfdrestart"
)

// watch follows the clients: it logs what happens to them, and ties a BFD session
// to each from the moment it is Established, or waits for BFD, until the speaker forgets it. So the
// path is watched also while a client restarts and only its stale paths are left.
type watch struct {
	speaker *bgp.Speaker
	log     *slog.Logger
	now     func() time.Time
	bfd     bfd.Service // nil: no BFD
	session bfd.SessionConfig

	again bool               // bgpEvent's: the snapshot that comes was printed before
	downs map[bfd.Key]uint64 // bfdEvent's: Event.Downs of the last event

	mu    sync.Mutex // guards the following
	keys  map[bgp.PeerKey]bfd.Key
	peers map[bfd.Key]bgp.PeerKey
	since map[bfd.Key]time.Time // when the session was added
	up    map[bfd.Key]bool      // sessions that are Up
	// restarts are the sessions that the client, or the BFD process, has restarted: the path of
	// one that is not Up again in time counts as failed.
	restarts bfdrestart.Sessions
}

func newWatch(o options, s *bgp.Speaker, c CoreConfig) (*watch, error) {
	w := &watch{
		speaker: s, log: c.Log, now: c.Now, bfd: c.BFD,
		keys: map[bgp.PeerKey]bfd.Key{}, peers: map[bfd.Key]bgp.PeerKey{}, since: map[bfd.Key]time.Time{}, up: map[bfd.Key]bool{}, downs: map[bfd.Key]uint64{},
		session: bfd.SessionConfig{
			Key:          bfd.Key{NetNS: o.netns},
			DesiredMinTx: o.bfdInterval, RequiredMinRx: o.bfdInterval, Multiplier: o.bfdMultiplier,
		},
	}
	if w.bfd == nil {
		return w, nil
	}
	return w, w.answer(o.probes)
}

// bgpEvent handles an event of the speaker.
func (w *watch) bgpEvent(e bgp.Event) {
	if e.Lost > 0 {
		w.again = true
		w.log.Warn("events lost", "count", e.Lost)
		w.reconcile()
	}
	if !w.again || !e.Snapshot {
		w.print(e)
	}
	switch e.Kind {
	case bgp.EventUp:
		w.add(e.Peer)
	case bgp.EventBFDWait:
		if e.BFDWait != nil {
			w.waits(e.Peer)
		}
	case bgp.EventRemoved:
		w.remove(e.Peer)
	case bgp.EventSnapshot:
		w.again = false
	}
}

// print logs an event. State changes on the way to Established are noise.
func (w *watch) print(e bgp.Event) {
	attrs := []any{"peer", e.Peer.String()}
	if e.Err != nil {
		attrs = append(attrs, "err", e.Err)
	}
	if e.Repeats > 0 {
		attrs = append(attrs, "repeats", e.Repeats)
	}
	if e.Failures > 1 {
		attrs = append(attrs, "failures", e.Failures, "in", e.Time.Sub(e.Since).Round(time.Millisecond))
	}
	flap := e.Flapping && e.Kind != bgp.EventError && e.Kind != bgp.EventStable
	switch e.Kind {
	case bgp.EventState, bgp.EventAdded, bgp.EventRemoved, bgp.EventSnapshot:
		flap = true
	case bgp.EventBFDWait: // its end has an event of its own
		flap = flap || e.BFDWait == nil || e.Failures > 0
	}
	if flap {
		w.log.Debug(e.Kind.String(), append(attrs, "state", e.State)...)
		return
	}
	switch e.Kind {
	case bgp.EventError, bgp.EventUpdateError, bgp.EventListen, bgp.EventPlain, bgp.EventUnsendable, bgp.EventPrefixLimit:
		w.log.Warn(e.Kind.String(), attrs...)
	case bgp.EventEndOfRIB:
		w.log.Info(e.Kind.String(), append(attrs, "family", e.Family)...)
	case bgp.EventRestart:
		w.log.Info(e.Kind.String(), append(attrs, "phase", e.Restart)...)
	case bgp.EventConverged:
		w.log.Info(e.Kind.String())
	default:
		w.log.Info(e.Kind.String(), attrs...)
	}
}

// add watches the path to a client.
func (w *watch) add(peer bgp.PeerKey) {
	if w.bfd == nil {
		return
	}
	st, err := w.speaker.Peer(peer)
	if err != nil || !st.Local.IsValid() {
		return // gone again; its next session brings us back here
	}
	c := w.session
	c.Peer, c.Local = peer.Addr, st.Local.Addr()
	key := c.Key.Normal()
	w.mu.Lock()
	old, known := w.keys[peer]
	w.keys[peer], w.peers[key] = key, peer
	if !known || old != key {
		w.since[key] = w.now()
	}
	w.mu.Unlock()
	if known && old != key {
		w.forget(old)
	}
	if err := w.bfd.Add(c); err != nil {
		w.log.Error("bfd", "peer", peer.String(), "err", err)
	}
}

// waits brings up the session of a client that waits for BFD: the BFD session begins, or is up
// already. What is said of it from now on reaches the speaker, since it has the client.
func (w *watch) waits(peer bgp.PeerKey) {
	w.add(peer)
	w.mu.Lock()
	key, known := w.keys[peer]
	up := known && w.up[key]
	w.mu.Unlock()
	if up {
		w.say(peer, w.speaker.PathUp(peer))
	}
}

// remove ends the watch of a client that the speaker has forgotten.
func (w *watch) remove(peer bgp.PeerKey) {
	w.mu.Lock()
	key, known := w.keys[peer]
	delete(w.keys, peer)
	w.mu.Unlock()
	if known {
		w.forget(key)
	}
}

func (w *watch) forget(key bfd.Key) {
	w.mu.Lock()
	delete(w.peers, key)
	delete(w.since, key)
	delete(w.up, key)
	w.restarts.End(key)
	w.mu.Unlock()
	if err := w.bfd.Remove(key); err != nil && !errors.Is(err, bfd.ErrNoSession) {
		w.log.Error("bfd", "session", key.String(), "err", err)
	}
}

// reconcile brings the BFD sessions in line with the peers after events were
// lost.
func (w *watch) reconcile() {
	alive := map[bgp.PeerKey]bool{}
	for _, st := range w.speaker.Peers() {
		alive[st.Key] = true
		switch {
		case st.State == bgp.Established:
			w.add(st.Key)
		case st.BFDWait != nil:
			w.waits(st.Key)
		}
	}
	w.mu.Lock()
	var gone []bgp.PeerKey
	for peer := range w.keys {
		if !alive[peer] {
			gone = append(gone, peer)
		}
	}
	w.mu.Unlock()
	slices.SortFunc(gone, func(a, b bgp.PeerKey) int { return cmp.Or(a.Addr.Compare(b.Addr), a.Local.Compare(b.Local)) })
	for _, peer := range gone {
		w.remove(peer)
	}
}

// bfdEvent turns the fall of a BFD session into the end of the BGP session.
func (w *watch) bfdEvent(e bfd.Event) {
	w.mu.Lock()
	was := w.up[e.Key]
	if delete(w.up, e.Key); e.State == bfd.StateUp && !e.Removed {
		w.up[e.Key] = true
	}
	peer, known := w.peers[e.Key]
	// A session that comes back soon after it was removed keeps its count, and
	// begins with Down for no reason, or for one that was acted upon before.
	ours := known && !e.Removed && !e.Time.Before(w.since[e.Key])
	fell := ours && e.Downs > w.downs[e.Key] && e.Reason != bfd.ReasonNone
	restarted := fell && bfdrestart.ByPeer(e) || ours && was && bfdrestart.ByUs(e)
	switch {
	case restarted:
		w.restarts.Begin(e.Key, w.now())
	case fell || e.Removed || e.State == bfd.StateUp:
		w.restarts.End(e.Key)
	}
	w.mu.Unlock()
	if e.Removed {
		delete(w.downs, e.Key)
		return
	}
	w.downs[e.Key] = e.Downs
	switch {
	case !known || !fell && !restarted && e.State != bfd.StateUp:
		return
	case restarted:
		w.log.Info("bfd restarted", "peer", peer.String(), "state", e.State, "reason", e.Reason.String(), "after", w.now().Sub(e.Time))
		return
	}
	w.log.Info("bfd", "peer", peer.String(), "state", e.State, "reason", e.Reason.String(), "after", w.now().Sub(e.Time))
	switch {
	case e.State == bfd.StateUp:
		w.say(peer, w.speaker.PathUp(peer))
	case e.Reason == bfd.ReasonRemoteAdminDown:
		w.say(peer, w.speaker.PathDown(peer, bgp.PathFailureBFDRemoteAdminDown))
	case e.RemoteC:
		// The client's BFD does not share the fate of its control plane, and ours,
		// which does, is alive, since it reads this: the path has failed (RFC 5882,
		// Section 4.3.1). Kept as stale, it would draw traffic into the hole.
		w.say(peer, w.speaker.PathDown(peer, bgp.PathFailureBFDDownIndependent))
	default:
		w.say(peer, w.speaker.PathDown(peer, bgp.PathFailureBFDDown))
	}
}

// deadline returns when advance has something to do, the zero Time if never.
func (w *watch) deadline() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.restarts.Deadline()
}

// advance ends the BGP sessions of those clients whose BFD sessions were restarted and did not come
// up, and reports whether there were any.
func (w *watch) advance() (did bool) {
	w.mu.Lock()
	var failed []bgp.PeerKey
	for _, k := range w.restarts.Expired(w.now()) {
		if peer, ok := w.peers[k]; ok {
			failed = append(failed, peer)
		}
	}
	w.mu.Unlock()
	for _, peer := range failed {
		w.log.Info("bfd", "peer", peer.String(), "state", bfd.StateDown, "reason", "not up again", "after", bfdrestart.Time)
		w.say(peer, w.speaker.PathDown(peer, bgp.PathFailureBFDDown))
	}
	return len(failed) > 0
}

// say notes what became of what the speaker was told of a path. That it has forgotten the client, or
// has ended, is no error.
func (w *watch) say(peer bgp.PeerKey, err error) {
	if err != nil && !errors.Is(err, bgp.ErrNoPeer) && !errors.Is(err, bgp.ErrClosed) {
		w.log.Error("bfd", "peer", peer.String(), "err", err)
	}
}

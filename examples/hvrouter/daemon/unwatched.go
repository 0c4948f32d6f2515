package daemon

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// unwatchedTime is for how long a BGP session may be Established without its BFD, or wait for it, before that is an event:
// a BFD session that is to come up does so within seconds. unwatchedLook is between two looks. The attempts of a session
// that waits are counted together, if no more than unwatchedGap is between them: bgp.idle-hold is a minute.
const (
	unwatchedTime = time.Minute
	unwatchedLook = 10 * time.Second
	unwatchedGap  = 5 * time.Minute
)

// unwatched tells of BGP sessions whose BFD does not come up: once each, until it is Up. What has ended with BFD, or never
// came up for other reasons, has events of its own.
type unwatched struct {
	log   *slog.Logger
	since map[bfd.Key]time.Time // since when a session that is Established has been seen so
	waits map[bfd.Key]*waitSeen
	told  map[bfd.Key]bool
}

// waitSeen is what looks have seen of a session that waits for BFD, by the attempt.
type waitSeen struct {
	first, last time.Time
	total       time.Duration
}

// seen notes that a session waits.
func (w *waitSeen) seen(now time.Time) {
	if w.first.IsZero() || now.Sub(w.last) > unwatchedGap {
		*w = waitSeen{first: now, last: now}
		return
	}
	w.total += min(now.Sub(w.last), unwatchedLook)
	w.last = now
}

func newUnwatched(log *slog.Logger) *unwatched {
	return &unwatched{log: log, since: map[bfd.Key]time.Time{}, waits: map[bfd.Key]*waitSeen{}, told: map[bfd.Key]bool{}}
}

// take looks at the sessions as they are now.
func (u *unwatched) take(list []sessions.Status, bfds []bfd.Status, now time.Time) {
	of := make(map[bfd.Key]bfd.Status, len(bfds))
	for _, b := range bfds {
		of[b.Key] = b
	}
	seen := map[bfd.Key]bool{}
	for _, s := range list {
		k := peering.BFDKey(s.NetNS, s.Reflector)
		b, ok := of[k]
		if !ok || b.State == bfd.StateUp || b.State == bfd.StateAdminDown || s.Disabled != nil {
			continue
		}
		seen[k] = true
		var since time.Time
		var lasts time.Duration
		what := "BGP is Established without its BFD"
		switch {
		case s.Peer.BFDWait != nil:
			w := u.waits[k]
			if w == nil {
				w = &waitSeen{}
				u.waits[k] = w
			}
			w.seen(now)
			since, lasts, what = w.first, w.total, "BGP waits for BFD"
			delete(u.since, k)
		case s.Peer.State == bgp.Established:
			since = cmp.Or(u.since[k], now)
			lasts, u.since[k] = now.Sub(since), since
			delete(u.waits, k)
		default:
			delete(u.since, k)
			continue
		}
		if u.told[k] || lasts < unwatchedTime {
			continue
		}
		u.told[k] = true
		log := u.log
		if s.NetNS != "" {
			log = log.With("netns", string(s.NetNS))
		}
		log.Warn(what, "event", "bfd-missing", "domain", s.Domains, "peer", s.Reflector.Peer, "interface", s.Reflector.Interface,
			"state", b.State.String(), "since", since, "why", whyUnwatched(b))
	}
	maps.DeleteFunc(u.told, func(k bfd.Key, _ bool) bool { return !seen[k] })
	maps.DeleteFunc(u.since, func(k bfd.Key, _ time.Time) bool { return !seen[k] })
	maps.DeleteFunc(u.waits, func(k bfd.Key, _ *waitSeen) bool { return !seen[k] })
}

// whyUnwatched says why BFD is not Up. RFC 5880, Section 6.2: "Init state means that the remote system is communicating,
// and the local system desires to bring the session up, but the remote system does not yet realize it."
func whyUnwatched(b bfd.Status) string {
	switch {
	case b.Received == 0:
		return "nothing has come from there"
	case b.State == bfd.StateInit:
		return "the peer does not hear us"
	case b.Reason == bfd.ReasonNone:
		return "the peer's state is " + b.RemoteState.String()
	}
	return b.Reason.String()
}

// watchUnwatched looks at the sessions every now and then until ctx ends.
func (d *Daemon) watchUnwatched(ctx context.Context) error {
	u := newUnwatched(d.log)
	for pause(ctx, unwatchedLook) == nil {
		var c *config.Config
		if !d.loop.do(ctx, func() { c = d.router.cfg }) {
			return nil
		}
		if bfds, err := d.failover.Sessions(); err == nil && len(bfds) > 0 {
			u.take(d.sessions.States(c), bfds, time.Now())
		}
	}
	return nil
}

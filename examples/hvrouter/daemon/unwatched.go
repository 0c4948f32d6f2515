package daemon

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// unwatchedTime is for how long a BGP session may be Established without its BFD, or wait for it, before that is an event:
// a BFD session that is to come up does so within seconds. unwatchedLook is between two looks.
const (
	unwatchedTime = time.Minute
	unwatchedLook = 10 * time.Second
)

// unwatched tells of BGP sessions whose BFD does not come up: once each, until it is Up. What has ended with BFD, or never
// came up for other reasons, has events of its own.
type unwatched struct {
	log   *slog.Logger
	since map[bfd.Key]time.Time // since when a session that is Established has been seen so
	told  map[bfd.Key]bool
}

func newUnwatched(log *slog.Logger) *unwatched {
	return &unwatched{log: log, since: map[bfd.Key]time.Time{}, told: map[bfd.Key]bool{}}
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
		since, what := time.Time{}, "BGP is Established without its BFD"
		switch {
		case s.Peer.BFDWait != nil:
			since, what = s.Peer.BFDWait.Since, "BGP waits for BFD"
			delete(u.since, k)
		case s.Peer.State == bgp.Established:
			since = cmp.Or(u.since[k], now)
			u.since[k] = since
		default:
			delete(u.since, k)
			continue
		}
		if u.told[k] || now.Sub(since) < unwatchedTime {
			continue
		}
		u.told[k] = true
		why := b.Reason.String()
		if b.Received == 0 {
			why = "nothing has come from there"
		}
		u.log.Warn(what, "event", "bfd-missing", "domain", s.Domains, "peer", s.Reflector.Peer, "interface", s.Reflector.Interface,
			"state", b.State.String(), "since", since, "why", why)
	}
	for k := range u.told {
		if !seen[k] {
			delete(u.told, k)
		}
	}
	for k := range u.since {
		if !seen[k] {
			delete(u.since, k)
		}
	}
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

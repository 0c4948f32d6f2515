package sessions

import (
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
)

// rollout decides when changed sessions get their new configuration. A change that ends
// no session is made at once. Those that do are made fabric by fabric, the next one when
// the sessions of the one before are back and have sent all of their routes: a host that is on two
// fabrics is never off both, whatever the new configuration is worth.
//
// What does not come back is waited for no longer than rolloutTime. If a fabric has then
// no session any more because of us, the others stay as they are: they work, and the new
// configuration does not. They change when that fabric is back, when they end by
// themselves, or with the next configuration. The zero value is ready.
type rollout struct {
	began  time.Time       // of the last step, or of the waiting for the first; zero: nothing waits
	broken map[string]bool // fabrics of which sessions that were up have been ended
	stuck  bool            // it has been reported that it goes no further
}

// rolloutTime is how long sessions that were ended have to come back: BIRD refuses a
// peer for a minute after an error, unless it is configured otherwise.
const rolloutTime = 90 * time.Second

// rolloutSession is a session as a rollout sees it.
type rolloutSession struct {
	key     bgp.PeerKey
	fabric  string
	changed bool // its configuration is not what it should be
	ends    bool // the change would end a session that is up
	gone    bool // it is to be removed
	up      bool
	settled bool // it is up, and the peer has sent all of its routes
}

// step returns which of the changed sessions are due for their configuration now, and whether it
// has just become clear that the others will not. Sessions are in the order of the file.
func (o *rollout) step(now time.Time, all []rolloutSession) (due []bgp.PeerKey, stuck bool) {
	var fabrics []string // in which something waits
	for _, s := range all {
		if s.changed && !s.ends && !o.blocked(s, all) {
			due = append(due, s.key)
		} else if s.changed && !slices.Contains(fabrics, s.fabric) {
			fabrics = append(fabrics, s.fabric)
		}
	}
	if len(fabrics) == 0 {
		*o = rollout{}
		return due, false
	}
	if o.began.IsZero() {
		o.began = now
	}
	late := !now.Before(o.began.Add(rolloutTime))
	for _, f := range fabrics {
		if !o.may(f, all, late) {
			continue
		}
		o.began, o.stuck = now, false
		if o.broken == nil {
			o.broken = map[string]bool{}
		}
		for _, s := range all {
			if s.changed && s.fabric == f && !slices.Contains(due, s.key) {
				o.broken[f] = o.broken[f] || s.ends
				due = append(due, s.key)
			}
		}
		return due, false
	}
	stuck = late && !o.stuck
	o.stuck = o.stuck || late
	return due, stuck
}

// waits reports whether some session waits for its new configuration.
func (o *rollout) waits() bool { return !o.began.IsZero() }

// blocked reports whether a session that is not up must wait for another one with the same
// peer to change: the kernel has one MD5 key for an address.
func (o *rollout) blocked(s rolloutSession, all []rolloutSession) bool {
	return slices.ContainsFunc(all, func(t rolloutSession) bool {
		return t.key != s.key && t.key.Addr == s.key.Addr && t.gone && t.ends
	})
}

// may reports whether sessions of a fabric that are up may be ended: every other fabric of
// which we have ended sessions is back, and some other session is up, if there is another
// fabric. late: those that are not settled are not waited for any longer.
func (o *rollout) may(fabric string, all []rolloutSession, late bool) bool {
	others, some := false, false
	back := maps.Clone(o.broken)
	for _, s := range all {
		if s.fabric == fabric || s.gone {
			continue
		}
		others = true
		some = some || s.settled || late && s.up
		if o.broken[s.fabric] && !s.settled && !late {
			return false
		}
		if s.up {
			delete(back, s.fabric)
		}
	}
	delete(back, fabric)
	return len(back) == 0 && (!others || some || late && len(o.broken) == 0)
}

// deadline returns when there is something to do although nothing has happened, the zero
// time if there is not.
func (o *rollout) deadline() time.Time {
	if o.began.IsZero() || o.stuck {
		return time.Time{}
	}
	return o.began.Add(rolloutTime)
}

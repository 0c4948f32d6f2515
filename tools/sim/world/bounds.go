package world

import (
	"fmt"
	"slices"
	"time"
)

// Bounds. An invariant may be broken for a while after something has happened: the news, by
// default for the detection time and 20 ms. It may be broken for longer only while a process
// that has to bring the news, or to act on it, is away: a line of the table in docs/simulator.md.

// slack is what comes on top of the detection time: the withdrawal of a reflector, and the
// writing of the others.
const slack = 20 * time.Millisecond

// bound is a line of that table.
type bound struct {
	name    string
	loose   bool // more than the default
	applies int  // how often something was broken under it
}

// absence is that a process or a kernel does not do its part. The zero value is that it does.
type absence struct {
	name  string // of its bound
	since time.Duration
	until time.Duration // never: it goes on
	began bool
	least time.Duration // until when it lasts anyway, while until is never
}

// leave begins an absence, or goes on with one.
func (w *World) leave(a *absence, name string) {
	if !a.began || a.until < w.now {
		*a = absence{name: name, since: w.now, began: true}
	}
	if a.until != never {
		a.least, a.until = a.until, never
	}
}

// back ends an absence; tail is how long it takes then until everything is as it would be.
func (w *World) back(a *absence, tail time.Duration) {
	if a.began && a.until == never {
		a.until = max(w.now+tail, a.least)
		w.rejudge()
	}
}

// pause is an absence of which the end is known. One that goes on lasts until then at least.
func (w *World) pause(a *absence, name string, d time.Duration) {
	if a.began && a.until == never {
		a.least = max(a.least, w.now+d)
		return
	}
	if a.began && a.until >= w.now+d {
		return
	}
	if !a.began || a.until < w.now {
		*a = absence{name: name, since: w.now, began: true}
	}
	a.until = w.now + d
	w.rejudge()
}

// excuses reports whether an absence explains that news has not been acted on.
func (a *absence) excuses(w *World, news time.Duration) bool {
	return a.began && a.until >= w.now && news >= a.since-w.detection(w.hosts...)-slack
}

// ended returns when an absence with the tail of a way that is back has ended, never if it goes on.
func (a *absence) ended() time.Duration {
	if a.until == never {
		return never
	}
	return a.until - restore
}

// goesOn reports whether an absence went on when another one began.
func (a *absence) goesOn(other *absence) bool {
	return a.began && other.began && a.since <= other.since && a.until >= other.since
}

// rejudge judges the flows that are broken.
func (w *World) rejudge() {
	for _, f := range w.broken {
		w.judge(f)
	}
}

// allowance is until when something may be broken, and why.
type allowance struct {
	name  string
	loose bool
	until time.Duration
}

// allowed returns the allowance that lasts longest for a flow that is broken.
func (w *World) allowed(f *flow) (best allowance) {
	home := f.home()
	if home == nil && f.guest != nil {
		home = f.guest.before
	}
	n := w.newsOf(f, home)
	w.promised(f, home, n, &best)
	w.excused(f, home, n, &best)
	return best
}

// consider replaces an allowance by one that lasts longer.
func (best *allowance) consider(name string, loose bool, until time.Duration) {
	if until > best.until {
		*best = allowance{name, loose, until}
	}
}

// news is when something happened last that concerns a flow, at whom; negative: nothing has.
type news struct {
	last                        time.Duration // at who has the guest, or had it last
	home, guest, reflector, all time.Duration // home: also at who had it before that
}

// at returns a time, negative if nothing has happened.
func at(t time.Duration, told bool) time.Duration {
	if told {
		return t
	}
	return -1
}

// newsOf returns what has happened at those that a flow depends on.
func (w *World) newsOf(f *flow, home *hypervisor) news {
	n := news{-1, -1, -1, -1, -1}
	if home != nil {
		n.last = at(home.news, home.told)
		n.home = n.last
	}
	if f.guest != nil {
		n.guest = at(f.guest.news, f.guest.told)
	}
	if f.guest != nil && f.guest.before != nil && f.guest.before != home {
		n.home = max(n.home, at(f.guest.before.news, f.guest.before.told))
	}
	for _, r := range w.reflectors {
		n.reflector = max(n.reflector, at(r.news, r.told))
	}
	n.all = max(at(f.from.news, f.from.told), n.home, n.guest, n.reflector)
	return n
}

// promised considers the bounds that hold while all programs run.
func (w *World) promised(f *flow, home *hypervisor, n news, best *allowance) {
	best.consider("the start", true, w.upBy)
	detection := w.detection(f.from, home)
	if f.guest != nil {
		detection = max(detection, w.detection(f.guest.before))
	}
	switch {
	case f.kind == ghost && n.all >= 0:
		best.consider("ghosts: detection time and 1 s", false, n.all+detection+departure)
		best.consider("the sender's cable is cut at the same time: 120 s, or 45 s after it is whole", true, w.lastPaths(f, n))
		best.consider("the sender has lost a session of several domains: 120 s, or 45 s after its cable is whole", true, w.retained(f))
	case n.all >= 0:
		best.consider("detection time and 20 ms", false, n.all+detection+slack)
		if n.guest >= 0 {
			best.consider("a guest comes or moves: 500 ms", false, n.guest+arrival)
		}
	}
	if f.wayBack > 0 {
		best.consider("the only way is back", true, f.wayBack+slack)
	}
}

// excused considers the bounds that hold because a program, a cable or a kernel is not there.
func (w *World) excused(f *flow, home *hypervisor, n news, best *allowance) {
	excuse := func(a *absence, news time.Duration) {
		if a.excuses(w, news) {
			best.consider(a.name, true, a.until)
		}
	}
	if f.guest != nil {
		excuse(&f.from.away[publicDeaf], n.all)
	} else {
		excuse(&f.from.away[privateDeaf], n.all)
	}
	returned := time.Duration(-1)
	if home != nil {
		returned = at(home.returned, home.returned > 0)
	}
	excuse(&f.from.away[daemonAway], max(n.home, n.guest, n.reflector, returned))
	if a := f.from.away[daemonAway]; f.from.partial {
		a.name = "a session of the sender is not up when its daemon goes, and its cable is cut: 35 s after its return"
		excuse(&a, n.all)
	}
	if home != nil && f.guest == nil && w.config.Sessions == SessionsShared {
		excuse(&home.away[daemonAway], n.home) // it alone takes a next hop back whose probe is down
	}
	concerned := []*hypervisor{f.from, home}
	if f.guest != nil && f.guest.before != home {
		concerned = append(concerned, f.guest.before)
	}
	for _, h := range concerned {
		if h == nil {
			continue
		}
		excuse(&h.away[daemonAway], max(n.guest, n.reflector))
		if p, a := &h.away[pathAway], h.away[daemonAway]; p.goesOn(&a) && max(n.home, n.guest, n.reflector) >= p.since-w.detection(h)-slack {
			a.name = "the daemon goes while its cable or TCP is in trouble: 35 s after its return"
			excuse(&a, a.since)
		}
		for _, part := range []int{bfdAway, pathAway, bootAway} {
			if h.away[part].goesOn(&f.from.away[daemonAway]) {
				excuse(&f.from.away[daemonAway], f.from.away[daemonAway].since) // the news is not over
			}
		}
		if a := h.away[daemonAway]; a.began && w.now >= h.retained()+restartTime {
			a.name = "the daemon is away for longer than the restart time: 35 s after its return"
			excuse(&a, w.now)
		}
		excuse(&h.away[bfdAway], n.all)
		excuse(&h.away[handoverAway], n.all)
		excuse(&h.away[unwatchedAway], w.now)
		excuse(&h.away[pathAway], max(n.all, returned)) // a daemon that is back has news, too
		excuse(&h.away[bootAway], w.now)
	}
	if f.guest != nil {
		for _, x := range f.guest.former {
			switch a := x.h.away[daemonAway]; {
			case f.kind == ghost || !x.dead:
				excuse(&a, x.left)
			case home != nil && w.severed(home):
				a.name = "a guest has left a dead daemon for a host that a reflector does not hear: 35 s after its return"
				excuse(&a, x.left)
			}
		}
	}
	for _, h := range w.hosts {
		// A foreign route is announced to all, as it should be.
		excuse(&h.away[kernelAway], w.now)
		excuse(&h.away[foreignAway], w.now)
	}
	for _, r := range w.reflectors {
		excuse(&r.away, n.all)
	}
	if home != nil && home.untold {
		a := home.away[daemonAway]
		a.name = "the daemon goes before it has told a reflector that is back: 35 s after its return"
		excuse(&a, n.all)
	}
}

// severed reports whether a reflector of public addresses runs that has no session with a hypervisor, as its
// cable is cut, or was until a moment ago: of its guests that reflector may know nothing but what others, who had
// them before, have left.
func (w *World) severed(h *hypervisor) bool {
	for i, net := range networks {
		r, p := w.reflectors[w.config.session(i)], h.ports[w.config.session(i)]
		if net.domain == "public" && r.process.state == running && !(passes(p, r.port()) && passes(r.port(), p) && w.now-p.troubled >= restore) {
			return true
		}
	}
	return false
}

// retained returns until when a sender may use the paths of a session that is lost, where it carries
// several domains: those over other links outlive it, and of its own link BFD takes care as long as
// there is another path.
func (w *World) retained(f *flow) (until time.Duration) {
	for i := range networks[:2] {
		p := f.from.ports[i]
		if w.config.Sessions != SessionsShared || p.lostAt == 0 {
			continue
		}
		end := p.lostAt + w.detection(f.from) + restartTime
		if !p.deaf && !p.mute && p.carrier {
			end = min(end, p.troubled+restore)
		}
		until = max(until, f.from.drops(end))
	}
	return until
}

// drops returns when a hypervisor drops what its daemon may use until then: a daemon that is away by then, or
// slow, drops it when it is back.
func (h *hypervisor) drops(end time.Duration) time.Duration {
	if a := &h.away[daemonAway]; a.began && a.since <= end && a.until > end {
		return a.until
	}
	return end
}

// lastPaths returns until when a sender may use the paths of a reflector to which its cable was cut
// silently just when there was news of the other end, or shortly after, if TCP had stood still or the cable had
// been in trouble since, or before that, if it heard no other reflector when the news came: BFD Down without the C bit may be the reflector alone, so that a path which is the last
// one by then is retained (RFC 5882, Section 4.3.2), and a reflector that is heard afterwards has nothing
// to say of who has gone meanwhile.
func (w *World) lastPaths(f *flow, n news) (until time.Duration) {
	for i, net := range networks {
		p := f.from.ports[i]
		if (net.domain == "private") != (f.guest == nil) || p.cutAt == 0 {
			continue
		}
		late := w.detection(f.from, f.home()) + slack
		noticed := p.cutAt
		if a := &f.from.away[daemonAway]; a.began && a.since <= p.cutAt+late {
			noticed = max(noticed, f.from.returned) // it was away
		}
		deaf := &f.from.away[publicDeaf]
		if f.guest == nil {
			deaf = &f.from.away[privateDeaf]
		}
		// What was said while TCP stood still has not come either, if that went on until the cut.
		still, from := &f.from.away[pathAway], p.cutAt
		if still.began && still.until >= p.cutAt {
			from = min(from, still.since)
		}
		unheard := func(news time.Duration) bool { return news >= from-late && news <= noticed+late }
		alone := func(news time.Duration) bool {
			return deaf.began && news >= max(deaf.since, p.cutAt)-late && news <= deaf.ended()+late
		}
		if !unheard(n.home) && !unheard(n.last) && !unheard(n.guest) && !unheard(n.reflector) && !alone(n.home) && !alone(n.guest) {
			continue
		}
		end := noticed + w.detection(f.from) + restartTime
		if !p.deaf && !p.mute {
			end = min(end, p.troubled+restore)
		}
		until = max(until, f.from.drops(end))
	}
	return until
}

// restartTime is how long peers keep the paths of a daemon that is away (RFC 4724, Section 4.2).
const restartTime = 120 * time.Second

// retained returns since when peers keep the paths of a daemon that is away: since it went, or since a reset from which a
// session was not back by then.
func (h *hypervisor) retained() time.Duration {
	since := h.away[daemonAway].since
	if h.partial && h.resetAt > 0 && since < h.resetAt+restore {
		return min(since, h.resetAt)
	}
	return since
}

// restore is how long a way that has come back does not count: the sessions over it come up
// first.
const restore = 45 * time.Second

// The parts of a hypervisor that may be away.
const (
	daemonAway = iota
	bfdAway
	unwatchedAway
	kernelAway
	pathAway
	bootAway
	handoverAway
	foreignAway
	publicDeaf
	privateDeaf
	parts
)

// hearing notes which hypervisors hear no reflector of a domain, or are heard by none, so that there is
// no session: what has happened elsewhere cannot reach them.
func (w *World) hearing() {
	for _, h := range w.hosts {
		hears := map[string]bool{}
		for i, net := range networks {
			s := w.config.session(i)
			r := w.reflectors[s]
			if r.process.state == running && passes(r.port(), h.ports[s]) && passes(h.ports[s], r.port()) {
				hears[net.domain] = true
			}
		}
		for part, domain := range deafness {
			if domain == "" {
				continue
			}
			if hears[domain] {
				w.back(&h.away[part], restore)
			} else if h.alive {
				w.leave(&h.away[part], "the sender hears no reflector: 45 s after it does again")
			}
		}
	}
}

// used counts a bound.
func (w *World) used(a allowance) {
	i := slices.IndexFunc(w.bounds, func(b *bound) bool { return b.name == a.name })
	if i < 0 {
		i = len(w.bounds)
		w.bounds = append(w.bounds, &bound{name: a.name, loose: a.loose})
	}
	w.bounds[i].applies++
}

// Bounds returns how often each bound was needed, a line each.
func (w *World) Bounds() (lines []string) {
	for _, b := range w.bounds {
		kind := "default"
		if b.loose {
			kind = "loosened"
		}
		lines = append(lines, fmt.Sprintf("%-60s %-9s %d", b.name, kind, b.applies))
	}
	slices.Sort(lines)
	return lines
}

// Violation is an invariant that was broken for longer than its bound.
type Violation struct {
	At        time.Duration
	Invariant string
	Bound     string // for how long it may be broken at that time, see docs/simulator.md; empty: there is none
	What      string
}

// sameAs reports whether v is of the same kind as other: what is shrunk to another bound has another cause.
func (v Violation) sameAs(other Violation) bool {
	return v.Invariant == other.Invariant && v.Bound == other.Bound
}

// String returns when, which and what.
func (v Violation) String() string {
	return fmt.Sprintf("+%v %s: %s", v.At.Round(time.Microsecond), v.Invariant, v.What)
}

// violate records a violation.
func (w *World) violate(invariant, format string, args ...any) {
	w.record(Violation{w.now, invariant, "", fmt.Sprintf(format, args...)})
}

func (w *World) record(v Violation) {
	w.Violations = append(w.Violations, v)
	w.note("VIOLATION %s: %s", v.Invariant, v.What)
}

// happened notes that something has happened to a hypervisor that others must learn of.
func (h *hypervisor) happened() { h.news, h.told = h.w.now, true }

// deafness are the domains that a hypervisor may hear nothing of.
var deafness = [parts]string{publicDeaf: "public", privateDeaf: "private"}

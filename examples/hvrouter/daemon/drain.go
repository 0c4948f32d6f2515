package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// DrainState is a drain as it outlives the daemon. The zero value is none.
type DrainState struct {
	// Since is when it began.
	Since time.Time `json:"since"`
	// All: what no other router announces is withdrawn, too.
	All bool `json:"all,omitempty"`
}

// On reports whether the host is drained.
func (d DrainState) On() bool { return d != DrainState{} }

// draining is the drain of a router.
type draining struct {
	state DrainState
	// over is when what could move at the beginning has had the time to; zero: it has, and that
	// was logged.
	over time.Time
}

// setDrain begins, changes or ends a drain.
func (r *router) setDrain(d DrainState) {
	if d == r.draining.state {
		return
	}
	now := r.now()
	if d.On() {
		// A date that comes from a file is compared with the wall clock, which people set, once and
		// here. From here on it is measured by the monotonic clock. The clock may have been set back
		// since.
		d.Since = now.Add(-max(0, now.Sub(d.Since)))
	}
	r.draining = draining{state: d}
	if d.On() {
		r.draining.over = now.Add(domain.MoveTime)
		r.log.Info("draining", "event", "drain", "since", d.Since.Format(time.RFC3339), "all", d.All)
	} else {
		r.log.Info("not drained any more", "event", "undrain")
	}
	for g := range r.all {
		r.announcements.drain(g, d)
	}
	r.drainEVPN(d)
}

// defaults returns what becomes of the default routes that neighbours are announced.
func (d DrainState) defaults(now time.Time) sessions.Drain {
	switch {
	case !d.On():
		return sessions.DrainOff
	case d.All && !now.Before(d.Since.Add(domain.MoveTime)):
		return sessions.DrainAll
	}
	return sessions.DrainOn
}

// drained logs, once, that what could move at the beginning of a drain has moved.
func (r *router) drained(now time.Time) {
	if r.draining.over.IsZero() || now.Before(r.draining.over) {
		return
	}
	announced, withdrawn := 0, 0
	for g := range r.all {
		g.bgp.DrainDefaults(r.draining.state.defaults(now))
		for _, p := range r.drainedOf(g) {
			switch {
			case p.Announced && p.Leaves.After(now):
				r.draining.over = p.Leaves
				return
			case p.Announced:
				announced++
			case !p.Leaves.IsZero():
				withdrawn++
			}
		}
	}
	r.draining.over = time.Time{}
	r.log.Info("drained", "event", "drained", "withdrawn", withdrawn, "announced", announced)
}

// drainedOf returns how the prefixes of a domain stand, but for those of a family that no session of it
// carries: nobody hears of them.
func (r *router) drainedOf(g *routing) []domain.Drained {
	v4, v6 := r.cfg.Families(*r.cfg.Domain(g.name))
	return slices.DeleteFunc(g.exports.Drained(), func(p domain.Drained) bool {
		return p.Prefix.Addr().Is4() && !v4 || p.Prefix.Addr().Is6() && !v6
	})
}

// drain begins, changes or ends the drain of a domain.
func (a *announcements) drain(g *routing, d DrainState) {
	g.bgp.DrainDefaults(d.defaults(a.now()))
	g.exports.Drain(domain.Drain{On: d.On(), All: d.All, Since: d.Since}, a.now(), &a.out)
	a.flush(g)
}

// drainStatus says how far the drain has come. sent counts, by interface, the packets that were
// sent to guests; nil is not known.
func (r *router) drainStatus(sent map[string]uint64) api.Drain {
	d := api.Drain{Drained: r.draining.state.On(), Since: r.draining.state.Since, All: r.draining.state.All, Prefixes: []api.DrainedPrefix{}}
	if !d.Drained {
		return d
	}
	now := r.now()
	d.Moving = !r.draining.over.IsZero()
	guests := map[string]string{} // by interface
	for _, p := range r.attached.ports {
		guests[p.Interface] = p.Name
	}
	for g := range r.all {
		for _, p := range r.drainedOf(g) {
			one := api.DrainedPrefix{Domain: g.name, Prefix: p.Prefix.String(), Announced: p.Announced, Alternative: p.Alternative}
			s, _ := g.rib.Explain(p.Prefix)
			if s.Local != nil && len(s.Local.NextHops) > 0 {
				one.Interface = s.Local.NextHops[0].Link
				one.Guest = guests[one.Interface]
				one.Own = one.Guest == ""
				if n, ok := sent[one.Interface]; ok && !one.Own {
					one.Packets = &n
				}
			}
			d.Moving = d.Moving || p.Announced && p.Leaves.After(now)
			d.Prefixes = append(d.Prefixes, one)
		}
	}
	return d
}

// drainFile is where a drain outlives the daemon.
type drainFile struct{ path string }

func newDrainFile(directory string) drainFile { return drainFile{filepath.Join(directory, "drain")} }

// load returns the drain of an earlier run. If that cannot be known, the host is taken for drained:
// what it serves stays reachable, and no traffic comes back that had been moved away.
func (f drainFile) load(ctx context.Context, log *slog.Logger) (d DrainState) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	data, err := (&files.Reader{}).Read(ctx, f.path, 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return d
	}
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err == nil && !d.On() {
		err = errors.New("it does not say since when")
	}
	if err != nil {
		log.Error("it is not known whether the host is drained: it counts as drained until `hvrouter undrain`", "event", "drain-unknown", "path", f.path, "err", err)
		return DrainState{Since: time.Now()}
	}
	return d
}

// save makes a drain outlive the daemon and the host.
func (f drainFile) save(d DrainState) error {
	if !d.On() {
		return files.Remove(f.path)
	}
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return saveState(f.path, append(data, '\n'))
}

// volatile says why a drain does not outlive a restart of the host, "" if it does.
func (f drainFile) volatile() string {
	if dir := filepath.Dir(f.path); inMemory(dir) {
		return "a restart of the host ends the drain: " + dir + " is in memory only (state-directory)"
	}
	return ""
}

// Drain implements [api.Backend]. A host whose disk takes nothing is drained all the same, and its
// status says that a restart ends that: the one who drains it may be about to repair the disk.
func (d backend) Drain(opt api.DrainOptions) (api.Drain, error) {
	return d.setDrain(opt.UntilStop, func(old DrainState) DrainState {
		if old.On() && old.All == opt.All {
			return old
		}
		return DrainState{Since: time.Now(), All: opt.All}
	})
}

// Undrain implements [api.Backend].
func (d backend) Undrain() (api.Drain, error) {
	return d.setDrain(false, func(DrainState) DrainState { return DrainState{} })
}

// setDrain changes the drain. What cannot be written down is done all the same, and the status says
// what a restart will do.
func (d backend) setDrain(untilStop bool, change func(DrainState) DrainState) (api.Drain, error) {
	d.draining.Lock()
	defer d.draining.Unlock()
	var old DrainState
	if !d.loop.do(d.ctx, func() { old = d.router.draining.state }) {
		return api.Drain{}, d.ctx.Err()
	}
	next, file, unwritten := change(old), newDrainFile(d.stateDirectory), ""
	if untilStop {
		unwritten = "the drain ends with the daemon, as was asked for"
	} else if err := file.save(next); err != nil && !next.On() {
		unwritten = "a restart of the daemon drains the host again if " + file.path + " is there then, or cannot be read: " + err.Error()
		d.log.Error("the end of the drain is not written down: a restart of the daemon may drain the host again", "event", "undrain-unwritten", "path", file.path, "err", err)
	} else if err != nil {
		unwritten = "a restart of the daemon ends the drain: " + err.Error()
		d.log.Error("the drain is not written down: a restart of the daemon ends it", "event", "drain-unwritten", "err", err)
	}
	d.drainUnwritten.Store(&unwritten)
	if !d.loop.do(d.ctx, func() { d.router.setDrain(next) }) {
		return api.Drain{}, d.ctx.Err()
	}
	return d.DrainStatus(), nil
}

// DrainStatus implements [api.Backend].
func (d backend) DrainStatus() (s api.Drain) {
	var path string
	d.ask(func(r *router) { path = r.home().NetNS().Path() })
	sent := host.Sent(path)
	d.ask(func(r *router) { s = r.drainStatus(sent) })
	if why := d.drainUnwritten.Load(); why != nil {
		s.Unwritten = *why
	}
	if s.Drained {
		s.Volatile = newDrainFile(d.stateDirectory).volatile()
	}
	return s
}

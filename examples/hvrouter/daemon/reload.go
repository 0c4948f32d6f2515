package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/change"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// reloader reads the configuration again, and says when the daemon is ready.
type reloader struct {
	opt      Options
	log      *slog.Logger
	loop     loop
	router   *router
	sessions *sessions.Speakers
	rights   func(*config.Config) error // what the process may not, as host.Rights says

	mu     sync.Mutex // one reload at a time; systemd hears one thing at a time
	ready  bool       // Ready has been called
	trial  *trial
	access *api.Access // to the API

	done, refused, rolledBack atomic.Uint64 // reloads since the start

	wrong  atomic.Pointer[api.RefusedFile] // the configuration's file as the last reload found it; nil: right
	reader files.Reader                    // of that file, for those who ask
}

// onSignals reloads at every signal until ctx ends.
func (l *reloader) onSignals(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.opt.Reload:
			_, _ = l.reload(ctx, api.ReloadOptions{}) // what is refused is logged
		}
	}
}

// judged is a configuration that may be made the one that counts, and what that changes.
type judged struct {
	config  *config.Config
	host    config.Host
	list    []api.Change
	stays   []string // of what guests were moved to
	preview preview
}

// reload reads the configuration and changes what changed. One that is bad, that changes what
// only a restart can, or that loses what people would miss is refused whole, before anything is
// touched; the last only unless it is forced. Reloads wait for each other, and none begins while
// one waits for its confirmation.
func (l *reloader) reload(ctx context.Context, opt api.ReloadOptions) (out api.Reload, err error) {
	if !opt.DryRun {
		defer func() {
			if out.Done {
				l.done.Add(1)
				l.wrong.Store(nil)
				return
			}
			l.refused.Add(1)
			if ctx.Err() == nil { // also to who looks at the events later, and has not seen the answer of the command
				l.log.Error("configuration refused, the old one stays", "event", "reload-refused", "err", err)
			}
		}()
	}
	if opt.DryRun {
		j, err := l.judge(ctx, opt)
		out.Changes, out.Stays, out.Kernel, out.More = j.list, j.stays, j.preview.list, j.preview.more
		return out, err
	}
	defer l.settleMoves(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.carryOut(ctx, l.trial.core.Retry(time.Now()))
	if err := l.trial.core.Busy(time.Now()); err != nil {
		return out, err
	}
	defer l.announce()()
	j, err := l.judge(ctx, opt)
	if err != nil {
		if opt.Text == nil && ctx.Err() == nil {
			l.wrong.Store(&api.RefusedFile{Since: time.Now(), Error: first(err), Unreadable: j.config == nil})
		}
		return out, err
	}
	if opt.Text == nil && opt.Confirm == 0 {
		if !l.apply(ctx, j) {
			return out, context.Canceled
		}
	} else if err := l.try(ctx, j, opt); err != nil {
		return out, err
	}
	out.Changes, out.Stays, out.Done = j.list, j.stays, true
	out.Confirmation = l.trial.confirmation()
	return out, ctx.Err()
}

// refusedFile returns what is wrong with the configuration's file, nil if nothing is, or if it is
// again what counts, c. A file system that does not answer is waited for a second at most.
func (l *reloader) refusedFile(ctx context.Context, c *config.Config) *api.RefusedFile {
	wrong := l.wrong.Load()
	if wrong == nil || c == nil {
		return wrong
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if text, err := l.reader.Read(ctx, l.opt.ConfigFile, config.MaxSize); err == nil && string(text) == c.Text() {
		return nil
	}
	return wrong
}

// first returns the first of the reasons of a refusal, and how many more there are.
func first(err error) string {
	list := strings.Split(err.Error(), "\n")
	if _, ok := err.(lossError); ok { // its first line is about all of them
		list = list[1:]
	}
	text := strings.TrimSpace(list[0])
	n := len(list) - 1
	var mistakes config.Errors
	if errors.As(err, &mistakes) {
		n = mistakes.Count() - 1
	}
	if lost, ok := err.(lossError); ok {
		n = len(lost) - 1
	}
	if n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}

// announce tells systemd that a reload begins. The function that is returned tells it that it has
// ended.
func (l *reloader) announce() func() {
	if !l.ready {
		return func() {}
	}
	call(l.opt.Reloading)
	return func() {
		if l.opt.Ready != nil {
			l.opt.Ready(readiness(l.sessions))
		}
	}
}

// judge reads the configuration that is to be reloaded, and what it would do. An error is why it
// is refused.
func (l *reloader) judge(ctx context.Context, opt api.ReloadOptions) (j judged, err error) {
	if opt.Text == nil {
		j.config, err = config.Load(l.opt.ConfigFile)
	} else {
		j.config, err = config.Parse(opt.Name, opt.Text, config.HostTables())
	}
	if err != nil {
		return j, err
	}
	if !l.loop.do(ctx, func() { j.config = l.router.finders.withFound(j.config) }) {
		return j, context.Canceled
	}
	j.host = facts(l.log, j.config)
	if j.list, j.stays, err = l.foresee(ctx, j.config, j.host); err != nil {
		return j, err
	}
	if opt.DryRun {
		l.loop.do(ctx, func() {
			in := l.router.guests.Clone()
			admit(in, j.config, j.host)
			j.preview = l.router.preview(j.config, in)
		})
	}
	if lost := losses(j.list); len(lost) > 0 && !opt.Force {
		return j, lost
	}
	return j, nil
}

// apply makes a configuration the one that counts. It reports whether it has: the daemon may have
// ended.
func (l *reloader) apply(ctx context.Context, j judged) bool {
	return l.loop.do(ctx, func() { l.count(j) })
}

// count makes a configuration the one that counts, on the loop.
func (l *reloader) count(j judged) {
	if l.opt.Configured != nil {
		l.opt.Configured(j.config)
	}
	if err := l.access.Share(j.config.API, j.config.APIGroup); err != nil {
		l.log.Error("the API has its old group", "event", "api-group", "group", j.config.APIGroup, "err", err)
	}
	l.router.reload(j.config, j.host, j.list)
}

// foresee returns what a reload would do, without doing any of it. An error is what it
// cannot do.
func (l *reloader) foresee(ctx context.Context, c *config.Config, h config.Host) (list []api.Change, stays []string, err error) {
	var old *config.Config
	var follows []api.Change
	err = context.Canceled
	l.loop.do(ctx, func() {
		old = l.router.cfg
		follows, stays, err = l.router.tryReload(c, h)
	})
	if err != nil {
		return nil, nil, err
	}
	if err := l.rights(c); err != nil {
		return nil, nil, err
	}
	if _, err := api.LookupGroup(c.APIGroup); err != nil {
		return nil, nil, err
	}
	for _, f := range host.Worse(host.Check(old, host.System), host.Check(c, host.System)) {
		list = append(list, api.Change{Text: f.String(), Position: c.Where(f.Path), Loses: true})
	}
	return append(list, follows...), stays, nil
}

// settleMoves forgets the moves of guests that the configuration has overtaken, unless it waits for
// its confirmation.
func (l *reloader) settleMoves(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, _, waits := l.trial.core.Waiting(time.Now()); !waits {
		l.loop.do(ctx, func() { l.router.settleMoves(guest.FromConfig) })
	}
}

// tryReload tries a configuration on a copy of the inventory. It returns what a reload would do, and
// what would stay that guests were moved to. An error is what cannot change while running.
func (r *router) tryReload(c *config.Config, h config.Host) (list []api.Change, stays []string, err error) {
	if err := fixed(r.cfg, c); err != nil {
		return nil, nil, err
	}
	if err := r.tryDomains(c); err != nil {
		return nil, nil, err
	}
	list, stays = r.changes(c, h)
	return list, stays, nil
}

// changes returns what a reload would do that follows from the configuration and from the guests
// that there are, and what would stay that guests were moved to.
func (r *router) changes(c *config.Config, h config.Host) (list []api.Change, stays []string) {
	in := r.guests.Clone()
	for _, err := range admit(in, c, h) {
		list = append(list, api.Change{Text: "guest refused: " + err.Error(), Loses: true})
	}
	for _, change := range change.Between(r.cfg, c) {
		list = append(list, api.Change{Text: change.Text, Position: c.Where(change.Path), Loses: change.Loses})
	}
	return append(list, moveChanges(c, in, r.now())...), standingMoves(in)
}

// becomeReady calls Ready once every session is up and all of its routes have come, or the
// deferral time has passed since the start.
func (l *reloader) becomeReady(ctx context.Context) error {
	l.sessions.WaitSync(ctx)
	if ctx.Err() != nil {
		return nil
	}
	why := readiness(l.sessions)
	l.log.Info("ready", "event", "ready", "why", why)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = true
	if l.opt.Ready != nil {
		l.opt.Ready(why)
	}
	return nil
}

// readiness says which sessions are up.
func readiness(s *sessions.Speakers) string {
	missing, all := s.Missing()
	if len(missing) == 0 {
		return fmt.Sprintf("all %d sessions are up", all)
	}
	return fmt.Sprintf("%d of %d sessions are up, without %s", all-len(missing), all, strings.Join(missing, ", "))
}

// losses is the error about what a reload would lose.
func losses(list []api.Change) lossError {
	var lost lossError
	for _, c := range list {
		if c.Loses {
			lost = append(lost, c)
		}
	}
	return lost
}

type lossError []api.Change

// mostLost is how many losses the error names, which the log has as well; the others are counted.
const mostLost = 50

func (e lossError) Error() string {
	lines := []string{"nothing was changed, since this would be lost (-force does it all the same):"}
	for i, c := range e {
		if i == mostLost {
			lines = append(lines, fmt.Sprintf("  and %d more: -dry-run lists them", len(e)-i))
			break
		}
		lines = append(lines, "  "+c.String())
	}
	return strings.Join(lines, "\n")
}

// fixed refuses what cannot change while running.
func fixed(old, new *config.Config) error {
	var errs []error
	must := func(what string, same bool) {
		if !same {
			errs = append(errs, fmt.Errorf("%s has changed: that needs a restart", what))
		}
	}
	must("router-id", old.RouterID == new.RouterID)
	must("as", old.AS == new.AS)
	must("api", old.API == new.API)
	must("metrics", old.Metrics == new.Metrics)
	must("state-directory", old.StateDirectory == new.StateDirectory)
	must("audit", old.Audit == new.Audit)
	must("bfd.realtime", old.BFD.Realtime == new.BFD.Realtime)
	must("bfd.process", old.BFD.Process == new.BFD.Process && old.BFD.Socket == new.BFD.Socket)
	must("bgp.port", old.BGP.Port == new.BGP.Port)
	must("bgp.graceful-restart", old.BGP.GracefulRestart == new.BGP.GracefulRestart)
	must("bgp.multipath", old.BGP.Multipath == new.BGP.Multipath)
	must("isolation", old.Isolation == new.Isolation)
	must("the VRFs", old.GuestVRF() == new.GuestVRF() && old.LoopbackVRF() == new.LoopbackVRF())
	must("inventory.directory", old.Inventory.Directory == new.Inventory.Directory)
	must("inventory.state", old.Inventory.State == new.Inventory.State)
	must("firewall.table", old.Firewall.Table == new.Firewall.Table)
	must("local-out.table", localOutTable(old) == localOutTable(new))
	must("what lives in which network namespace", slices.EqualFunc(old.Namespaces(), new.Namespaces(), func(a, b config.Namespace) bool { return a.NetNS == b.NetNS }) &&
		old.GuestNetNS() == new.GuestNetNS() && old.LoopbackNetNS() == new.LoopbackNetNS())
	return errors.Join(append(errs, fixedDomains(old, new)...)...)
}

// localOutTable returns the table for what the hypervisor itself sends, 0 if there is none.
func localOutTable(c *config.Config) uint32 {
	if c.LocalOut == nil {
		return 0
	}
	return c.LocalOut.Table.ID
}

package daemon

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/confirm"
)

// trial is a configuration that came as a file of its own, or that waits for its confirmation.
// The reloader's lock guards it.
type trial struct {
	core  confirm.Core
	files confirm.Files
	old   *config.Config
	new   judged
	wake  chan struct{} // the deadline may be another one
	shown atomic.Pointer[shownTrial]
}

func newTrial(file string) *trial {
	return &trial{files: confirm.Files{Config: file}, wake: make(chan struct{}, 1)}
}

// try puts a configuration on trial, or, if it needs no confirmation, makes it and its file the
// ones that count. An error is that nothing was changed.
func (l *reloader) try(ctx context.Context, j judged, opt api.ReloadOptions) error {
	t := l.trial
	l.loop.do(ctx, func() { t.old = l.router.cfg })
	switch {
	case t.old == nil:
		return ctx.Err()
	case t.old.Text() == "":
		return errors.New("the configuration that counts came from no file: there is none to return to")
	}
	t.new = j
	name := opt.Name
	if opt.Text == nil {
		name = l.opt.ConfigFile
	}
	fx, err := t.core.Begin(time.Now(), confirm.Record{Name: name, Old: t.old.Text(), New: j.config.Text(), Window: opt.Confirm})
	if err != nil {
		return err
	}
	return l.carryOut(ctx, fx)
}

// confirm makes the configuration that waits count for good.
func (l *reloader) confirm(ctx context.Context) error { return l.decide(ctx, l.trial.core.Confirm) }

// cancel brings the configuration before it back at once.
func (l *reloader) cancel(ctx context.Context) error { return l.decide(ctx, l.trial.core.Cancel) }

func (l *reloader) decide(ctx context.Context, how func(time.Time) ([]confirm.Effect, error)) error {
	defer l.settleMoves(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	fx, err := how(time.Now())
	if err != nil {
		return err
	}
	return l.carryOut(ctx, fx)
}

// follow does what is due, and goes on with what an earlier run has left, until ctx ends.
func (l *reloader) follow(ctx context.Context) error {
	l.recover(ctx)
	l.settleMoves(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.mu.Lock()
		next := l.trial.core.Deadline()
		l.mu.Unlock()
		if timer.Stop(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.trial.wake:
		case <-timer.C:
			l.mu.Lock()
			_ = l.carryOut(ctx, l.trial.core.Advance(time.Now())) // it is reported, and tried again
			l.mu.Unlock()
			l.settleMoves(ctx)
		}
	}
}

// recover goes on with the record of an earlier run. The daemon has started with what counts by
// it.
func (l *reloader) recover(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok, err := l.trial.files.Read()
	if err != nil {
		l.log.Error("the record of a reload cannot be understood: the configuration's file counts", "event", "reload-unwritten", "err", err)
		_ = l.trial.files.SetAside()
	}
	if ok {
		_ = l.carryOut(ctx, l.trial.core.Recover(time.Now(), r))
	}
}

// carryOut does what was decided, and what is decided because of that. The error is that the
// record could not be written.
func (l *reloader) carryOut(ctx context.Context, fx []confirm.Effect) (failed error) {
	t := l.trial
	for len(fx) > 0 {
		e := fx[0]
		fx = fx[1:]
		switch e.Action {
		case confirm.Save:
			failed = t.files.Save(e.Record)
			fx = append(fx, t.core.Written(time.Now(), failed)...)
		case confirm.Install:
			fx = append(fx, t.core.Written(time.Now(), t.files.Install(e.Record))...)
		case confirm.Apply:
			if j := t.new; !e.Old {
				l.loop.do(ctx, func() { l.router.guests.Try(t.old.Guests) })
				l.apply(ctx, j)
			} else {
				l.restore(ctx, t.old)
			}
		case confirm.Report:
			l.report(e)
		}
	}
	t.show()
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return failed
}

// restore makes the configuration before the one that counts now the one that counts again. It
// was judged when it came, and is not refused.
func (l *reloader) restore(ctx context.Context, c *config.Config) {
	defer l.announce()()
	h := facts(l.log, c)
	l.loop.do(ctx, func() {
		list, _ := l.router.changes(c, h)
		l.count(judged{config: c, host: h, list: list})
	})
}

// report logs what has happened.
func (l *reloader) report(e confirm.Effect) {
	r, _, _ := l.trial.core.Waiting(time.Now())
	switch e.News {
	case confirm.Pending:
		l.log.Warn("a reload waits for its confirmation: `hvrouter reload confirm`", "event", "reload-pending", "file", r.Name, "left", e.Left.Round(time.Second))
	case confirm.Confirmed:
		l.log.Info("a reload is confirmed", "event", "reload-confirmed")
	case confirm.RolledBack:
		l.rolledBack.Add(1)
		l.log.Warn("a reload is rolled back: the configuration before it counts", "event", "reload-rolled-back", "why", e.Why)
	case confirm.Unwritten:
		l.log.Error("the files of the last reload, or of its rollback, cannot be written: what counts does so in memory, and they are tried again", "event", "reload-unwritten", "err", e.Err)
	case confirm.Written:
		l.log.Info("the files of a reload are written", "event", "reload-written")
	}
}

// show makes what waits known to those who ask, and forgets what is decided.
func (t *trial) show() {
	r, left, ok := t.core.Waiting(time.Now())
	if !ok {
		t.old, t.new = nil, judged{}
		t.shown.Store(nil)
		return
	}
	t.shown.Store(&shownTrial{r.Name, time.Now().Add(left)})
}

// shownTrial is what people are shown of a configuration that waits.
type shownTrial struct {
	file     string
	deadline time.Time
}

// confirmation returns what the API shows of a configuration that waits, nil if none does. It
// needs no lock.
func (t *trial) confirmation() *api.Confirmation {
	s := t.shown.Load()
	if s == nil {
		return nil
	}
	left := max(0, time.Until(s.deadline)).Round(time.Second)
	return &api.Confirmation{File: s.file, Left: left.String(), Deadline: time.Now().Add(left).Round(time.Second)}
}

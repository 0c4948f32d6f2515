package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// What `guest move` says of a guest of the configuration or of the inventory directory outlives
// reloads, the daemon and the host, as a drain does, until the file says something else: where a
// guest is, those know who move it, and no start of a host changes that.

// moveOfFile moves a guest that comes from a file, and reports whether there is one. Unlike that of
// a guest that came over the API, such a move is done before it is written: if it cannot be, the
// guest is moved all the same.
func (r *router) moveOfFile(name string, m api.Move) bool {
	if !r.guests.OfFile(name) {
		return false
	}
	r.guests.Move(name, m.Down, m.LocalPref, r.now())
	r.keepMoves()
	r.refresh()
	return true
}

// keepMoves has the moves written.
func (r *router) keepMoves() {
	select {
	case r.movesChanged <- struct{}{}:
	default: // they will be, or nothing is kept
	}
}

// settleMoves forgets the moves that a source has overtaken. While a reload waits for its
// confirmation those of the configuration are not: it may be rolled back.
func (r *router) settleMoves(s guest.Source) {
	before := r.guests.Version()
	ended, missed := r.guests.SettleMoves(s, r.now())
	for _, m := range missed {
		r.log.Warn("a guest that was moved is missing from its file: what `guest move` said of it is kept for a while, in case it comes back", "event", "guest-move-kept", "guest", m.Guest, "move", m.Words(), "since", m.Since)
	}
	for _, m := range ended {
		r.log.Info("what `guest move` said of a guest ends: its file says something else by now, or has had it no more for long enough", "event", "guest-move-ended", "guest", m.Guest, "move", m.Words(), "since", m.Since)
	}
	if r.guests.Version() != before {
		r.keepMoves()
	}
}

// movesDeadline returns when what was said of a guest that is missing is forgotten.
func (r *router) movesDeadline() (next time.Time) {
	for _, s := range []guest.Source{guest.FromConfig, guest.FromDirectory} {
		if t := r.guests.LostDeadline(s); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// forgetMoves forgets what was said of guests that are missing for too long.
func (r *router) forgetMoves(now time.Time) {
	for _, s := range []guest.Source{guest.FromConfig, guest.FromDirectory} {
		if t := r.guests.LostDeadline(s); !t.IsZero() && !now.Before(t) {
			r.settleMoves(s)
		}
	}
}

// moveChanges says which moves end with a configuration, of which in is the inventory.
func moveChanges(c *config.Config, in *guest.Inventory, now time.Time) (list []api.Change) {
	in = in.Clone()
	ended, _ := in.SettleMoves(guest.FromConfig, now)
	for _, m := range in.LostMoves() {
		if m.Source == guest.FromConfig {
			list = append(list, api.Change{Text: fmt.Sprintf("%v, is kept until %s: the file has no such guest", m.Moved, m.Until.Format(time.RFC3339))})
		}
	}
	for _, m := range ended {
		i := slices.IndexFunc(c.Guests, func(g config.Guest) bool { return g.Name == m.Guest })
		if i < 0 {
			list = append(list, api.Change{Text: m.String() + ", ends: the file has no such guest"})
		} else {
			list = append(list, api.Change{Text: m.String() + ", ends: the file says something else by now", Position: c.Where(fmt.Sprintf("$.guests[%d]", i))})
		}
	}
	return list
}

// standingMoves says which moves stand in an inventory.
func standingMoves(in *guest.Inventory) (list []string) {
	for _, m := range in.Moves() {
		if m, ok := in.Standing(m.Source, m.Guest); ok {
			list = append(list, m.String()+", stays")
		}
	}
	return list
}

// movesFile is where the moves of guests of files outlive the daemon and the host.
type movesFile struct{ path string }

func newMovesFile(directory string) movesFile { return movesFile{filepath.Join(directory, "moves")} }

// mostMoves bounds the file: more than all guests.
const mostMoves = 16 << 20

// load returns the moves of an earlier run. If they cannot be known, guests are as their files say.
func (f movesFile) load(ctx context.Context) ([]guest.Moved, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	data, err := (&files.Reader{}).Read(ctx, f.path, mostMoves)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return guest.DecodeMoves(data)
}

// save makes moves outlive the daemon and the host.
func (f movesFile) save(list []guest.Moved) error {
	if len(list) == 0 {
		return files.Remove(f.path)
	}
	data, err := guest.EncodeMoves(list)
	if err != nil {
		return err
	}
	return saveState(f.path, data)
}

// openMoves takes the moves of an earlier run, and returns what writes those to come.
func (d *Daemon) openMoves(ctx context.Context, log *slog.Logger) stateWriter {
	f := newMovesFile(d.stateDirectory)
	list, err := f.load(ctx)
	unknown := err != nil
	switch {
	case unknown:
		log.Error("it is not known which guests were moved by `guest move`: they are as their files say", "event", "moves-unknown", "path", f.path, "err", err)
		d.movesError.Store("it is not known which guests were moved before the start, and they are as their files say (what can be read of it is kept beside it at the next move): " + err.Error())
	case len(list) > 0:
		log.Info("guests stay as `guest move` has left them", "event", "moves-read", "guests", len(list))
	}
	d.router.guests.SetMoves(list)
	changed := make(chan struct{}, 1)
	d.router.movesChanged = changed
	return stateWriter{
		loop: d.loop, changed: changed, asked: make(chan chan<- error),
		take: func() func() error {
			list := d.router.guests.Moves()
			return func() error {
				if unknown { // it is not overwritten
					if err := files.Keep(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
						return err
					}
					unknown = false
				}
				err := f.save(list)
				if err == nil {
					d.movesError.Store("")
				}
				return err
			}
		},
		report: func(err error) {
			if err == nil {
				log.Info("moves of guests are written again", "event", "moves-written")
				return
			}
			log.Error("moves of guests are not written: a restart of the daemon undoes them", "event", "moves-unwritten", "err", err)
			d.movesError.Store("they are not written, and a restart of the daemon undoes them: " + err.Error())
		},
	}
}

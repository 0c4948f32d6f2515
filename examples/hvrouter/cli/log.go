package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// logging is a log whose level and format may change.
type logging struct {
	level slog.LevelVar
	json  atomic.Bool
	fold  *folds
}

func newLogging(w io.Writer) (*logging, *slog.Logger) {
	l := &logging{fold: &folds{seen: map[string]*folded{}, after: func(d time.Duration, f func()) { time.AfterFunc(d, f) }}}
	opt := &slog.HandlerOptions{Level: &l.level, ReplaceAttr: precise}
	formats := formatHandler{json: &l.json, all: [2]slog.Handler{slog.NewTextHandler(w, opt), slog.NewJSONHandler(w, opt)}}
	return l, slog.New(foldHandler{folds: l.fold, next: formats})
}

// logger is a log that does not change.
func logger(w io.Writer) *slog.Logger {
	_, log := newLogging(w)
	return log
}

// configure makes the log what a configuration says.
func (l *logging) configure(c *config.Config) {
	_ = l.level.UnmarshalText([]byte(c.Log)) // it was checked
	l.json.Store(c.LogFormat == "json")
}

// formatHandler writes in one of two formats.
type formatHandler struct {
	json *atomic.Bool
	all  [2]slog.Handler // text, JSON
}

func (h formatHandler) now() slog.Handler {
	if h.json.Load() {
		return h.all[1]
	}
	return h.all[0]
}

// Enabled implements slog.Handler.
func (h formatHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.all[0].Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h formatHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.now().Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h formatHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.all = [2]slog.Handler{h.all[0].WithAttrs(attrs), h.all[1].WithAttrs(attrs)}
	return h
}

// WithGroup implements slog.Handler.
func (h formatHandler) WithGroup(name string) slog.Handler {
	h.all = [2]slog.Handler{h.all[0].WithGroup(name), h.all[1].WithGroup(name)}
	return h
}

const (
	// foldTime is how long equal lines are counted before their count is written. The first is
	// written at once.
	foldTime = 10 * time.Second
	// mostFolds bounds the lines that are remembered; further ones are written as they come.
	mostFolds = 256
)

// folds counts lines that are as one before, but for their time.
type folds struct {
	after func(time.Duration, func()) // calls a function later

	mu   sync.Mutex
	seen map[string]*folded
}

// folded is a line that was written, and how often it has come since.
type folded struct {
	last  slog.Record
	next  slog.Handler
	count int
}

// foldHandler hands on the first of equal warnings or errors, and later how many there were. Other
// lines say in which order things happen, such as that a session is up again, and are all handed on.
type foldHandler struct {
	folds *folds
	next  slog.Handler
	with  string // of WithAttrs and WithGroup
}

// Enabled implements slog.Handler.
func (h foldHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h foldHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.next.Handle(ctx, r)
	}
	var b strings.Builder
	fmt.Fprint(&b, h.with, "\x00", r.Level, "\x00", r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprint(&b, "\x00", a); return true })
	if h.folds.take(b.String(), r, h.next) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h foldHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return foldHandler{h.folds, h.next.WithAttrs(attrs), h.with + fmt.Sprint("\x00", slices.Clone(attrs))}
}

// WithGroup implements slog.Handler.
func (h foldHandler) WithGroup(name string) slog.Handler {
	return foldHandler{h.folds, h.next.WithGroup(name), h.with + "\x00(" + name}
}

// take reports whether a line is one of those that are only counted.
func (f *folds) take(key string, r slog.Record, next slog.Handler) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.seen[key]; one != nil {
		one.count++
		one.last = r.Clone()
		return true
	}
	if len(f.seen) < mostFolds {
		f.seen[key] = &folded{next: next}
		f.after(foldTime, func() { f.due(key) })
	}
	return false
}

// due writes how often a line has come, and forgets one that has not.
func (f *folds) due(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.seen[key]
	if one == nil {
		return
	}
	if one.count == 0 {
		delete(f.seen, key)
		return
	}
	f.write(one)
	f.after(foldTime, func() { f.due(key) })
}

func (f *folds) write(one *folded) {
	r := one.last
	r.AddAttrs(slog.Int("times", one.count))
	one.count = 0
	_ = one.next.Handle(context.Background(), r)
}

// flush writes what has been counted.
func (l *logging) flush() {
	l.fold.mu.Lock()
	defer l.fold.mu.Unlock()
	for _, one := range l.fold.seen {
		if one.count > 0 {
			l.fold.write(one)
		}
	}
}

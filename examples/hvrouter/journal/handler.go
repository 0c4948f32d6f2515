package journal

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"time"
)

// key is the attribute that makes an event of a record.
const key = "event"

func lost(n int, since time.Time) Event {
	return Event{Time: since, Name: Lost, Level: slog.LevelWarn.String(), Message: "events lost: the reader is slow",
		Attrs: map[string]string{"count": strconv.Itoa(n)}}
}

// Handler writes what is logged to next, and publishes the events among it: those of level
// INFO and above, also where next takes less.
func (j *Journal) Handler(next slog.Handler) slog.Handler { return handler{journal: j, next: next} }

type handler struct {
	journal *Journal
	next    slog.Handler
	attrs   []slog.Attr // of With
}

// Enabled implements slog.Handler.
func (h handler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || h.next.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		h.publish(r)
	}
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h handler) publish(r slog.Record) {
	e := Event{Time: r.Time, Level: r.Level.String(), Message: r.Message}
	take := func(a slog.Attr) bool {
		text := a.Value.Resolve().String()
		switch {
		case a.Key == key:
			e.Name = text
		case text != "" && text != "<nil>":
			if e.Attrs == nil {
				e.Attrs = map[string]string{}
			}
			e.Attrs[a.Key] = text
		}
		return true
	}
	for _, a := range h.attrs {
		take(a)
	}
	r.Attrs(take)
	if e.Name != "" {
		h.journal.Publish(e)
	}
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.journal, h.next.WithAttrs(attrs), append(slices.Clip(h.attrs), attrs...)}
}

// WithGroup implements slog.Handler. Events have no groups.
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.journal, h.next.WithGroup(name), h.attrs}
}

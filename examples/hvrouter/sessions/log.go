package sessions

import (
	"context"
	"log/slog"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
)

// eventLog logs what happens to the sessions of a speaker. A peer that fails again and again
// makes a line when that begins, one with a count now and then, and one when it is over:
// package bgp sees to that.
type eventLog struct {
	*speaker
	watcher *bgp.Watcher
	buf     [1]bgp.Event
	again   bool // the snapshot after a loss repeats what has been logged
}

// newEventLog makes an eventLog, which is to be closed.
func newEventLog(s *speaker) *eventLog { return &eventLog{speaker: s, watcher: s.bgp.Watch()} }

func (l *eventLog) close() { l.watcher.Close() }

// run logs events until ctx ends.
func (l *eventLog) run(ctx context.Context) {
	for l.step(ctx) {
	}
}

// step logs the next event, and reports whether there was one before ctx has ended.
func (l *eventLog) step(ctx context.Context) bool {
	n, err := l.watcher.Next(ctx, l.buf[:])
	for _, e := range l.buf[:n] {
		l.event(e)
	}
	return err == nil
}

// event logs one event.
func (l *eventLog) event(e bgp.Event) {
	if e.Lost > 0 {
		l.again = true
		l.log.Warn("BGP events lost", "event", "bgp-lost", "domain", l.name, "count", e.Lost)
	}
	switch e.Kind {
	case bgp.EventUp, bgp.EventDown, bgp.EventEndOfRIB, bgp.EventStable:
		l.proceed()
	case bgp.EventBFDWait:
		if e.BFDWait != nil {
			l.answerBFD(e.Peer)
		}
	}
	if !l.again || !e.Snapshot {
		level, message, attrs := line(e)
		about := []any{"event", "bgp-" + e.Kind.String(), "domain", l.name, "peer", e.Peer}
		if e.Peer == (bgp.PeerKey{}) { // the speaker as a whole
			about = about[:4]
		}
		l.log.Log(context.Background(), level, message, append(about, attrs...)...)
	}
	l.again = l.again && e.Kind != bgp.EventSnapshot
}

// line returns what the log says of an event.
func line(e bgp.Event) (level slog.Level, message string, attrs []any) {
	if e.Err != nil {
		attrs = append(attrs, "err", e.Err)
	}
	if e.Flapping && e.Kind != bgp.EventError && e.Kind != bgp.EventStable {
		return slog.LevelDebug, "BGP", attrs
	}
	switch e.Kind {
	case bgp.EventUp:
		return slog.LevelInfo, "BGP session up", append(attrs, failures(e)...)
	case bgp.EventStable:
		return slog.LevelInfo, "BGP session is stable", append(attrs, failures(e)...)
	case bgp.EventDown:
		return slog.LevelInfo, "BGP session down", attrs
	case bgp.EventError, bgp.EventUpdateError:
		return slog.LevelWarn, "BGP", append(attrs, failures(e)...)
	case bgp.EventPlain:
		return slog.LevelWarn, "BGP session without capabilities: IPv4 only, no graceful restart", attrs
	case bgp.EventNoPolicy:
		if e.MissingPolicy == (bgp.MissingPolicy{}) {
			return slog.LevelInfo, "BGP session has its policies", attrs
		}
		return slog.LevelWarn, "BGP session exchanges nothing", append(attrs, "why", e.MissingPolicy.String())
	case bgp.EventBFDWait:
		if e.BFDWait == nil || e.Failures > 0 { // its end has an event of its own; the first wait of a row has said it
			return slog.LevelDebug, "BGP", attrs
		}
		return slog.LevelInfo, "BGP session waits for BFD", attrs
	case bgp.EventPrefixLimit:
		return slog.LevelWarn, "BGP prefix limit", append(attrs, failures(e)...)
	case bgp.EventUnsendable, bgp.EventListen:
		if e.Err == nil {
			return slog.LevelInfo, "BGP: all is well again", nil
		}
		return slog.LevelWarn, "BGP", attrs
	case bgp.EventRestart:
		return slog.LevelInfo, "BGP graceful restart", []any{"phase", e.Restart}
	}
	return slog.LevelDebug, "BGP", append(attrs, "state", e.State, "family", e.Family)
}

// failures returns the counts of an event, as far as there is something to count.
func failures(e bgp.Event) (attrs []any) {
	if e.Repeats > 0 {
		attrs = append(attrs, "repeats", e.Repeats)
	}
	if e.Failures > 1 || e.Kind != bgp.EventError && e.Failures > 0 {
		attrs = append(attrs, "failures", e.Failures, "in", e.Time.Sub(e.Since).Round(time.Millisecond))
	}
	return attrs
}

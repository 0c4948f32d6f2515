package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/confirm"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

// history is where `show events` finds what has happened: the daemon, and its files while it does
// not answer.
type history struct {
	in     invocation
	socket string
	config string // the configuration's file, which names the state directory
	said   bool   // that no daemon answers
}

// read returns events that pass a filter.
func (h *history) read(f journal.Filter) (list []journal.Event, err error) {
	since := ""
	if !f.Since.IsZero() {
		since = f.Since.Format(time.RFC3339Nano)
	}
	last := ""
	if f.Last > 0 {
		last = strconv.Itoa(f.Last)
	}
	err = api.NewClient(h.socket).Get(context.Background(), "/v1/history", &list, "since", since, "last", last,
		"event", f.Event, "peer", f.Peer, "guest", f.Guest, "interface", f.Interface)
	why, _ := noDaemon(err)
	if why == nil {
		h.said = h.said && err != nil
		return list, err
	}
	c, err := confirm.Files{Config: h.config}.Load()
	if err != nil {
		return nil, fmt.Errorf("%w, and the configuration does not say where its events are: %w", why, err)
	}
	if !h.said {
		h.said = true
		fmt.Fprintf(h.in.stderr, "hvrouter: %v: what follows is in %s\n", why, c.StateDirectory)
	}
	f.Addresses = c.PeersNamed(f.Peer)
	return journal.ReadHistory(c.StateDirectory, f)
}

// showEvents prints what has happened.
func (in invocation) showEvents(h *history, f journal.Filter, asJSON, follow bool) int {
	list, err := h.read(f)
	if err != nil {
		return in.fail(exitFailed, err)
	}
	if asJSON && !follow {
		if err := encoded(in.stdout, list); err != nil {
			return in.fail(exitFailed, err)
		}
		return exitOK
	}
	if err := printEvents(in.stdout, list, asJSON); err != nil {
		return in.fail(exitFailed, err)
	}
	if !follow {
		return exitOK
	}
	return in.followEvents(h, f, list, asJSON)
}

// overlap is how much of what was printed is read again by -w: two goroutines write an event each in
// another order than that of their times.
const overlap = 5 * time.Second

// followEvents prints what happens, until it is interrupted: also while no daemon runs, and when it is back.
func (in invocation) followEvents(h *history, f journal.Filter, list []journal.Event, asJSON bool) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	printed := map[string]time.Time{}
	note := func(list []journal.Event) (fresh []journal.Event) {
		for _, e := range list {
			text := eventText(e)
			if _, old := printed[text]; !old {
				printed[text] = e.Time
				fresh = append(fresh, e)
			}
		}
		return fresh
	}
	began := time.Now()
	note(list)
	f.Last = 0
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return exitOK
		case <-time.After(followTime):
		}
		newest := began
		for _, at := range printed {
			if at.After(newest) {
				newest = at
			}
		}
		if since := newest.Add(-overlap); since.After(f.Since) {
			f.Since = since
		}
		for text, at := range printed {
			if at.Before(f.Since) {
				delete(printed, text)
			}
		}
		list, err := h.read(f)
		if err != nil {
			return in.fail(exitFailed, err)
		}
		if err := printEvents(in.stdout, note(list), asJSON); err != nil {
			return exitFailed
		}
	}
	return exitOK
}

// printEvents prints a line for each event.
func printEvents(w io.Writer, list []journal.Event, asJSON bool) error {
	var b bytes.Buffer
	for _, e := range list {
		data, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if err := printEvent(&b, e, data, asJSON); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// sinceTime reads a time: how long ago (90s, 2h, 3d), or a point in time.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 15); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("-since: %q is neither a time ago, such as 90s, 2h or 3d, nor a point in time, such as 2006-01-02T15:04:05", text)
}

// lastEvents reads how many events are wanted; 0 is all.
func lastEvents(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("-last: %q is not a number of events", text)
	}
	return int(n), nil
}

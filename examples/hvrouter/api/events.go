package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

// eventTypes is the media type of the stream: one JSON object a line.
const eventTypes = "application/x-ndjson"

const eventsPath = "/v1/events"

// events streams what happens until the client goes or the daemon ends. A client that does
// not read loses events, and hears how many; the daemon does not wait for it.
func events(b Backend, w http.ResponseWriter, r *http.Request) {
	if err := only(r, "recent", "event"); err != nil {
		answer(w, r, func(*http.Request) (any, error) { return nil, err })
		return
	}
	recent, err := strconv.Atoi("0" + r.URL.Query().Get("recent"))
	pattern := r.URL.Query().Get("event")
	if _, bad := path.Match(pattern, ""); bad != nil || err != nil {
		answer(w, r, func(*http.Request) (any, error) {
			return nil, status{http.StatusBadRequest, errors.New("recent is a number, event a pattern such as bgp-*")}
		})
		return
	}
	reader, err := b.Events(recent)
	if err != nil {
		answer(w, r, func(*http.Request) (any, error) { return nil, status{http.StatusServiceUnavailable, err} })
		return
	}
	defer reader.Close()
	w.Header().Set("Content-Type", eventTypes)
	flush := http.NewResponseController(w).Flush
	for encoder := json.NewEncoder(w); flush() == nil; {
		list, err := reader.Next(r.Context())
		if err != nil {
			return
		}
		for _, e := range list {
			if wanted(pattern, e.Name) && encoder.Encode(e) != nil {
				return
			}
		}
	}
}

// history are events that have happened, oldest first.
func history(b Backend, r *http.Request) (any, error) {
	q := r.URL.Query()
	f := journal.Filter{Event: q.Get("event"), Peer: q.Get("peer"), Guest: q.Get("guest"), Interface: q.Get("interface")}
	err := errors.Join(only(r, "since", "event", "peer", "guest", "interface", "last"), f.Check())
	if text := q.Get("since"); text != "" {
		var e error
		f.Since, e = time.Parse(time.RFC3339Nano, text)
		err = errors.Join(err, e)
	}
	if text := q.Get("last"); text != "" {
		n, e := strconv.ParseUint(text, 10, 31)
		f.Last, err = int(n), errors.Join(err, e)
	}
	if err != nil {
		return nil, bad(err)
	}
	return b.History(f)
}

// wanted reports whether an event passes a filter; what was lost is always told.
func wanted(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok || pattern == "" || name == journal.Lost
}

// Events follows the daemon's events and calls f for each, with the line that it came as,
// until f or the stream fails or ctx ends: then it gives that error. pattern ("" is all)
// picks events by name, recent is how many of before come first.
func (c *Client) Events(ctx context.Context, pattern string, recent int, f func(e journal.Event, line []byte) error) error {
	q := url.Values{"event": {pattern}, "recent": {strconv.Itoa(recent)}}
	r, err := http.NewRequestWithContext(ctx, "GET", "http://hvrouter"+eventsPath+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := c.ask(ctx, r, true)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if resp.StatusCode != http.StatusOK {
		var text []byte
		for lines.Scan() {
			text = append(text, lines.Bytes()...)
		}
		return refusal("event stream", resp, text)
	}
	for lines.Scan() {
		var e journal.Event
		if err := Decode(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("event stream: %w", err)
		}
		if err := f(e, lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New("the daemon has ended the stream")
}

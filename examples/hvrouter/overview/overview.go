// Package overview is what `hvrouter top` and `hvrouter web` show: the state of a daemon at one moment.
package overview

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

const (
	keptEvents = 50              // more than a screen has lines
	answerTime = 2 * time.Second // how long a daemon may take to answer
)

// Moment is what is known of a daemon at one time. The zero value is that nothing is known yet.
type Moment struct {
	At       time.Time
	Err      error // the daemon does not answer: what follows is of before
	Status   api.Status
	Health   api.Health
	Sessions []api.Session
	BFD      []api.BFD // nil if the process of the BFD sessions does not answer, which Health says
	Guests   []api.Guest
	Sent     map[string]uint64 // packets to guests, by interface; nil: not known
	Events   []journal.Event   // the newest last
}

// Watcher asks a daemon, again and again. It is safe for concurrent use.
type Watcher struct {
	client *api.Client
	came   chan struct{} // an event came since it was received from last

	mu     sync.Mutex
	events []journal.Event
}

// NewWatcher makes a watcher of the daemon that a client asks.
func NewWatcher(c *api.Client) *Watcher { return &Watcher{client: c, came: make(chan struct{}, 1)} }

// Look asks for everything. If the daemon does not answer, the moment is the old one with an error.
func (w *Watcher) Look(ctx context.Context, old Moment) Moment {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var m Moment
	err := errors.Join(w.client.Get(ctx, "/v1/status", &m.Status), w.client.Get(ctx, "/v1/health", &m.Health), w.client.Get(ctx, "/v1/sessions", &m.Sessions), w.client.Get(ctx, "/v1/guests", &m.Guests))
	if err != nil {
		m = old
		m.Err = firstLine(err)
	} else if w.client.Get(ctx, "/v1/bfd", &m.BFD) != nil {
		m.BFD = nil
	}
	m.At, m.Sent = time.Now(), host.Sent("") // behind the answers: nothing in them is later
	w.mu.Lock()
	defer w.mu.Unlock()
	m.Events = slices.Clone(w.events)
	return m
}

// firstLine is an error without those that were joined to it.
func firstLine(err error) error {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(first)
}

// Follow keeps the last events until ctx ends. A daemon that has ended is asked again each second.
func (w *Watcher) Follow(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		w.events = nil // the next daemon has its own
		w.mu.Unlock()
		_ = w.client.Events(ctx, "", keptEvents, func(e journal.Event, _ []byte) error {
			w.mu.Lock()
			w.events = append(w.events[max(0, len(w.events)-keptEvents+1):], e)
			w.mu.Unlock()
			select {
			case w.came <- struct{}{}:
			default:
			}
			return nil
		})
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// Came is received from when events have come since it was received from last. It has one receiver.
func (w *Watcher) Came() <-chan struct{} { return w.came }

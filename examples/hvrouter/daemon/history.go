package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

// lastEventsTime is how long the last events have to be written when the daemon ends: a disk that
// does not answer does not hold it up.
const lastEventsTime = time.Second

// keepHistory begins to write events to the state directory, and returns what ends that.
func (d *Daemon) keepHistory() (end func()) {
	r, err := d.journal.Subscribe(0)
	if err != nil {
		return func() {} // there are no other readers yet
	}
	h := journal.NewHistory(d.stateDirectory, func(err error) {
		d.unwritten.Store(&err)
		if err != nil {
			d.log.Warn("events are not written to the state directory, and will not outlive this process", "event", "events-unwritten", "err", err)
		} else {
			d.log.Info("events are written again", "event", "events-written")
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.Close()
		h.Run(ctx, r)
	}()
	return func() {
		cancel()
		select {
		case <-done:
		case <-time.After(lastEventsTime):
		}
	}
}

// eventsError returns why events are not written, nil if they are.
func (d *Daemon) eventsError() error {
	if err := d.unwritten.Load(); err != nil {
		return *err
	}
	return nil
}

// History implements [api.Backend].
func (d backend) History(f journal.Filter) ([]journal.Event, error) {
	type answer struct {
		list []journal.Event
		err  error
	}
	if c := d.config(); c != nil {
		f.Addresses = c.PeersNamed(f.Peer)
	}
	got := make(chan answer, 1)
	go func() {
		list, err := journal.ReadHistory(d.stateDirectory, f)
		got <- answer{list, err}
	}()
	select {
	case a := <-got:
		return a.list, a.err
	case <-time.After(readTime):
		return nil, errors.New("the disk does not answer")
	case <-d.ctx.Done():
		return nil, d.ctx.Err()
	}
}

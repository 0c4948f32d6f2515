package serve

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"
)

// ending is a connection that brings one packet, just as ctx ends.
type ending struct {
	end      context.CancelFunc
	deadline chan time.Time // capacity 1: what was set last
	reads    int
}

func (e *ending) Read(in []int) (int, error) {
	if e.reads++; e.reads == 1 {
		e.end()
		in[0] = 7
		return 1, nil
	}
	for d := range e.deadline {
		if !d.IsZero() {
			return 0, os.ErrDeadlineExceeded
		}
	}
	return 0, os.ErrClosed
}

func (e *ending) SetReadDeadline(t time.Time) error {
	e.deadline <- t
	return nil
}

// handled is what a service was given.
type handled []int

func (h *handled) Handle(_ time.Time, in []int)  { *h = append(*h, in...) }
func (*handled) Advance(time.Time) (t time.Time) { return t }
func (*handled) Stale() bool                     { return false }

// What was read while ctx ended is handled: it is in no socket any more, so that a successor does not
// get it.
func TestEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	conn := &ending{end: cancel, deadline: make(chan time.Time, 8)}
	var got handled
	if err := Run(ctx, conn, 4, Service[int](&got)); err != nil || !slices.Equal(got, handled{7}) {
		t.Errorf("handled %v, error %v", got, err)
	}
	if conn.reads != 2 {
		t.Errorf("%d reads, want one more, which ends", conn.reads)
	}
}

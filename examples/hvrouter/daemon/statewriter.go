package daemon

import (
	"context"
	"time"
)

// writeAgain is how long it is until a state that could not be written is written again.
const writeAgain = 10 * time.Second

// stateWriter writes a state of the loop to the state directory whenever it has changed. What has
// changed while it was written is written together.
type stateWriter struct {
	loop    loop
	changed <-chan struct{}            // has one when the state has changed
	asked   chan chan<- struct{}       // by those who wait until the state is written, or could not be; nil: nobody does
	take    func() (save func() error) // on the loop: the state as it is
	// report takes why the state could not be written, once, and then nil when it is again.
	report func(error)
}

// follow writes until ctx ends; it is too late then to wait for a disk.
func (w stateWriter) follow(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.write(ctx)
	}()
	<-ctx.Done()
	select {
	case <-done:
	case <-time.After(lastEventsTime): // a disk that does not answer does not hold the end up
	}
}

func (w stateWriter) write(ctx context.Context) {
	failed := false
	for again := time.Duration(0); ; {
		var due <-chan time.Time
		if again > 0 {
			due = time.After(again)
		}
		var waits chan<- struct{}
		select {
		case <-w.changed:
		case waits = <-w.asked:
		case <-due:
		case <-ctx.Done():
			return
		}
		var save func() error
		if !w.loop.do(ctx, func() { save = w.take() }) {
			return
		}
		err := save()
		if failed != (err != nil) {
			w.report(err)
		}
		if failed = err != nil; failed {
			again = writeAgain
		} else {
			again = 0
		}
		if waits != nil {
			close(waits)
		}
	}
}

// flush waits until the state as it is now was written, or could not be, or until ctx ends.
func (w stateWriter) flush(ctx context.Context) {
	done := make(chan struct{})
	select {
	case w.asked <- done:
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

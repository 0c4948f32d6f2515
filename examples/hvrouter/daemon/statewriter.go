package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
)

// writeAgain is how long it is until a state that could not be written is written again.
const writeAgain = 10 * time.Second

// stateWriter writes a state of the loop to the state directory whenever it has changed. What has
// changed while it was written is written together.
type stateWriter struct {
	loop    loop
	changed <-chan struct{}            // has one when the state has changed
	asked   chan chan<- error          // by those who wait until the state is written, or could not be; nil: nobody does
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
		var waits chan<- error
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
			waits <- err
		}
	}
}

// flush waits until the state as it is now is written, and returns why it is not: it could not be, or
// ctx has ended before.
func (w stateWriter) flush(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case w.asked <- done:
	case <-ctx.Done():
		return unanswered(ctx)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return unanswered(ctx)
	}
}

// unanswered says why somebody waits no longer for a disk.
func unanswered(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("the file system of the state directory does not answer; it may be written later")
	}
	return ctx.Err()
}

// saveState makes a file of the state directory, and that directory, outlive a failure of power.
func saveState(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return files.Save(path, data, nil)
}

// inMemory reports whether a directory does not outlive a restart of the host.
func inMemory(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && slices.Contains([]int64{unix.TMPFS_MAGIC, unix.RAMFS_MAGIC}, int64(st.Type))
}

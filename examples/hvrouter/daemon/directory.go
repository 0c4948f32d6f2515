package daemon

import (
	"context"
	"os"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
)

// directoryWatcher waits for changes of a directory, which may not be there, and may go.
type directoryWatcher struct {
	files *files.Reader
	path  string
	file  *os.File
	fails int // in a row
}

func (w *directoryWatcher) close() {
	if w.file != nil {
		w.file.Close()
	}
	w.file = nil
}

// wait returns when there is reason to read the directory, or ctx ends. It returns why the
// directory cannot be watched, once; it is tried again then, at longer and longer intervals.
func (w *directoryWatcher) wait(ctx context.Context) (err error) {
	if w.path == "" {
		<-ctx.Done()
		return nil
	}
	if w.file == nil {
		opening, cancel := context.WithTimeout(ctx, readTime)
		defer cancel()
		if w.file, err = w.files.Watch(opening, w.path); err == nil {
			w.fails = 0
			return nil // for what has changed before it was watched
		}
		if w.fails++; w.fails > 1 {
			err = nil // returned before
		}
		_ = pause(ctx, min(time.Second<<min(w.fails-1, 6), 30*time.Second))
		return err
	}
	stop := context.AfterFunc(ctx, func() { w.file.SetReadDeadline(time.Now()) })
	defer stop()
	buf := make([]byte, 64<<10)
	n, err := w.file.Read(buf)
	if err != nil || files.Gone(buf[:n]) {
		w.close()
	}
	return err
}

package daemon

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Who waits for a state to be written is told why it is not: the disk takes nothing, or does not
// answer. What is written later is reported as before.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, full := make(loop), errors.New("no space left on device")
		type disk struct {
			takes time.Duration
			fails error
		}
		var now atomic.Pointer[disk]
		var reports []error
		w := stateWriter{
			loop: l, asked: make(chan chan<- error),
			take: func() func() error {
				return func() error { d := now.Load(); time.Sleep(d.takes); return d.fails }
			},
			report: func(err error) { reports = append(reports, err) },
		}
		go func() {
			for {
				select {
				case f := <-l:
					f()
				case <-ctx.Done():
					return
				}
			}
		}()
		ended := make(chan struct{})
		go func() { defer close(ended); w.follow(ctx) }()
		is := func(what string, d disk, want string) {
			t.Helper()
			now.Store(&d)
			waiting, cancel := context.WithTimeout(ctx, askTime)
			defer cancel()
			if err := w.flush(waiting); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", what, err, want)
			}
		}
		is("written", disk{}, "")
		is("full", disk{fails: full}, "no space left")
		is("full still", disk{fails: full}, "no space left")
		is("written again", disk{}, "")
		synctest.Wait()
		if len(reports) != 2 || reports[0] != full || reports[1] != nil {
			t.Errorf("reports: %v", reports)
		}
		is("hung", disk{takes: time.Minute}, "does not answer; it may be written later")
		is("hung still", disk{takes: time.Minute}, "does not answer; it may be written later")
		time.Sleep(2 * time.Minute)
		is("answers again", disk{}, "")
		cancel()
		<-ended
	})
}

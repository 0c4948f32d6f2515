package nstest

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

const (
	attempts = 5                // of a Steady body
	quiet    = 2 * time.Second  // without a stall, before the next attempt
	calming  = 20 * time.Second // how long that is waited for
)

// Steady runs body, whose claims are about time: an interval that is kept, a session
// that does not flap. Such claims fail, too, when the machine does not run the test or
// its peers for a while. Therefore Steady watches the machine meanwhile; a failure of an
// attempt in which some processor kept a thread waiting for longer than tolerance is
// void, and body is run again, five times at most. A failure on a machine that ran
// counts at once, and so does the fifth.
//
// Body gets a TB of its own attempt, with its own Cleanup and TempDir, and must use
// nothing else to report.
func Steady(t *testing.T, tolerance time.Duration, body func(tb testing.TB)) {
	t.Helper()
	for n := 1; ; n++ {
		stall := WatchStall()
		a := &attempt{TB: t}
		a.run(body)
		worst := stall.Stop()
		switch {
		case a.Skipped():
			t.SkipNow()
		case !a.Failed():
			return
		case n == attempts || worst <= tolerance:
			t.Logf("attempt %d failed; no thread waited for longer than %v to run", n, worst)
			t.FailNow()
		}
		t.Logf("void: the machine stood still for %v; once more", worst)
		awaitQuiet(tolerance)
	}
}

// awaitQuiet waits for a while without a stall, but not for ever.
func awaitQuiet(tolerance time.Duration) {
	for end := time.Now().Add(calming); time.Now().Before(end); {
		stall := WatchStall()
		time.Sleep(quiet)
		if stall.Stop() <= tolerance {
			return
		}
	}
}

// attempt is a TB that takes failures to heart instead of passing them on. Goroutines
// may fail it; Cleanup is for the one that runs the body.
type attempt struct {
	testing.TB
	ctx             context.Context
	failed, skipped atomic.Bool
	cleanups        []func()
}

// run runs body and its cleanups in a goroutine that FailNow may end.
func (a *attempt) run(body func(testing.TB)) {
	ctx, cancel := context.WithCancel(a.TB.Context())
	a.ctx = ctx
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer a.cleanup()
		defer cancel() // before the cleanups, as a T does
		body(a)
	}()
	<-done
}

func (a *attempt) cleanup() {
	for len(a.cleanups) > 0 {
		last := a.cleanups[len(a.cleanups)-1]
		a.cleanups = a.cleanups[:len(a.cleanups)-1]
		defer a.cleanup() // also if last ends the goroutine
		last()
	}
}

func (a *attempt) Context() context.Context { return a.ctx }
func (a *attempt) Cleanup(f func())         { a.cleanups = append(a.cleanups, f) }
func (a *attempt) Fail()                    { a.failed.Store(true) }
func (a *attempt) Failed() bool             { return a.failed.Load() }
func (a *attempt) FailNow()                 { a.Fail(); runtime.Goexit() }
func (a *attempt) Skipped() bool            { return a.skipped.Load() }
func (a *attempt) SkipNow()                 { a.skipped.Store(true); runtime.Goexit() }

func (a *attempt) Skip(args ...any)            { a.TB.Helper(); a.Log(args...); a.SkipNow() }
func (a *attempt) Skipf(f string, args ...any) { a.TB.Helper(); a.Logf(f, args...); a.SkipNow() }
func (a *attempt) Error(args ...any) {
	a.TB.Helper()
	a.Log("failed: " + fmt.Sprint(args...))
	a.Fail()
}
func (a *attempt) Errorf(f string, args ...any) {
	a.TB.Helper()
	a.Logf("failed: "+f, args...)
	a.Fail()
}
func (a *attempt) Fatal(args ...any)            { a.TB.Helper(); a.Error(args...); a.FailNow() }
func (a *attempt) Fatalf(f string, args ...any) { a.TB.Helper(); a.Errorf(f, args...); a.FailNow() }

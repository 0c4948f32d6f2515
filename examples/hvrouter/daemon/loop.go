package daemon

import "context"

// loop runs functions one after the other on the goroutine that owns the router.
type loop chan func()

// run runs functions until ctx ends.
func (l loop) run(ctx context.Context) {
	for {
		select {
		case f := <-l:
			f()
		case <-ctx.Done():
			return
		}
	}
}

// do has f run and waits until it has. It gives false, and f was not run and never
// will be, if ctx ended before.
func (l loop) do(ctx context.Context, f func()) bool {
	done := make(chan struct{})
	select {
	case l <- func() { defer close(done); f() }:
		<-done
		return true
	case <-ctx.Done():
		return false
	}
}

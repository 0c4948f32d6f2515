package fibcore

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// failure is why a route is not in the kernel.
type failure struct {
	err  *Error
	next time.Time
	step time.Duration
}

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// backoff is the pause after the next failure.
func backoff(step time.Duration) time.Duration {
	if step == 0 {
		return firstRetry
	}
	return min(2*step, lastRetry)
}

// absent reports whether the error of a deletion says that there was nothing.
func absent(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

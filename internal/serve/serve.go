// Package serve is the loop behind everything that reads the packets of one protocol from
// one connection: the responders, the router advertiser and the watchers of arp and ndp.
package serve

import (
	"context"
	"errors"
	"os"
	"time"
)

// Conn is what [Run] uses of a connection whose packets are of type F.
type Conn[F any] interface {
	// Read waits for packets and returns how many it has filled in;
	// os.ErrDeadlineExceeded at the deadline.
	Read([]F) (int, error)
	// SetReadDeadline ends the Read under way, and later ones, at a time; zero: never.
	SetReadDeadline(time.Time) error
}

// Service is what [Run] serves. Only the goroutine of Run calls its methods.
type Service[F any] interface {
	// Handle takes packets that were received, of every type and interface.
	Handle(now time.Time, in []F)
	// Advance does what is due and returns when there is more to do; the zero time if
	// never.
	Advance(now time.Time) time.Time
	// Stale reports whether the time that Advance returned is no longer right. A method that
	// makes it so calls [Wake].
	Stale() bool
}

// Wake ends a Read of the loop on conn, or the next one, by a deadline in the past.
func Wake(conn interface{ SetReadDeadline(time.Time) error }) {
	_ = conn.SetReadDeadline(time.Unix(1, 0))
}

// Run serves until ctx ends, and then returns nil. It returns early only if conn fails as
// a whole. It reads batch packets at once, and handles what it has read, so that what it leaves in a
// socket that outlives it is all that has not been handled.
func Run[F any](ctx context.Context, conn Conn[F], batch int, services ...Service[F]) error {
	stop := context.AfterFunc(ctx, func() { Wake(conn) })
	defer stop()
	in := make([]F, batch)
	var deadline time.Time
	set := false // deadline is that of conn, unless Wake has been called since
	for {
		if next := advance(services); !set || !next.Equal(deadline) {
			_ = conn.SetReadDeadline(next)
			deadline, set = next, true
			// That may have undone a Wake: asked after, none is missed.
			if ctx.Err() != nil {
				return nil
			}
			if stale(services) {
				set = false
				continue
			}
		}
		n, err := conn.Read(in)
		switch {
		case err == nil: // also if ctx has ended: nobody else gets what was read
			now := time.Now()
			for _, s := range services {
				s.Handle(now, in[:n])
			}
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			set = false
		default:
			return err
		}
	}
}

// advance calls Advance of each service and returns the earliest time; zero: never.
func advance[F any](services []Service[F]) (next time.Time) {
	now := time.Now()
	for _, s := range services {
		if at := s.Advance(now); next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// stale reports whether a service is Stale.
func stale[F any](services []Service[F]) bool {
	for _, s := range services {
		if s.Stale() {
			return true
		}
	}
	return false
}

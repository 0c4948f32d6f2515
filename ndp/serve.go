package ndp

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// Service is what [Serve] serves: a [Proxy] or an [Advertiser].
type Service interface {
	// handle takes packets that were received, of every type and link.
	handle(now time.Time, in []Packet)
	// advance does what is due and returns when there is more to do; the zero time if
	// never.
	advance(now time.Time) time.Time
	// stale reports whether that has changed since.
	stale() bool
}

// Serve runs several services on one Conn until ctx ends, and then returns nil. It returns
// early only if the Conn fails as a whole. Each service adds and removes links as if it
// were alone: make them with what [Share] returns.
func Serve(ctx context.Context, conn PacketConn, services ...Service) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	in := make([]Packet, Batch)
	for {
		var next time.Time
		now := time.Now()
		for _, s := range services {
			if at := s.advance(now); next.IsZero() || !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		_ = conn.SetReadDeadline(next)
		// Whoever changes a deadline or ends ctx sets the read deadline to the past, and
		// may have done so just before: asked after, none is missed.
		if ctx.Err() != nil {
			return nil
		}
		if stale(services) {
			continue
		}
		n, err := conn.Read(in)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			now = time.Now()
			for _, s := range services {
				s.handle(now, in[:n])
			}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
	}
}

func stale(services []Service) bool {
	for _, s := range services {
		if s.stale() {
			return true
		}
	}
	return false
}

// Share returns n connections for services that [Serve] runs on conn: a link is received
// from as long as one of them has it added. None of them is to be read.
func Share(conn PacketConn, n int) []PacketConn {
	all := &shared{PacketConn: conn, users: map[int]int{}}
	out := make([]PacketConn, n)
	for i := range out {
		out[i] = &share{shared: all, mine: map[int]bool{}}
	}
	return out
}

type shared struct {
	PacketConn
	mu    sync.Mutex  // guards users, and mine of each share
	users map[int]int // how many have a link added
}

type share struct {
	*shared
	mine map[int]bool
}

func (s *share) Add(ifindex int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mine[ifindex] {
		return nil
	}
	if s.users[ifindex] == 0 {
		if err := s.PacketConn.Add(ifindex); err != nil {
			return err
		}
	}
	s.users[ifindex]++
	s.mine[ifindex] = true
	return nil
}

func (s *share) Remove(ifindex int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mine[ifindex] {
		return
	}
	delete(s.mine, ifindex)
	if s.users[ifindex]--; s.users[ifindex] == 0 {
		delete(s.users, ifindex)
		s.PacketConn.Remove(ifindex)
	}
}

package ndp

import (
	"context"
	"sync"

	"github.com/hyperfib/hyperfib/internal/serve"
)

// Service is what [Serve] serves: a [Responder] or an [Advertiser].
type Service interface {
	service() serve.Service[Packet]
}

// Serve runs several services on one Conn until ctx ends, and then returns nil. It returns
// early only if the Conn fails as a whole. Each service adds and removes links as if it
// were alone: make them with what [Share] returns.
func Serve(ctx context.Context, conn PacketConn, services ...Service) error {
	all := make([]serve.Service[Packet], len(services))
	for i, s := range services {
		all[i] = s.service()
	}
	return serve.Run(ctx, conn, Batch, all...)
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
	mine map[int]bool // the share's interfaces, by index
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

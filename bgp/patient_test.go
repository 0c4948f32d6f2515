package bgp

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// halfPipe is a pipe whose end can close one half, as TCP can.
type halfPipe struct{ net.Conn }

func (halfPipe) CloseWrite() error { return nil }

// A connection over a path that failed stays until the peer closes it, its hold
// time is over, or we end; any other ends after lingerTime.
func TestPatience(t *testing.T) {
	for name, c := range map[string]struct {
		hold       time.Duration // negative: not patient
		peer, stop time.Duration // when the peer closes, and Run ends
		want       time.Duration
	}{
		"peer closes":     {hold: 90 * time.Second, peer: 7 * time.Second, want: 7 * time.Second},
		"hold time":       {hold: 90 * time.Second, want: 90 * time.Second},
		"no hold time":    {want: maxPatience},
		"we end":          {hold: 90 * time.Second, stop: 5 * time.Second, want: 5 * time.Second},
		"an ordinary end": {hold: -1, want: lingerTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, peers := net.Pipe()
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var wg sync.WaitGroup
				closed := make(chan time.Time, 1)
				p := newPumps(halfPipe{ours}, &wg, func() { closed <- time.Now() })
				p.patient.ctx = ctx
				wait := time.Duration(0)
				if c.hold >= 0 {
					wait = patience(c.hold)
				}
				start := time.Now()
				go io.Copy(io.Discard, peers)
				p.close([]byte("the end"), wait)
				if c.peer > 0 {
					time.AfterFunc(c.peer, func() { peers.Close() })
				}
				if c.stop > 0 {
					time.AfterFunc(c.stop, cancel)
				}
				if d := (<-closed).Sub(start); d != c.want {
					t.Errorf("closed after %v, want %v", d, c.want)
				}
				wg.Wait()
				peers.Close()
			})
		})
	}
}

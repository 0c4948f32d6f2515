package daemon

import (
	"context"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// pathNotice is what BGP has not been told about one session yet. A Down is never
// hidden by the Up that follows it.
type pathNotice struct {
	watch    peering.Watch
	down, up bool
	remoteC  bool
}

// note keeps news for tell; the guard's lock is held.
func (g *guard) note(w peering.Watch, up, remoteC bool) {
	n := g.pending[w.Key]
	n.watch = w
	if up {
		n.up = true
	} else {
		n.down, n.up, n.remoteC = true, false, remoteC
	}
	g.pending[w.Key] = n
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// tell brings the news to BGP until ctx ends. BGP may be busy with a peer; the
// kernel is told by then, and the news of one session do not delay another's
// gateways.
func (g *guard) tell(ctx context.Context) {
	for {
		select {
		case <-g.wake:
		case <-ctx.Done():
			return
		}
		g.deliver()
	}
}

// deliver brings BGP the news that there are.
func (g *guard) deliver() {
	g.mu.Lock()
	all := g.pending
	g.pending = map[bfd.Key]pathNotice{}
	g.mu.Unlock()
	for _, n := range all {
		if n.down {
			g.paths.PathDown(n.watch, n.remoteC)
		}
		if n.up {
			g.paths.PathUp(n.watch)
		}
	}
}

// endGrace ends the trust in next hops that an earlier run announced: those whose probe is
// not up by now are dead.
func (g *guard) endGrace() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.watches {
		if w.Probe() && !g.up[w.Key] {
			g.note(w, false, false)
		}
	}
}

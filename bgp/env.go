package bgp

import (
	"context"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
)

// env is what a speaker and all its peers have in common.
type env struct {
	cfg     Config          // not changed after New
	table   *rib.Table      // all paths, of all peers
	hub     eventHub        // where peers publish their events
	restart ownRestart      // the speaker's own graceful restart
	wg      sync.WaitGroup  // everything that Run must wait for
	ctx     context.Context // of Run; set before the first owner of a peer begins

	now       func() time.Time   // the time of day
	newRunner func(*peer) runner // makes the owner of a new peer
}

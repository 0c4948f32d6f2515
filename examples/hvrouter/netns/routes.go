package netns

import (
	"slices"
	"sync/atomic"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/fib"
)

// wanted is which routes announcements need: those of the domains' tables with the metrics of ours.
// BGP's routes, of which there may be a million, have another. It is safe for concurrent use.
type wanted struct {
	atomic.Pointer[wantedRoutes]
}

type wantedRoutes struct{ tables, metrics map[uint32]bool }

func (w *wanted) set(c *config.Config) {
	next := wantedRoutes{map[uint32]bool{}, map[uint32]bool{c.Edge.Metric: true, 0: true, domain.Metric6: true}}
	for _, id := range domainTables(c) {
		next.tables[id] = true
	}
	w.Store(&next)
}

func (w *wanted) accept(k fib.RouteKey) bool {
	now := w.Load()
	return now.tables[k.Table] && now.metrics[k.Metric]
}

// domainTables returns the tables of the domains of a configuration.
func domainTables(c *config.Config) (ids []uint32) {
	for _, d := range c.Domains {
		ids = append(ids, d.Table.ID)
	}
	return ids
}

// Tables returns the tables that a configuration makes ours.
func Tables(c *config.Config) (ids []uint32) {
	ids = domainTables(c)
	if c.LocalOut != nil {
		ids = append(ids, c.LocalOut.Table.ID)
	}
	for _, o := range c.Gateways() {
		if !slices.Contains(ids, o.Gateway.Table.ID) {
			ids = append(ids, o.Gateway.Table.ID)
		}
	}
	return ids
}

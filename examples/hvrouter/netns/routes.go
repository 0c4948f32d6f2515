package netns

import (
	"sync/atomic"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/fib"
)

// metrics are the metrics of the routes that announcements need; BGP's routes, of which there
// may be a million, have another. It is safe for concurrent use.
type metrics struct {
	atomic.Pointer[map[uint32]bool]
}

func (m *metrics) set(c *config.Config) {
	m.Store(&map[uint32]bool{c.Edge.Metric: true, 0: true, domain.Metric6: true})
}

func (m *metrics) accept(k fib.RouteKey) bool { return (*m.Load())[k.Metric] }

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
	return ids
}

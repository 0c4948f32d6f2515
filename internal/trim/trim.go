package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
)

// An idle Go process collects garbage every two minutes and gives memory back
// slowly: a reflector that was flooded once would look as if it leaked.
const (
	trimEvery = 3 * time.Second
	trimSlack = 3 << 20 // octets of heap that are not worth a collection
)

// trimmer decides when to give memory back to the system: when the process is idle,
// and either its heap has grown or half of its paths have gone since the last time.
type trimmer struct {
	cycles uint64 // collections so far
	heap   uint64 // octets after the last trim
	paths  int    // the most since the last trim
}

// due is told where things stand, and reports whether now is the time.
func (t *trimmer) due(cycles, heap uint64, paths int) bool {
	idle := cycles == t.cycles
	t.cycles = cycles
	t.paths = max(t.paths, paths)
	return idle && (heap > t.heap+t.heap/2+trimSlack || heap > trimSlack && paths < t.paths/2)
}

// trim runs until ctx ends.
func trim(ctx context.Context, table *rib.Table) error {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	var t trimmer
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		cycles, heap := memory()
		paths := table.Stats().Paths
		if t.due(cycles, heap, paths) {
			debug.FreeOSMemory()
			t.cycles, t.heap = memory()
			t.paths = paths
		}
	}
}

// memory returns the number of garbage collections and the octets of heap that the
// system has given us.
func memory() (cycles, heap uint64) {
	s := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64() + s[2].Value.Uint64() + s[3].Value.Uint64()
}

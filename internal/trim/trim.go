// Package trim has a process give memory back to the system soon after it needed it.
//
// An idle Go process collects garbage every two minutes and gives memory back slowly: a
// daemon that was flooded once would look as if it leaked.
package trim

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	every = 3 * time.Second
	slack = 3 << 20 // octets of heap that are not worth a collection
)

// trimmer decides when to give memory back: when the process is idle, and either its heap
// has grown or half of what it holds has gone since the last time.
type trimmer struct {
	cycles uint64 // collections so far
	heap   uint64 // octets after the last trim
	held   int    // the most since the last trim
}

// due is told where things stand, and reports whether now is the time.
func (t *trimmer) due(cycles, heap uint64, held int) bool {
	idle := cycles == t.cycles
	t.cycles = cycles
	t.held = max(t.held, held)
	return idle && (heap > t.heap+t.heap/2+slack || heap > slack && held < t.held/2)
}

// Run trims until ctx ends. held returns how many things, such as routes, the process
// holds; it is called every three seconds.
func Run(ctx context.Context, held func() int) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var t trimmer
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		cycles, heap := memory()
		n := held()
		if t.due(cycles, heap, n) {
			debug.FreeOSMemory()
			t.cycles, t.heap = memory()
			t.held = n
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

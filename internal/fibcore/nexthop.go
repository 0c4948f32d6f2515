package fibcore

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// objectKey is the content of a single next-hop object. Objects exist as
// members of groups only: a route with one next hop carries it itself, so that the
// deletion of a dead member never takes a route along.
type objectKey struct {
	family  wire.Family // of the gateway, or of the route if there is none
	gateway netip.Addr
	link    int32
	onlink  bool
	// clone marks the second object of a gateway that is dead, made for
	// groups that have nothing else, so that the first can be deleted.
	clone bool
}

// object is a single next-hop object that groups want, and the id that it has, or
// is to have. What the kernel has under that id is a hop.
type object struct {
	key     objectKey
	id      uint32
	err     error     // why the kernel refused it
	text    string    // its words
	next    time.Time // no new attempt before; zero: any time
	step    time.Duration
	foreign bool // another program deleted or changed it: to make it is a repair
	by      origin
	brake   brake.Brake // of repairs
}

// hop is what the kernel has under an id of our range that is no group. It is
// comparable.
type hop struct {
	objectKey // clone is false
	proto     uint8
	alien     bool // blackhole, encapsulation, FDB: never made here
}

// kernelGroup is a group of our id range in the kernel, or one that routes
// still point at although it has gone.
type kernelGroup struct {
	id     uint32
	exists bool
	shape
	proto      uint8
	alien      bool   // of a kind that is never made here
	uses       int    // entries whose form has it
	owner      *group // nil: left over
	unreported bool   // members have changed, which the followers of its routes do not know
	since      time.Time
}

// shape is what makes two groups the same.
type shape struct {
	members          []wire.Member // sorted
	buckets          uint16        // of a resilient one
	idle, unbalanced uint32        // its timers, in clock ticks
}

func (s *shape) equal(t *shape) bool {
	return s.buckets == t.buckets && s.idle == t.idle && s.unbalanced == t.unbalanced && slices.Equal(s.members, t.members)
}

// group is a desired set of next hops that wants share.
type group struct {
	serial     uint64 // order of creation
	key        string
	family     wire.Family
	nextHops   []wire.NextHop
	buckets    uint16
	wants      int
	users      map[*want]struct{} // that have it, also those that nobody wants yet
	now        *kernelGroup       // nil: none yet
	dirty      bool
	replaced   bool // now is another: the wants must be resolved
	unreported bool // why it is not complete has changed, which the followers of its routes do not know
	err        error
	text       string // the kernel's words
	next       time.Time
	step       time.Duration
	foreign    bool // another program deleted or changed it: to make it is a repair
	by         origin
	brake      brake.Brake // of repairs
}

// gatewayKey names a gateway for GatewayDown.
type gatewayKey struct {
	IfIndex int32
	Gateway netip.Addr
}

func gatewayOf(l *wire.NextHop) gatewayKey { return gatewayKey{l.IfIndex, l.Gateway} }

// sets are sets by a key; there are none that are empty.
type sets[K, V comparable] map[K]map[V]struct{}

func (s sets[K, V]) add(k K, v V) {
	if s[k] == nil {
		s[k] = map[V]struct{}{}
	}
	s[k][v] = struct{}{}
}

func (s sets[K, V]) remove(k K, v V) {
	delete(s[k], v)
	if len(s[k]) == 0 {
		delete(s, k)
	}
}

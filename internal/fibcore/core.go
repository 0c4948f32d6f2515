package fibcore

import (
	"cmp"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Core is the whole state of a FIB, desired and kernel, and all decisions: its parts, and what
// concerns several of them. It does no I/O and has no clock: the shell feeds it notifications,
// dumps and results, and asks what to write. Not safe for concurrent use.
type Core struct {
	env      env
	links    links
	nexthops nexthops
	contents contents
	routes   routes
	learners learners

	rules     rules
	addresses desired[wire.AddressKey, wire.Address]
	temporary map[wire.AddressKey]bool // addresses in the kernel that have a lifetime
	neighbors desired[wire.NeighborKey, wire.Neighbor]
	sysctls   sysctls
	compared  time.Time // when sysctls and proxy entries are compared again
	auditor   auditor
	forgotten []string // directories of sysctls not to be watched any more
	flight    flight
}

// New returns the core of a FIB. emit takes events while a method is called: it must not
// block.
func New(c Config, emit func(Event)) *Core {
	k := &Core{temporary: map[wire.AddressKey]bool{}}
	k.env = env{config: c, emit: emit, rereads: rereads{tables: map[tableFamily]*reread{}}}
	if c.Tables != nil {
		k.env.owned = map[uint32]bool{}
		for _, t := range c.Tables {
			k.env.owned[cmp.Or(t, rtnl.RT_TABLE_MAIN)] = true
		}
	}
	k.links = links{byIndex: map[int32]wire.Link{}, gone: map[string]int32{}, aliases: map[int32]int32{}}
	k.nexthops.init(&k.env, &k.links, k.contents.forgetForms)
	k.contents = contents{env: &k.env, links: &k.links, nexthops: &k.nexthops, formLimit: 1024,
		intern: intern{wants: map[string]*want{}, forms: map[string]*form{}, formsOf: sets[uint32, *form]{}, gateways: map[gatewayKey]int{}, groupOf: k.nexthops.groupRecord}}
	k.routes = routes{env: &k.env, nexthops: &k.nexthops, contents: &k.contents, tables: tables{index: map[tableFamily]uint16{}},
		store: newStore(), failures: map[uint32]*failure{}, by: map[uint32]origin{}, brakes: brake.Table[rkey]{}}
	k.learners = learners{env: &k.env}
	k.rules.init()
	k.addresses.init()
	k.addresses.remake, k.addresses.anonymous = fixed, anonymous
	k.neighbors.init()
	k.addresses.compare, k.neighbors.compare = wire.AddressKey.Compare, wire.NeighborKey.Compare
	k.sysctls.init()
	k.routes.doubted, k.routes.awaited = map[tableFamily]map[rkey]bool{}, map[rkey]bool{}
	k.auditor.core = k
	return k
}

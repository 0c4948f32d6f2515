package daemon

import (
	"encoding/binary"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// hopCache has one slice for each distinct set of next hops: a full table has
// a handful of them.
type hopCache struct {
	sets        map[string][]domain.NextHop
	alive, dead []domain.NextHop // scratch
	key         []byte
}

// maxHopSets bounds the cache; beyond it starts anew. Slices handed out live on.
const maxHopSets = 4096

// share sorts hops, drops what stands twice, and returns the shared slice that is
// equal. It does not retain hops.
func (c *hopCache) share(hops []domain.NextHop) []domain.NextHop {
	if len(hops) == 0 {
		return nil
	}
	slices.SortFunc(hops, domain.NextHop.Compare)
	hops = slices.CompactFunc(hops, func(a, b domain.NextHop) bool { return a == b })
	c.key = c.key[:0]
	for _, h := range hops {
		b := h.Gateway.As16()
		c.key = append(append(c.key, b[:]...), h.Link...)
		c.key = binary.BigEndian.AppendUint16(c.key, uint16(len(h.Link)))
	}
	if shared, ok := c.sets[string(c.key)]; ok {
		return shared
	}
	if c.sets == nil || len(c.sets) >= maxHopSets {
		c.sets = map[string][]domain.NextHop{}
	}
	own := slices.Clone(hops)
	c.sets[string(c.key)] = own
	return own
}

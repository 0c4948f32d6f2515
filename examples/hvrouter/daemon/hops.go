package daemon

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/fib"
)

// hopCache has one slice for each distinct set of next hops: a full table has
// a handful of them.
type hopCache struct {
	sets        map[string][]domain.NextHop
	alive, dead []weighted // scratch
	key         []byte
}

// weighted is a next hop, and the bandwidth that its path asks for: 0 is none.
type weighted struct {
	domain.NextHop
	bandwidth float32
}

// maxHopSets bounds the cache; beyond it starts anew. Slices handed out live on.
const maxHopSets = 4096

// share sorts hops, drops what stands twice (the first counts), and returns the shared slice of the
// same next hops with the same bandwidths: with weights, if each has one. It does not retain hops.
func (c *hopCache) share(hops []weighted) []domain.NextHop {
	if len(hops) == 0 {
		return nil
	}
	slices.SortStableFunc(hops, func(a, b weighted) int { return a.Compare(b.NextHop) })
	hops = slices.CompactFunc(hops, func(a, b weighted) bool { return a.NextHop == b.NextHop })
	equal := true
	for _, h := range hops {
		if h.bandwidth == 0 {
			equal = true
			break
		}
		equal = equal && h.bandwidth == hops[0].bandwidth
	}
	c.key = c.key[:0]
	for _, h := range hops {
		b := h.Gateway.As16()
		c.key = append(append(c.key, b[:]...), h.Link...)
		c.key = binary.BigEndian.AppendUint16(c.key, uint16(len(h.Link)))
		if !equal {
			c.key = binary.BigEndian.AppendUint32(c.key, math.Float32bits(h.bandwidth))
		}
	}
	if shared, ok := c.sets[string(c.key)]; ok {
		return shared
	}
	if c.sets == nil || len(c.sets) >= maxHopSets {
		c.sets = map[string][]domain.NextHop{}
	}
	own := make([]domain.NextHop, len(hops))
	shares := make([]float64, len(hops))
	for i, h := range hops {
		own[i], shares[i] = h.NextHop, float64(h.bandwidth)
	}
	if !equal {
		for i, w := range fib.Weights(shares) {
			own[i].Weight = w
		}
	}
	c.sets[string(c.key)] = own
	return own
}

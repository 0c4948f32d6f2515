package firewall

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// floodedSet counts what chain flooded has dropped of each uplink.
const (
	floodedSet  = "flooded"
	mostUplinks = 1024 // that have a counter
)

// flooded makes the chain that drops what is beyond the bounds of [builder.limit], and counts it for each uplink.
// It returns the name.
func (b *builder) flooded(name string, in field) string {
	var s *set
	for _, have := range b.table.sets {
		if have.Name == floodedSet {
			s = have
		}
	}
	if s == nil {
		s = b.set(floodedSet, "what was dropped of each uplink", in.kind)
		s.Dynamic, s.Size = true, mostUplinks
	}
	c := chain{name: name + "_flooded"}
	c.add(counted(s, in))
	c.drop(neighbourFlood)
	b.put(c)
	return c.name
}

// counted counts a packet for its key.
func counted(s *set, fields ...field) match {
	return append(key(fields...), &expr.Dynset{
		SrcRegKey: reg, SetName: s.Name, SetID: s.ID, Operation: uint32(unix.NFT_DYNSET_OP_UPDATE), Exprs: []expr.Any{&expr.Counter{}},
	})
}

// Flooded returns how many packets of each uplink were dropped as a part of a flood, by the kind of drop, since the
// tables were last replaced.
func (w *Firewall) Flooded() (map[string]map[string]uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	uplinks := map[string]uint64{}
	err := netns.Do(w.netns, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		for _, t := range w.applied {
			for _, s := range t.sets {
				if s.Name != floodedSet {
					continue
				}
				elements, err := conn.GetSetElements(s.Set)
				if err != nil {
					return err
				}
				for _, e := range elements {
					if e.Counter != nil && e.Counter.Packets > 0 {
						uplinks[unix.ByteSliceToString(e.Key)] += e.Counter.Packets
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("firewall: %w", err)
	}
	if len(uplinks) == 0 {
		return nil, nil
	}
	return map[string]map[string]uint64{neighbourFlood: uplinks}, nil
}

package netns

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// When an uplink counts as flooded: so many packets of one kind are dropped between two looks. What goes on is said
// again after a while, and it is over when nothing has been dropped for so long.
const (
	floodLook  = 10 * time.Second
	floodLeast = 100
	floodAgain = 10 * time.Minute
	floodOver  = time.Minute
)

// floods decides what is said about floods of uplinks. It is pure.
type floods struct{ list map[floodKey]*floodState }

type floodKey struct{ kind, uplink string }

type floodState struct {
	total   uint64    // dropped, as counted last
	said    time.Time // last; zero: there is no flood
	counted uint64    // dropped since it was said
	seen    time.Time // when something was dropped last
}

// flooded is what is said: packets were dropped, or over: no more are.
type flooded struct {
	floodKey
	packets uint64
	over    bool
}

// look takes the counters, by kind and uplink, and returns what is to be said. A counter that is less than before has
// begun again.
func (f *floods) look(now time.Time, counters map[string]map[string]uint64) (say []flooded) {
	if f.list == nil {
		f.list = map[floodKey]*floodState{}
	}
	for kind, uplinks := range counters {
		for uplink, total := range uplinks {
			k := floodKey{kind, uplink}
			s := f.list[k]
			if s == nil {
				s = &floodState{}
				f.list[k] = s
			}
			more := total - s.total
			if total < s.total {
				more = total
			}
			s.total, s.counted = total, s.counted+more
			if more > 0 {
				s.seen = now
			}
			if s.said.IsZero() && more >= floodLeast || !s.said.IsZero() && more > 0 && now.Sub(s.said) >= floodAgain {
				say = append(say, flooded{floodKey: k, packets: s.counted})
				s.said, s.counted = now, 0
			}
		}
	}
	for k, s := range f.list {
		switch {
		case s.said.IsZero():
			s.counted = 0
		case now.Sub(s.seen) >= floodOver:
			say = append(say, flooded{floodKey: k, packets: s.counted, over: true})
			s.said, s.counted = time.Time{}, 0
		}
	}
	slices.SortFunc(say, func(a, b flooded) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.uplink, b.uplink)) })
	return say
}

// floods looks at the counters of floods until ctx ends, and logs those that begin and end.
func (s *shield) floods(ctx context.Context) {
	if s.firewall == nil {
		return
	}
	var f floods
	for pause(ctx, floodLook) == nil {
		counters, err := s.firewall.Flooded()
		if err != nil {
			continue // the table is missed by others
		}
		for _, one := range f.look(time.Now(), counters) {
			if one.over {
				s.log.Info("uplink is not flooded any more", "event", "uplink-flooded", "interface", one.uplink, "kind", one.kind, "packets", one.packets)
			} else {
				s.log.Warn("uplink is flooded: somebody on it asks from ever other addresses", "event", "uplink-flooded", "interface", one.uplink, "kind", one.kind, "packets", one.packets)
			}
		}
	}
}

package netns

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestFloods: a flood is said when it begins, every ten minutes while it goes on, and when it is over.
func TestFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := newBed(t, "hv1.yaml")
		look := func(counters ...uint64) []string {
			b.firewall.floods = counters
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(len(counters))*floodLook+floodLook/2)
			defer cancel()
			b.FollowFloods(ctx)
			return b.log.take()
		}
		few := []uint64{5, 60, 120, 120, 120}
		if events := look(few...); len(events) > 0 {
			t.Errorf("some, not many: %q", events)
		}
		var long []uint64
		for i := range uint64(11 * 6) { // 11 minutes
			long = append(long, 200*i)
		}
		if events := look(long...); !slices.Equal(events, []string{"uplink-flooded", "uplink-flooded"}) {
			t.Errorf("11 minutes: %q", events)
		}
		again := append([]uint64{500}, slices.Repeat([]uint64{500}, 10)...) // begins, and is over
		again = append(again, 100, 100)                                     // the table was replaced, and it begins again
		if events := look(again...); !slices.Equal(events, []string{"uplink-flooded", "uplink-flooded", "uplink-flooded"}) {
			t.Errorf("twice: %q", events)
		}
	})
}

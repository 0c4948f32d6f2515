package failover

import (
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// When and why a session left Up is known when it is Up again, and forgotten with the session.
func TestLastDown(t *testing.T) {
	m := New(Config{Log: quiet, Now: time.Now})
	key, at := bfd.Key{Interface: "a"}, time.Unix(100, 0)
	event := func(s bfd.State, r bfd.Reason, downs uint64, after int) {
		m.Event(bfd.Event{Key: key, State: s, Reason: r, Downs: downs, Time: at.Add(time.Duration(after) * time.Second)})
	}
	want := func(what string, after int, r bfd.Reason) {
		t.Helper()
		if got, why := m.LastDown(key); why != r || after > 0 && !got.Equal(at.Add(time.Duration(after)*time.Second)) || after == 0 && !got.IsZero() {
			t.Errorf("%s: %v %v", what, got, why)
		}
	}
	event(bfd.StateDown, bfd.ReasonNone, 0, 1)
	want("never up", 0, bfd.ReasonNone)
	event(bfd.StateUp, bfd.ReasonNone, 0, 2)
	event(bfd.StateDown, bfd.ReasonExpired, 1, 3)
	want("down", 3, bfd.ReasonExpired)
	event(bfd.StateDown, bfd.ReasonNeighborDown, 1, 4) // it was not Up in between
	want("down still", 3, bfd.ReasonExpired)
	event(bfd.StateUp, bfd.ReasonNone, 1, 5)
	want("up again", 3, bfd.ReasonExpired)
	event(bfd.StateDown, bfd.ReasonNeighborDown, 2, 6)
	want("down again", 6, bfd.ReasonNeighborDown)
	m.Event(bfd.Event{Key: key, State: bfd.StateAdminDown, Removed: true})
	want("removed", 0, bfd.ReasonNone)
}

package bfdrestart

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

func TestWho(t *testing.T) {
	for _, tc := range []struct {
		e        bfd.Event
		peer, us bool
	}{
		{bfd.Event{State: bfd.StateDown, Reason: bfd.ReasonNeighborDown}, true, false},
		{bfd.Event{State: bfd.StateDown, Reason: bfd.ReasonNeighborDown, RemoteDiag: bfd.DiagExpired}, false, false},
		{bfd.Event{State: bfd.StateDown, Reason: bfd.ReasonExpired}, false, false},
		{bfd.Event{State: bfd.StateDown, Reason: bfd.ReasonRemoteAdminDown}, false, false},
		{bfd.Event{State: bfd.StateDown}, false, true},
		{bfd.Event{State: bfd.StateUp}, false, false},
	} {
		if ByPeer(tc.e) != tc.peer || ByUs(tc.e) != tc.us {
			t.Errorf("%v: by the peer %v, by us %v", tc.e, ByPeer(tc.e), ByUs(tc.e))
		}
	}
}

func TestSessions(t *testing.T) {
	now := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	key := func(last byte) bfd.Key { return bfd.Key{Peer: netip.AddrFrom4([4]byte{192, 0, 2, last})} }
	var s Sessions
	s.End(key(1))
	if !s.Deadline().IsZero() || s.Expired(now) != nil {
		t.Error("no session was restarted, and one is due")
	}
	s.Begin(key(5), now.Add(time.Millisecond))
	for last := range byte(4) {
		s.Begin(key(4-last), now)
	}
	s.End(key(2))
	s.Begin(key(3), now.Add(time.Second)) // again
	if at := s.Deadline(); !at.Equal(now.Add(Time)) {
		t.Errorf("due at %v", at)
	}
	for _, step := range []struct {
		after time.Duration
		want  []bfd.Key
	}{{Time - 1, nil}, {Time + time.Millisecond, []bfd.Key{key(1), key(4), key(5)}}, {Time + time.Second, []bfd.Key{key(3)}}, {time.Hour, nil}} {
		if got := s.Expired(now.Add(step.after)); !slices.Equal(got, step.want) {
			t.Errorf("after %v: %v, want %v", step.after, got, step.want)
		}
	}
	if !s.Deadline().IsZero() {
		t.Error("a session is left")
	}
}

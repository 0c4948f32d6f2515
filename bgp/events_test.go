package bgp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// drain reads the events that are there.
func drain(t *testing.T, s *Watcher) (out []Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for e, err := range s.All(ctx) {
		if err != nil {
			return out
		}
		out = append(out, e)
	}
	return out
}

func names(events []Event) string {
	var out []string
	for _, e := range events {
		s := e.Kind.String()
		if e.Kind == EventState {
			s = e.State.String()
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// TestEvents reads what happened, late: a state before what follows from it.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
		a.peer(PeerConfig{Addr: addr2, Passive: true})
		b.peer(PeerConfig{Addr: addr1})
		settle(time.Second)
		n.Reset(everybody, everybody)
		settle(time.Second)
		got := drain(t, a.events)
		want := "snapshot added Active OpenSent OpenConfirm Established up end-of-rib error down Idle OpenSent OpenConfirm Established up end-of-rib"
		if s := names(got); s != want {
			t.Errorf("got  %s\nwant %s", s, want)
		}
		for _, e := range got {
			var p *PeerError
			if e.Kind == EventDown && (!errors.As(e.Err, &p) || p.Peer != e.Peer) {
				t.Errorf("down: %v", e.Err)
			}
			if e.Snapshot && e.Kind != EventSnapshot {
				t.Errorf("%v in a snapshot before anything happened", e.Kind)
			}
		}
		// Who comes later gets what holds, then what happens.
		late := a.Watch()
		defer late.Close()
		_ = a.RemovePeer(key2)
		events := drain(t, late)
		if s := names(events); s != "added Established up end-of-rib snapshot error down Idle removed" {
			t.Errorf("late: %s", s)
		}
		for i, e := range events {
			if e.Snapshot != (i < 5) || i < 4 && !e.Time.Before(time.Now().Add(-500*time.Millisecond)) {
				t.Errorf("%v: snapshot %v, at %v", e.Kind, e.Snapshot, e.Time)
			}
		}
	})
}

// TestSnapshotFamilies: who comes late hears of the End-of-RIB of every family.
func TestSnapshotFamilies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
		a.peer(PeerConfig{Addr: addr2, Passive: true, Families: families[:]})
		b.peer(PeerConfig{Addr: addr1, Families: families[:]})
		settle(time.Second)
		late := a.Watch()
		defer late.Close()
		var got []wire.Family
		for _, e := range drain(t, late) {
			if e.Kind == EventEndOfRIB && e.Snapshot {
				got = append(got, e.Family)
			}
		}
		if !slices.Equal(got, families[:]) {
			t.Errorf("End-of-RIB of %v", got)
		}
	})
}

// TestEventsLost: a reader that does not read gets a snapshot in place of what it missed, and
// is told how much that was.
func TestEventsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, _ := pair(t, GracefulRestart{})
		drain(t, a.events)
		for range eventBacklog {
			a.env.hub.publish(Event{Kind: EventError, Peer: key2})
		}
		if got := drain(t, a.events); len(got) != eventBacklog || got[0].Lost != 0 {
			t.Fatalf("%d events, %d lost", len(got), got[0].Lost)
		}
		for range eventBacklog + 5 {
			a.env.hub.publish(Event{Kind: EventError, Peer: key2})
		}
		got := drain(t, a.events)
		if s := names(got); s != "added Established up end-of-rib end-of-rib snapshot" || got[0].Lost != eventBacklog+5 || got[1].Lost != 0 {
			t.Errorf("%s, %d and %d lost", s, got[0].Lost, got[1].Lost)
		}
		a.env.hub.publish(Event{Kind: EventError, Peer: key2})
		if got := drain(t, a.events); names(got) != "error" || got[0].Lost != 0 || got[0].Snapshot {
			t.Errorf("afterwards: %+v", got)
		}
		// The same for one who has not got through its first snapshot.
		s := a.Watch()
		defer s.Close()
		for range 2 * eventBacklog {
			a.env.hub.publish(Event{Kind: EventError, Peer: key2})
		}
		if got := drain(t, s); len(got) != 6 || got[0].Lost != 2*eventBacklog {
			t.Errorf("%d events, %d lost", len(got), got[0].Lost)
		}
	})
}

// TestEventsClosed: nobody waits for events that will not come.
func TestEventsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a := run(t, n, addr1, Config{})
		s := a.Watch()
		drain(t, s)
		drain(t, a.events)
		ended := make(chan error, 4)
		wait := func(s *Watcher) {
			_, err := s.Next(context.Background(), make([]Event, 1))
			ended <- err
		}
		for range 2 {
			go wait(s)
			go wait(a.events)
		}
		synctest.Wait()
		s.Close()
		synctest.Wait()
		if len(ended) != 2 {
			t.Errorf("%d of 2 readers know that the subscription is closed", len(ended))
		}
		a.kill()
		for range 4 {
			if err := <-ended; !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
		s.Close() // again
		// What happened before the end is still to be had, then nothing more.
		b := run(t, n, addr2, Config{})
		b.peer(PeerConfig{Addr: addr1})
		settle(time.Second)
		b.kill()
		if got := names(drain(t, b.events)); !strings.HasPrefix(got, "snapshot added") {
			t.Error(got)
		}
		for _, s := range []*Watcher{b.events, b.Watch()} {
			if _, err := s.Next(context.Background(), make([]Event, 1)); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
	})
}

// TestEventsFollow subscribes at any moment: what is known from events then is what is so.
func TestEventsFollow(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			n := &bgptest.Network{}
			gr := GracefulRestart{Enabled: true, RestartTime: 3 * time.Second}
			a := run(t, n, addr1, Config{GracefulRestart: gr})
			if err := a.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Template: PeerConfig{Families: bothFamilies}}); err != nil {
				t.Fatal(err)
			}
			nodes := map[netip.Addr]*node{}
			var subs []*Watcher
			for range 40 {
				switch r.IntN(5) {
				case 0:
					subs = append(subs, a.Watch())
				case 1:
					n.Reset(everybody, everybody)
				case 2, 3:
					addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + r.IntN(5))})
					if nodes[addr] != nil {
						nodes[addr].kill()
						delete(nodes, addr)
						break
					}
					nodes[addr] = run(t, n, addr, Config{GracefulRestart: gr})
					nodes[addr].peer(PeerConfig{Addr: addr1, Families: bothFamilies})
				case 4:
					settle(time.Duration(r.IntN(20000)) * time.Millisecond)
				}
			}
			settle(15 * time.Second)
			want := map[PeerKey]string{}
			for _, st := range a.Peers() {
				want[st.Key] = fmt.Sprint(st.State == Established, st.Restart, !st.Families[0].EndOfRIB.IsZero())
			}
			for i, s := range subs {
				got := map[PeerKey]string{}
				for k, p := range follow(drain(t, s)) {
					got[k] = fmt.Sprint(p.up, p.restart, p.endOfRIB)
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("seed %d, subscription %d: %v, want %v", seed, i, got, want)
				}
			}
		})
	}
}

type followed struct {
	up, endOfRIB bool
	restart      RestartStatus
}

// follow is what a program that keeps state from events does.
func follow(events []Event) map[PeerKey]*followed {
	known := map[PeerKey]*followed{}
	for _, e := range events {
		p := known[e.Peer]
		switch e.Kind {
		case EventAdded:
			known[e.Peer] = &followed{}
		case EventRemoved:
			delete(known, e.Peer)
		case EventUp:
			p.up = true
		case EventDown:
			p.up, p.endOfRIB = false, false
		case EventEndOfRIB:
			p.endOfRIB = p.endOfRIB || e.Family == wire.IPv4Unicast
		case EventRestart:
			p.restart = e.Restart
		}
	}
	return known
}

// TestUnsendable: routes without a next hop for the session are an event and a count, not
// silence.
func TestUnsendable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, GracefulRestart{})
		drain(t, a.events)
		a.originate("2001:db8:1::/48", "2001:db8:2::/48", "192.0.2.0/24")
		settle(time.Second)
		b.has("192.0.2.0/24", 1)
		b.has("2001:db8:1::/48", 0)
		got := drain(t, a.events)
		if len(got) != 1 || got[0].Kind != EventUnsendable || got[0].Family != wire.IPv6Unicast || !strings.Contains(fmt.Sprint(got[0].Err), " routes cannot be sent") { // 1 or 2: what there was at that moment
			t.Errorf("%+v", got)
		}
		if st := mustPeer(t, a, addr2); st.Families[0].NoNextHop != 0 || st.Families[1].NoNextHop != 2 {
			t.Errorf("%+v", st.Families)
		}
		late := a.Watch()
		if s := names(drain(t, late)); !strings.HasSuffix(s, "end-of-rib unsendable snapshot") {
			t.Errorf("late: %s", s)
		}
		c := PeerConfig{Addr: addr2, Families: bothFamilies, NextHop6: netip.MustParseAddr("2001:db8::1")}
		if err := a.UpdatePeer(c); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		b.has("2001:db8:1::/48", 1)
		if got := drain(t, a.events); len(got) != 1 || got[0].Kind != EventUnsendable || got[0].Err != nil {
			t.Errorf("%+v", got)
		}
		if st := mustPeer(t, a, addr2); st.Families[1].NoNextHop != 0 || st.Established != 1 {
			t.Errorf("%+v", st)
		}
	})
}

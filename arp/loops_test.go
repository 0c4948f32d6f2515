package arp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/pktest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

var errDown = errors.New("interface is down")

// start runs a loop inside a bubble and returns what ends it and gives its error.
func start(run func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return func() error { cancel(); return <-done }
}

func TestResponderLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Frame]()
		r := NewResponder(conn)
		if err := r.SetGuest(7, Guest{}); err == nil || conn.Has(7) {
			t.Errorf("a guest whose router has no Ethernet address: %v", err)
		}
		stop := start(r.Run)
		if err := r.SetGuest(7, Guest{Router: hostMAC}); err != nil || !conn.Has(7) {
			t.Fatal(err)
		}
		r.SetTarget(netip.PrefixFrom(vm3, 32), 0)
		ask := NewRequest(guestMAC, vm1, vm3).On(7)
		conn.Deliver(ask, NewRequest(guestMAC, vm1, vm4).On(7), ask)
		synctest.Wait()
		if sent := conn.Take(); len(sent) != 2 || sent[0] != ask.Answer(hostMAC).On(7) {
			t.Errorf("%v", sent)
		}
		// What is counted of a guest outlives a change of it, and ends with it. A claim of
		// another's address is one in a reply, too.
		claim := NewRequest(hostMAC, vm1, vm3).Answer(guestMAC).On(7)
		claim.Dst = Broadcast
		conn.Deliver(NewAnnouncement(guestMAC, vm3).On(7), claim, NewAnnouncement(guestMAC, vm3).On(8))
		synctest.Wait()
		if err := r.SetGuest(7, Guest{Router: hostMAC, Rate: 1, Burst: 1}); err != nil {
			t.Fatal(err)
		}
		conn.Deliver(ask, ask)
		synctest.Wait()
		conn.Take()
		if s, ok := r.GuestStats(7); !ok || s != (Stats{VerdictAnswered: 3, VerdictUnallocated: 1, VerdictSpoofed: 2, VerdictLimited: 1}) {
			t.Errorf("of the guest: %v", s)
		}
		_ = conn.SetReadDeadline(time.Now()) // somebody else's does no harm
		r.DeleteTarget(netip.PrefixFrom(vm3, 32))
		conn.Deliver(ask)
		synctest.Wait()
		r.RemoveGuest(7)
		conn.Deliver(ask)
		synctest.Wait()
		if _, ok := r.GuestStats(7); ok {
			t.Error("of a guest that is gone something is counted")
		}
		s := r.Stats()
		if s[VerdictAnswered] != 3 || s[VerdictUnallocated] != 2 || s[VerdictUnknownLink] != 2 || conn.Has(7) || len(conn.Take()) != 0 {
			t.Errorf("%v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := r.Run(t.Context()); err != ErrClosed {
			t.Errorf("a second Run: %v", err)
		}
		stop = start(NewResponder(conn).Run)
		synctest.Wait()
		conn.Close()
		synctest.Wait()
		if err := stop(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
}

// One guest's flood empties its own bucket only.
func TestRate(t *testing.T) {
	p := conformancePolicy(7, hostMAC)
	limited := Guest{MAC: guestMAC, Router: hostMAC, Rate: 10, Burst: 5}
	p.SetGuest(7, limited)
	p.SetGuest(8, Guest{Router: hostMAC})
	p.SetGuest(9, Guest{Router: hostMAC, Rate: -1})
	now := time.Unix(1000, 0)
	ask := func(link, times int) (n int) {
		f := NewRequest(guestMAC, ghost, vm3).On(link)
		for range times {
			if _, v := p.Decide(now, &f); v == VerdictAnswered {
				n++
			}
		}
		return n
	}
	if a, b, c := ask(7, 100), ask(8, 2000), ask(9, 2000); a != 5 || b != DefaultBurst || c != 2000 {
		t.Errorf("%d, %d, %d answers", a, b, c)
	}
	p.SetGuest(7, limited)
	now = now.Add(200 * time.Millisecond)
	if n := ask(7, 100); n != 2 {
		t.Errorf("%d answers after 200 ms at 10 a second", n)
	}
	f := NewRequest(guestMAC, vm4, vm3).On(9) // no addresses configured, but this one is somebody's
	if _, v := p.Decide(now, &f); v != VerdictSpoofed {
		t.Error(v)
	}
}

func TestPolicyNoAllocation(t *testing.T) {
	p := conformancePolicy(7, hostMAC)
	f := NewRequest(guestMAC, vm1, vm3).On(7)
	now := time.Unix(0, 0)
	if n := testing.AllocsPerRun(1000, func() { p.Decide(now, &f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAnnounceBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Frame]()
		begin := time.Now()
		if err := Announce(t.Context(), conn, 7, hostMAC, vm1, vm2); err != nil {
			t.Fatal(err)
		}
		sent := conn.Take()
		if len(sent) != 2*AnnounceCount || time.Since(begin) != (AnnounceCount-1)*AnnounceInterval || sent[1] != NewAnnouncement(hostMAC, vm2).On(7) {
			t.Errorf("%v in %v", sent, time.Since(begin))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Announce(ctx, conn, 7, hostMAC, vm1); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		conn.FailWrites(errDown)
		if err := Announce(t.Context(), conn, 7, hostMAC, vm1); !errors.Is(err, errDown) {
			t.Error(err)
		}
	})
}

func TestProbeLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Frame]()
		begin := time.Now()
		if err := Probe(t.Context(), conn, 7, guestMAC, vm1, ProbeTiming{}); err != nil {
			t.Fatal(err)
		}
		if n, d := len(conn.Take()), time.Since(begin); n != 3 || d < 4*time.Second || d > 7*time.Second {
			t.Errorf("%d probes in %v", n, d)
		}
		conn.Deliver(NewProbe(guestMAC, vm1).On(7), NewAnnouncement(otherMAC, vm1).On(8), NewAnnouncement(otherMAC, vm1).On(7))
		var conflict *ConflictError
		if err := Probe(t.Context(), conn, 7, guestMAC, vm1, ProbeTiming{}); !errors.As(err, &conflict) || conflict.MAC != otherMAC {
			t.Error(err)
		} else if conflict.Error() != "arp: 203.0.113.1 is in use by 02:00:00:00:00:99" {
			t.Error(conflict)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := Probe(ctx, conn, 7, guestMAC, vm1, ProbeTiming{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		conn.FailWrites(errDown)
		if err := Probe(t.Context(), conn, 7, guestMAC, vm1, ProbeTiming{}); !errors.Is(err, errDown) {
			t.Error(err)
		}
		conn.FailWrites(nil)
		conn.Close()
		if err := Probe(t.Context(), conn, 7, guestMAC, vm1, ProbeTiming{}); !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestWatcherLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Frame]()
		w := NewMonitor(conn, WatchConfig{Idle: 10 * time.Second})
		var events []string
		watcher := w.Watch()
		go func() {
			for e, err := range watcher.All(context.Background()) {
				if err == nil {
					events = append(events, e.String())
				}
			}
		}()
		stop := start(w.Run)
		for link := 1; link <= 2; link++ {
			if err := w.AddLink(link, hostMAC, gateway); err != nil || !conn.Has(link) {
				t.Fatal(err)
			}
		}
		conn.Deliver(NewRequest(guestMAC, vm1, vm3).On(1), NewRequest(otherMAC, vm2, vm3).On(2))
		time.Sleep(14 * time.Second)
		synctest.Wait()
		if n := len(conn.Take()); n != 6 {
			t.Errorf("%d questions", n)
		}
		conn.Deliver(NewRequest(guestMAC, vm1, vm3).On(1))
		synctest.Wait()
		w.RemoveLink(1)
		synctest.Wait()
		want := []string{
			"seen 203.0.113.1 50:54:33:00:00:07 on link 1", "seen 203.0.113.2 02:00:00:00:00:99 on link 2",
			"gone 203.0.113.1 50:54:33:00:00:07 on link 1", "gone 203.0.113.2 02:00:00:00:00:99 on link 2",
			"seen 203.0.113.1 50:54:33:00:00:07 on link 1", "gone 203.0.113.1 50:54:33:00:00:07 on link 1",
		}
		if strings.Join(events, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s", strings.Join(events, "\n"))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := w.Run(t.Context()); err != ErrClosed {
			t.Errorf("a second Run: %v", err)
		}
		if n, err := watcher.Next(t.Context(), make([]Event, 1)); n != 0 || err != ErrClosed {
			t.Errorf("after the end: %d, %v", n, err)
		}
		w = NewMonitor(conn, WatchConfig{})
		conn.Close()
		if err := w.Run(t.Context()); !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
}

// tracked drives a Tracker by text.
type tracked struct{ *Tracker }

func (m tracked) Advance(now time.Time) (out []string) {
	send, events := m.Tracker.Advance(now, nil, nil)
	for _, f := range send {
		out = append(out, "ask "+f.TargetIP.String()+" at "+f.Dst.String()+" on link "+strconv.Itoa(f.IfIndex))
	}
	return append(out, lines(events)...)
}

func lines(events []Event) (out []string) {
	for _, e := range events {
		out = append(out, e.String())
	}
	return out
}

func (m tracked) Do(now time.Time, words []string) ([]string, error) {
	if len(words) < 2 {
		return nil, nil
	}
	link, _ := strconv.Atoi(words[1])
	switch words[0] {
	case "link":
		ip, _ := netip.ParseAddr(words[2])
		m.AddLink(link, hostMAC, ip)
		return nil, nil
	case "unlink":
		return lines(m.RemoveLink(link)), nil
	case "seed":
		m.Seed(now, link, netip.MustParseAddr(words[2]))
		return nil, nil
	}
	f := NewRequest(MAC{2, 0, 0, 0, 0, words[2][0]}, netip.MustParseAddr(words[3]), vm3).On(link)
	switch words[0] {
	case "probes":
		f = NewProbe(f.SenderMAC, f.SenderIP.Addr()).On(link)
	case "forged":
		f.Src = otherMAC
	case "hears":
	default:
		return nil, fmt.Errorf("unknown input %q", words[0])
	}
	return lines(m.Observe(now, &f, nil)), nil
}

func TestTracker(t *testing.T) {
	scenario.Files(t, "testdata/tracker_*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, tracked{NewTracker(WatchConfig{PerLink: 3})})
	})
}

func TestEventText(t *testing.T) {
	e := Event{Kind: EventConflict, IP: vm1, IfIndex: 2, MAC: otherMAC, OldIfIndex: 1, OldMAC: guestMAC}
	if got := e.String(); got != "conflict 203.0.113.1 of 50:54:33:00:00:07 on link 1, claimed by 02:00:00:00:00:99 on link 2" {
		t.Error(got)
	}
	for v := range verdictCount {
		if strings.HasPrefix(v.String(), "Verdict(") {
			t.Errorf("verdict %d has no name", v)
		}
	}
	if Verdict(99).String() != "Verdict(99)" || Operation(7).String() != "Operation(7)" || OpRequest.String() != "request" || OpReply.String() != "reply" {
		t.Error("names")
	}
}

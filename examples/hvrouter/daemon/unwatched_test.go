package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// TestUnwatched: a session that is Established without its BFD, or waits for it, is an event after a minute, once, and
// once more if BFD was Up in between. One that is down for other reasons, or has no BFD, is none.
func TestUnwatched(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	waits := &bgp.BFDWait{Since: start.Add(-time.Hour)} // of the first attempt, which may be long ago
	for _, c := range []struct {
		name  string
		state func(second int) (bgp.PeerStatus, bfd.State) // each ten seconds
		want  string                                       // seconds of events
	}{
		{"never up", func(int) (bgp.PeerStatus, bfd.State) { return bgp.PeerStatus{State: bgp.Established}, bfd.StateDown }, "60 Established"},
		{"in time", func(n int) (bgp.PeerStatus, bfd.State) {
			return bgp.PeerStatus{State: bgp.Established}, map[bool]bfd.State{true: bfd.StateUp, false: bfd.StateDown}[n >= 50]
		}, ""},
		{"twice", func(n int) (bgp.PeerStatus, bfd.State) {
			return bgp.PeerStatus{State: bgp.Established}, map[bool]bfd.State{true: bfd.StateUp, false: bfd.StateInit}[n == 100]
		}, "60 Established, 170 Established"},
		{"AdminDown", func(int) (bgp.PeerStatus, bfd.State) {
			return bgp.PeerStatus{State: bgp.Established}, bfd.StateAdminDown
		}, ""},
		{"the path is dead", func(int) (bgp.PeerStatus, bfd.State) { return bgp.PeerStatus{State: bgp.Connect}, bfd.StateDown }, ""},
		{"strict, of which each second attempt waits", func(n int) (bgp.PeerStatus, bfd.State) {
			p := bgp.PeerStatus{State: bgp.Connect}
			if n%20 == 10 {
				p = bgp.PeerStatus{State: bgp.OpenSent, BFDWait: waits}
			}
			return p, bfd.StateDown
		}, "130 waits"},
		{"strict, all the time", func(int) (bgp.PeerStatus, bfd.State) {
			return bgp.PeerStatus{State: bgp.OpenSent, BFDWait: waits}, bfd.StateDown
		}, "60 waits"},
		{"Established again and again", func(n int) (bgp.PeerStatus, bfd.State) {
			return bgp.PeerStatus{State: map[bool]bgp.State{true: bgp.Connect, false: bgp.Established}[n%50 == 0]}, bfd.StateDown
		}, ""},
	} {
		var log strings.Builder
		u := newUnwatched(slog.New(slog.NewTextHandler(&log, nil)))
		r := config.Reflector{Interface: "a", Local: config.Addr{Addr: netip.MustParseAddr("192.0.2.1")}, Peer: config.Addr{Addr: netip.MustParseAddr("192.0.2.2")}}
		var got []string
		for n := 0; n < 200; n += 10 {
			log.Reset()
			peer, state := c.state(n)
			b := bfd.Status{State: state}
			b.Key = peering.BFDKey("", r)
			u.take([]sessions.Status{{Domains: "public", Reflector: r, Peer: peer}}, []bfd.Status{b}, start.Add(time.Duration(n)*time.Second))
			if line := log.String(); line != "" {
				word := "Established"
				if strings.Contains(line, `msg="BGP waits for BFD"`) {
					word = "waits"
				}
				got = append(got, fmt.Sprint(n, " ", word))
				for _, want := range []string{"level=WARN", "event=bfd-missing", "domain=public peer=192.0.2.2 interface=a", `why="nothing has come from there"`} {
					if !strings.Contains(line, want) {
						t.Errorf("%s: no %q in %s", c.name, want, line)
					}
				}
			}
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
	// A session without BFD, and one that is disabled.
	var log strings.Builder
	u := newUnwatched(slog.New(slog.NewTextHandler(&log, nil)))
	r := config.Reflector{Interface: "a", Peer: config.Addr{Addr: netip.MustParseAddr("192.0.2.2")}}
	b := bfd.Status{State: bfd.StateDown}
	b.Key = peering.BFDKey("", r)
	for n := range 3 {
		at := start.Add(time.Duration(n) * time.Hour)
		u.take([]sessions.Status{{Reflector: r, Peer: bgp.PeerStatus{State: bgp.Established}, Disabled: &sessions.Disabled{}}}, []bfd.Status{b}, at)
		u.take([]sessions.Status{{Reflector: r, Peer: bgp.PeerStatus{State: bgp.Established}}}, nil, at)
	}
	if log.Len() > 0 {
		t.Error(log.String())
	}
}

// TestUnwatchedLater: seconds of waiting hours after others are no event. Why BFD is not Up is never empty, and the
// namespace is named.
func TestUnwatchedLater(t *testing.T) {
	var log strings.Builder
	u := newUnwatched(slog.New(slog.NewTextHandler(&log, nil)))
	r := config.Reflector{Interface: "a", Peer: config.Addr{Addr: netip.MustParseAddr("192.0.2.2")}}
	b := bfd.Status{State: bfd.StateDown}
	b.Key = peering.BFDKey("red", r)
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	waits := &bgp.PeerStatus{State: bgp.OpenSent, BFDWait: &bgp.BFDWait{Since: now}}
	look := func(p *bgp.PeerStatus, looks int) string {
		log.Reset()
		for range looks {
			u.take([]sessions.Status{{NetNS: "red", Reflector: r, Peer: *p}}, []bfd.Status{b}, now)
			now = now.Add(unwatchedLook)
		}
		return log.String()
	}
	down := &bgp.PeerStatus{State: bgp.Connect}
	if got := look(waits, 5) + look(down, 2160) + look(waits, 6); got != "" {
		t.Errorf("after 50 seconds of waiting: %s", got)
	}
	begin := now.Add(-6 * unwatchedLook).Format("2006-01-02T15:04:05")
	for _, c := range []struct {
		state, remote bfd.State
		received      uint64
		reason        bfd.Reason
		want          string
	}{
		{bfd.StateDown, bfd.StateDown, 0, bfd.ReasonNone, "nothing has come from there"},
		{bfd.StateInit, bfd.StateDown, 5, bfd.ReasonNone, "the peer does not hear us"},
		{bfd.StateDown, bfd.StateUp, 5, bfd.ReasonNone, "the peer's state is Up"},
		{bfd.StateDown, bfd.StateDown, 5, bfd.ReasonExpired, "expired"},
	} {
		b.State, b.RemoteState, b.Received, b.Reason = c.state, c.remote, c.received, c.reason
		got := look(waits, 7)
		for _, want := range []string{"netns=red", "since=" + begin, "state=" + c.state.String(), c.want} {
			if !strings.Contains(got, want) || strings.Count(got, "bfd-missing") != 1 {
				t.Errorf("no %s in %q", want, got)
			}
		}
		b.State = bfd.StateUp
		look(waits, 1)
		begin = now.Format("2006-01-02T15:04:05")
	}
}

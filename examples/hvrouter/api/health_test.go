package api

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// sick is a daemon with some of everything.
type sick struct {
	*backend
	sessions []Session
	bfds     []BFD
	status   Status
	guests   []Guest
	drained  bool
}

func (s *sick) Sessions() []Session { return s.sessions }
func (s *sick) BFD() ([]BFD, error) {
	if s.backend != nil {
		return nil, s.fail
	}
	return s.bfds, nil
}
func (s *sick) Status() Status     { return s.status }
func (s *sick) Guests() []Guest    { return s.guests }
func (s *sick) DrainStatus() Drain { return Drain{Drained: s.drained, Since: time.Unix(0, 0)} }

// A BFD session is found by the name of the BGP session with its peer.
func TestBFDByName(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	s := &sick{sessions: []Session{{Name: "rr1", Peer: a}, {Name: "rr2", Peer: b}}, bfds: []BFD{{Peer: a}, {Peer: b}}}
	for word, want := range map[string]netip.Addr{"rr1": a, "192.0.2.2": b} {
		got, err := bfdList(s, httptest.NewRequest("GET", "/v1/bfd?peer="+word, nil))
		if list, ok := got.([]BFD); err != nil || !ok || len(list) != 1 || list[0].Peer != want {
			t.Errorf("%s: %v, %v", word, got, err)
		}
	}
}

// A session that waits for BFD says so, and not what ended its last connection.
func TestHealthWaits(t *testing.T) {
	s := Session{Domain: "public", Fabric: "B", Peer: netip.MustParseAddr("192.0.2.2"), State: "OpenSent", Error: "EOF", BFD: "Down", BFDWait: time.Unix(0, 0).UTC()}
	held := s
	held.BFD, held.BFDHeldDown = "Up", time.Unix(70, 0).UTC()
	for want, one := range map[string]Session{
		"domain public, peer 192.0.2.2 (B): waits for BFD since 1970-01-01T00:00:00Z, which is Down":                             s,
		"domain public, peer 192.0.2.2 (B): waits for BFD since 1970-01-01T00:00:00Z, which is Up and to stay so until 00:01:10": held,
	} {
		h := HealthOf(&sick{sessions: []Session{one}, status: Status{Converged: true}})
		if len(h.Reasons) != 2 || h.Reasons[1] != (Reason{Degraded, "session-down", want}) {
			t.Errorf("%+v, want %s", h.Reasons, want)
		}
	}
}

// An address that cannot be listened at is one reason, whatever the number of its peers, also while sessions
// are up that we dial.
func TestHealthListen(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	taken := Session{Domain: "public", Fabric: "A", Peer: a, State: "Established", ListenError: "cannot listen at 192.0.2.9:179: bind: address already in use", ListenErrorSince: time.Unix(9, 0).UTC()}
	for want, more := range map[string]func(*Session){
		"cannot listen at 192.0.2.9:179: bind: address already in use, since 1970-01-01T00:00:09Z: 192.0.2.1 and 1 more cannot connect to us; `ss -ltnp` names the program that has the port":                              func(*Session) {},
		"netns red: cannot listen at 192.0.2.9:179: bind: address already in use, since 1970-01-01T00:00:09Z: 192.0.2.1 and 1 more cannot connect to us; `ip netns exec red ss -ltnp` names the program that has the port": func(s *Session) { s.NetNS = "red" },
		"cannot listen at [fe80::1%a]:179: no such device, since 1970-01-01T00:00:09Z: 192.0.2.1 and 1 more cannot connect to us":                                                                                          func(s *Session) { s.ListenError = "cannot listen at [fe80::1%a]:179: no such device" },
		"": func(s *Session) { s.Disabled = time.Unix(1, 0) },
	} {
		one := taken
		more(&one)
		two := one
		two.Peer = b
		h := HealthOf(&sick{sessions: []Session{one, two}, status: Status{Converged: true}})
		h.Reasons = slices.DeleteFunc(h.Reasons, func(r Reason) bool { return r.Kind == "disabled" })
		if want == "" && len(h.Reasons) != 0 || want != "" && (len(h.Reasons) != 1 || h.Reasons[0] != (Reason{Degraded, "listen", want})) {
			t.Errorf("%+v, want %s", h.Reasons, want)
		}
	}
}

// However much others have, a few of each kind are named, and the others counted.
func TestHealthForeign(t *testing.T) {
	s := Status{Converged: true}
	for i := range 100 {
		s.Foreign = append(s.Foreign, Foreign{Kind: "route", What: fmt.Sprint(i), Why: "WHY"}, Foreign{NetNS: "red", Kind: "route", What: "r", Why: "WHY", Unsure: i < 98})
	}
	h := HealthOf(&sick{status: s})
	var got []string
	for _, r := range h.Reasons {
		got = append(got, r.Level+" "+r.Text)
	}
	want := []string{"degraded foreign route 0: WHY", "degraded foreign route 1: WHY", "degraded foreign route 2: WHY", "degraded foreign route 3: WHY", "degraded foreign route 4: WHY",
		"degraded foreign netns red: route r: WHY", "degraded foreign netns red: route r: WHY", "degraded foreign route and 95 more: `hvrouter show events -event foreign` names them"}
	if !slices.Equal(got[:min(len(want), len(got))], want) || len(got) != len(want)+mostForeign+1 || got[len(got)-1] != "note foreign netns red: route and 93 more: `hvrouter show events -event foreign` names them" {
		t.Errorf("%q", got)
	}
}

// A session that is down has what BFD knows of the path, which is why BGP was ended, and then its own error.
func TestHealthSaysBFD(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.2")
	s := Session{Domain: "public", Fabric: "B", Interface: "b.public", Peer: peer, State: "Connect", Error: "Connect: no answer"}
	for want, bfds := range map[string][]BFD{
		"domain public, peer 192.0.2.2 (B): Connect, last error: Connect: no answer; BFD is Up, so the path is there: look for MD5 keys that differ, TTL security on one end only, and filters of TCP": {{Peer: peer, Interface: "b.public", State: "Up"}},
		"domain public, peer 192.0.2.2 (B): Connect, BFD is Down since 00:00:09 (expired), last error: Connect: no answer":                                                                             {{Peer: peer, Interface: "b.public", State: "Down", Since: time.Unix(9, 0).UTC(), LastDownReason: "expired"}},
		"domain public, peer 192.0.2.2 (B): Connect, last error: Connect: no answer": {{Peer: peer, Interface: "a.public", State: "Down", LastDownReason: "expired"},
			{Peer: peer, Interface: "b.public", State: "Down"}}, // never up
	} {
		one := s
		if bfds[0].State == "Up" {
			one.BFD = "Up"
		}
		h := HealthOf(&sick{sessions: []Session{one}, bfds: bfds, status: Status{Converged: true}})
		if len(h.Reasons) != 2 || h.Reasons[1] != (Reason{Degraded, "session-down", want}) {
			t.Errorf("%+v, want %s", h.Reasons, want)
		}
	}
}

// A session that BFD does not watch says since when, why, and where to look. BFD with the same address on
// another interface or in another namespace is not its own.
func TestHealthUnwatched(t *testing.T) {
	peer, since := netip.MustParseAddr("fe80::1"), time.Unix(9, 0).UTC()
	s := Session{Domain: "public", Fabric: "B", NetNS: "red", Interface: "b.public", Peer: peer, State: "Established", BFD: "Down"}
	const late = ", and BGP is Established: if the path fails, BGP's hold time alone notices"
	for _, c := range []struct {
		bfd  BFD
		want string
	}{
		{BFD{NetNS: "red", Interface: "b.public", Peer: peer, State: "Down", Since: since}, "BFD with fe80::1 on b.public is Down since 1970-01-01T00:00:09Z, and nothing has come from there (is BFD on at the peer, does its UDP get through?)" + late},
		{BFD{NetNS: "red", Interface: "b.public", Peer: peer, State: "Down", Since: since, Reason: "expired", Received: 7}, "BFD with fe80::1 on b.public is Down since 1970-01-01T00:00:09Z (expired)" + late},
		{BFD{NetNS: "red", Interface: "b.public", Peer: peer, State: "Init", Since: since, Received: 7}, "BFD with fe80::1 on b.public is Init since 1970-01-01T00:00:09Z" + late},
		{BFD{NetNS: "red", Interface: "a.public", Peer: peer, State: "Down", Since: since}, ""},
		{BFD{Interface: "b.public", Peer: peer, State: "Down", Since: since}, ""},
		{BFD{NetNS: "red", Interface: "b.public", Peer: peer, State: "Up", Since: since}, ""},
	} {
		var want []Reason
		if c.want != "" {
			want = []Reason{{Degraded, "bfd-down", c.want}}
		}
		if h := HealthOf(&sick{sessions: []Session{s}, bfds: []BFD{c.bfd}, status: Status{Converged: true}}); !slices.Equal(h.Reasons, want) {
			t.Errorf("%+v: %+v, want %+v", c.bfd, h.Reasons, want)
		}
	}
}

// A file that was refused says what the next start does, and the commands that lead on.
func TestHealthRefusedFile(t *testing.T) {
	for want, f := range map[string]RefusedFile{
		"/etc/hv.yaml was refused at 00:00:09 (2:5: none: want a number), and the next start, of the daemon or of the host, fails: `hvrouter check -syntax -config /etc/hv.yaml`, and once the file is right `hvrouter reload`":                                        {time.Unix(9, 0).UTC(), "2:5: none: want a number", true},
		"/etc/hv.yaml was refused at 00:00:09 (as has changed: that needs a restart), and the next start, of the daemon or of the host, runs with that file, and not with what counts now: `hvrouter diff /etc/hv.yaml`, and once the file is right `hvrouter reload`": {time.Unix(9, 0).UTC(), "as has changed: that needs a restart", false},
	} {
		h := HealthOf(&sick{status: Status{Converged: true, Config: "/etc/hv.yaml", RefusedFile: &f}})
		if len(h.Reasons) != 1 || h.Reasons[0] != (Reason{Degraded, "reload-refused", want}) {
			t.Errorf("%+v, want %s", h.Reasons, want)
		}
	}
}

func TestHealth(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	up := func(p netip.Addr) Session {
		return Session{Domain: "public", Fabric: "A", Peer: p, State: "Established"}
	}
	down := func(p netip.Addr) Session {
		return Session{Domain: "public", Fabric: "B", Peer: p, State: "Active", Error: "no answer"}
	}
	fine := Status{Converged: true, Namespaces: map[string]string{"red": "fine"}, NotAnnounced: map[string]int{"public": 0}}
	with := func(f func(*Status)) Status { s := fine; f(&s); return s }
	for _, c := range []struct {
		name string
		sick sick
		want string // state, then level and kind of each reason
	}{
		{"fine", sick{sessions: []Session{up(a), up(b)}, status: fine}, "healthy"},
		{"one fabric down", sick{sessions: []Session{up(a), down(b)}, status: fine}, "degraded degraded:session-down"},
		{"both fabrics down", sick{sessions: []Session{down(a), down(b)}, status: fine}, "broken broken:no-session degraded:session-down degraded:session-down"},
		{"two domains of which one has none", sick{sessions: []Session{up(a), {Domain: "private", Peer: b, State: "Idle"}}, status: fine}, "broken broken:no-session degraded:session-down"},
		{"domains that share a session", sick{sessions: []Session{{Domain: "public,private", Peer: b, State: "Idle"}}, status: fine}, "broken broken:no-session broken:no-session degraded:session-down"},
		{"disabled by command", sick{sessions: []Session{up(a), {Domain: "public", Peer: b, State: "Disabled", Disabled: time.Unix(0, 0)}}, status: fine}, "healthy note:disabled"},
		{"kept out", sick{sessions: []Session{up(a), {Domain: "public", Peer: b, State: "Idle", RefusedUntil: time.Unix(9, 0)}}, status: fine}, "degraded degraded:prefix-limit"},
		{"near the limit", sick{sessions: []Session{{Domain: "public", Peer: b, State: "Established", Families: []FamilyRoutes{{Limit: "near"}, {Limit: "within"}}}}, status: fine}, "degraded degraded:prefix-limit"},
		{"BFD down under BGP", sick{sessions: []Session{up(a)}, bfds: []BFD{{Peer: a, State: "Down"}, {Peer: b, State: "Down"}}, status: fine}, "degraded degraded:bfd-down"},
		{"no BFD process", sick{backend: &backend{fail: ErrNotFound}, sessions: []Session{up(a)}, status: fine}, "degraded degraded:bfd-process"},
		{"no neighbour", sick{sessions: []Session{up(a)}, status: with(func(s *Status) {
			s.NoNeighbor = []NoNeighbor{{Interface: "a"}, {Interface: "b", Carrier: true}, {Interface: "eth1", Pattern: true, Carrier: true}, {Interface: "eth2", Pattern: true}}
		})}, "degraded degraded:no-neighbour degraded:no-neighbour note:no-neighbour"},
		{"starting", sick{status: Status{}}, "degraded degraded:not-converged"},
		{"the kernel lost a route", sick{status: with(func(s *Status) { s.NotAnnounced = map[string]int{"public": 2} })}, "broken broken:not-announced"},
		{"the kernel refuses a route", sick{status: with(func(s *Status) { s.RoutesFailed = 1 })}, "broken broken:route-failed"},
		{"no firewall", sick{status: with(func(s *Status) { s.FirewallErrors = []string{"no"} })}, "broken broken:firewall"},
		{"no overlay", sick{status: with(func(s *Status) { s.OverlayErrors = []string{"vx100: create device vx100: file exists"} })}, "broken broken:overlay"},
		{"foreign", sick{status: with(func(s *Status) { s.Foreign = []Foreign{{Kind: "rule"}, {Kind: "chain", Unsure: true}} })}, "degraded degraded:foreign note:foreign"},
		{"contended", sick{status: with(func(s *Status) { s.ContendedNow = []string{"rule 99"} })}, "degraded degraded:contended"},
		{"a namespace lost its name", sick{status: with(func(s *Status) { s.Namespaces = map[string]string{"red": "gone"} })}, "degraded degraded:namespace"},
		{"the disk", sick{status: with(func(s *Status) { s.EventsError, s.Unread = "full", []string{"the state file"} })}, "degraded degraded:inventory degraded:events-unwritten"},
		{"one MAC twice", sick{status: with(func(s *Status) {
			s.EVPN = []EVPNStatus{{Overlay: "vx100", Duplicates: []string{"vm1, 02:00:00:00:00:01"}}, {Overlay: "vx200"}}
		})}, "degraded degraded:duplicate-mac"},
		{"a MAC that moves too often", sick{status: with(func(s *Status) {
			s.EVPN = []EVPNStatus{{Overlay: "vx100", Frozen: []string{"vm1, 02:00:00:00:00:01"}}}
		})}, "degraded degraded:frozen-mac"},
		{"waits", sick{status: with(func(s *Status) { s.Confirmation = &Confirmation{} }), drained: true}, "healthy note:reload-pending note:drained"},
		{"a guest", sick{status: fine, guests: []Guest{{Guest: config.Guest{Name: "vm1"}, Refused: "its address is taken"}}}, "degraded degraded:guest-refused"},
	} {
		h := HealthOf(&c.sick)
		words := []string{h.State}
		for _, r := range h.Reasons {
			words = append(words, r.Level+":"+r.Kind)
			if r.Text == "" || strings.Contains(r.Text, "%!") {
				t.Errorf("%s: %q", c.name, r.Text)
			}
		}
		if got := strings.Join(words, " "); got != c.want || h.Number() != map[string]int{Healthy: 0, Degraded: 1, Broken: 2}[h.State] {
			t.Errorf("%s: %s (%d), want %s", c.name, got, h.Number(), c.want)
		}
	}
}

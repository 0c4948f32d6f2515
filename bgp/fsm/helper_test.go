package bgp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// helperScenario plays scenarios for the helper's side of graceful restart. The inputs
// are
//
//	config [enabled] [longlived=20s] [stale=300s]
//	peer families=ipv4,ipv6 [gr=ipv4+,ipv6] [time=120s] [ll=ipv4+] [lltime=60s] [n]
//	lost [hard] | up | eor FAMILY | forget
//
// In gr and ll a plus sign is the F bit. A lost session is one that graceful
// restart covers unless the line says "lost hard".
type helperScenario struct {
	h   helper
	neg Negotiated
}

func TestHelperScenarios(t *testing.T) {
	scenario.Files(t, "testdata/helper/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, &helperScenario{h: helper{cfg: GracefulRestart{Enabled: true}.withDefaults()}})
	})
}

// Deadline implements scenario.Clock.
func (w *helperScenario) Deadline() time.Time { return w.h.next() }

// Advance implements scenario.Clock.
func (w *helperScenario) Advance(now time.Time) []string {
	before := w.h.phase
	w.h.advance(now)
	return w.result(before)
}

// Do implements scenario.Machine.
func (w *helperScenario) Do(now time.Time, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	before := w.h.phase
	switch words[0] {
	case "config":
		return nil, w.config(words[1:])
	case "peer":
		return nil, w.peer(words[1:])
	case "lost":
		w.h.lost(now, &w.neg, len(words) == 1)
	case "up":
		w.h.up(now, &w.neg)
	case "eor":
		w.h.endOfRIB(familyNamed(words[1]))
	case "forget":
		w.h.forget()
	default:
		return nil, fmt.Errorf("unknown %q", words)
	}
	return w.result(before), nil
}

func (w *helperScenario) result(before RestartStatus) []string {
	var parts []string
	for _, s := range w.h.steps() {
		parts = append(parts, fmt.Sprintf("%v %v", s.action, s.family))
	}
	if w.h.phase != before {
		parts = append(parts, w.h.phase.String())
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{"-> " + strings.Join(parts, ", ")}
}

func familyNamed(s string) wire.Family {
	if strings.HasPrefix(s, "ipv6") {
		return wire.IPv6Unicast
	}
	return wire.IPv4Unicast
}

func (w *helperScenario) config(words []string) (err error) {
	g := GracefulRestart{}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "enabled":
			g.Enabled = true
		case "longlived":
			g.LongLivedTime, err = time.ParseDuration(value)
		case "stale":
			g.StaleTime, err = time.ParseDuration(value)
		}
		if err != nil {
			return err
		}
	}
	w.h.cfg = g.withDefaults()
	return nil
}

func (w *helperScenario) peer(words []string) error {
	w.neg = Negotiated{}
	gr := &wire.GracefulRestart{Time: 120 * time.Second}
	llTime := time.Duration(0)
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		d, _ := time.ParseDuration(value)
		switch key {
		case "families":
			for _, f := range strings.Split(value, ",") {
				w.neg.Families = w.neg.Families.With(familyNamed(f))
			}
		case "gr":
			w.neg.GracefulRestart, w.neg.Remote.GracefulRestart = true, gr
			for _, f := range strings.Split(value, ",") {
				gr.Families = append(gr.Families, wire.RestartFamily{Family: familyNamed(f), ForwardingPreserved: strings.HasSuffix(f, "+")})
			}
		case "time":
			gr.Time = d
		case "lltime":
			llTime = d
		case "ll":
			for _, f := range strings.Split(value, ",") {
				w.neg.Remote.LongLived = append(w.neg.Remote.LongLived, wire.LongLived{Family: familyNamed(f), ForwardingPreserved: strings.HasSuffix(f, "+")})
			}
		}
	}
	for i := range w.neg.Remote.LongLived {
		w.neg.Remote.LongLived[i].StaleTime = llTime
	}
	return nil
}

// TestRetains is the table of RFC 8538, Section 4, over RFC 4724.
func TestRetains(t *testing.T) {
	reset := wire.Notification{Code: wire.CodeCease, Subcode: wire.SubReset}
	for _, c := range []struct {
		gr, n bool
		cause eventKind
		notif wire.Notification
		want  bool
	}{
		{false, false, evConnFails, wire.Notification{}, false},
		{true, false, evConnFails, wire.Notification{}, true},
		{true, false, evCollisionDump, wire.Notification{}, true},
		{true, false, evHoldExpires, wire.Notification{}, false},
		{true, false, evNotif, reset, false},
		{true, true, evNotif, reset, true},
		{true, true, evNotif, wire.HardReset(reset), false},
		{true, true, evHoldExpires, wire.Notification{}, true},
		{true, true, evSendHoldExpires, wire.Notification{}, true},
		{true, true, evUpdateErr, wire.Notification{}, true},
	} {
		if got := retains(&Negotiated{GracefulRestart: c.gr, Notification: c.n}, c.cause, c.notif); got != c.want {
			t.Errorf("gr %v, n %v, %v, %v: %v", c.gr, c.n, c.cause, c.notif, got)
		}
	}
}

// startupScenario plays scenarios for the restarting speaker. The inputs are
//
//	config [deferral=120s] [establish=5s] [ranges]
//	add N | remove N | up N [restarting|incapable] | down N [dead] | eor N FAMILY
type startupScenario struct {
	s    *startup
	done bool
	now  time.Time
}

func TestStartupScenarios(t *testing.T) {
	scenario.Files(t, "testdata/startup/*.txt", func(_ *testing.T, text string) (string, error) {
		g := GracefulRestart{Enabled: true, Restarting: true}.withDefaults()
		return scenario.Play(text, &startupScenario{s: newStartup(g, scenario.Epoch), now: scenario.Epoch})
	})
}

// Deadline implements scenario.Clock.
func (w *startupScenario) Deadline() time.Time {
	// The owner sleeps from each deadline to the next: next wants the time.
	if w.done {
		return time.Time{}
	}
	return w.s.next(w.now)
}

// Advance implements scenario.Clock.
func (w *startupScenario) Advance(now time.Time) []string {
	w.now = now
	return w.result(now)
}

// Do implements scenario.Machine.
func (w *startupScenario) Do(now time.Time, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	if words[0] == "config" {
		return nil, w.config(words[1:])
	}
	w.now = now
	key := PeerKey{}
	if len(words) > 1 {
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return nil, err
		}
		key.Addr = netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})
	}
	switch words[0] {
	case "add":
		w.s.added(key)
	case "remove":
		w.s.removed(key)
	case "up":
		n := &Negotiated{Families: wire.Families(bothFamilies...)}
		if len(words) < 3 || words[2] != "incapable" {
			n.Remote.GracefulRestart = &wire.GracefulRestart{Restarting: len(words) > 2}
		}
		w.s.up(key, n)
	case "down":
		w.s.down(key, len(words) > 2)
	case "eor":
		w.s.endOfRIB(key, familyNamed(words[2]))
	default:
		return nil, fmt.Errorf("unknown %q", words)
	}
	return w.result(now), nil
}

func (w *startupScenario) result(now time.Time) []string {
	was := w.done
	w.done = w.s.done(now)
	if w.done && !was {
		return []string{"-> converge"}
	}
	return nil
}

func (w *startupScenario) config(words []string) (err error) {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "deferral":
			w.s.cfg.DeferralTime, err = time.ParseDuration(value)
		case "establish":
			w.s.cfg.EstablishTime, err = time.ParseDuration(value)
		case "ranges":
			w.s.ranges = true
		}
	}
	return err
}

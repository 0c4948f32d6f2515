package fsm

import (
	"fmt"
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
//	lost [hard] | up | eor FAMILY | drop
//
// In gr and ll a plus sign is the F bit. A lost session is one that graceful
// restart covers unless the line says "lost hard".
type helperScenario struct {
	h   Helper
	neg Negotiated
}

var helperDefaults = HelperConfig{Enabled: true, StaleTime: 300 * time.Second}

func TestHelperScenarios(t *testing.T) {
	scenario.Files(t, "testdata/helper/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, &helperScenario{h: Helper{cfg: helperDefaults}})
	})
}

// Deadline implements scenario.Clock.
func (w *helperScenario) Deadline() time.Time { return w.h.Deadline() }

// Advance implements scenario.Clock.
func (w *helperScenario) Advance(now time.Time) []string {
	before := w.h.Phase()
	w.h.Advance(now)
	return w.result(before)
}

// Do implements scenario.Machine.
func (w *helperScenario) Do(now time.Time, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	before := w.h.Phase()
	switch words[0] {
	case "config":
		return nil, w.config(words[1:])
	case "peer":
		return nil, w.peer(words[1:])
	case "lost":
		w.h.Lost(now, &w.neg, len(words) == 1)
	case "up":
		w.h.Up(now, &w.neg)
	case "eor":
		w.h.EndOfRIB(familyNamed(words[1]))
	case "drop":
		w.h.DropStale()
	default:
		return nil, fmt.Errorf("unknown %q", words)
	}
	return w.result(before), nil
}

func (w *helperScenario) result(before RestartStatus) []string {
	var parts []string
	for _, s := range w.h.Effects() {
		parts = append(parts, fmt.Sprintf("%v %v", s.Action, s.Family))
	}
	if w.h.Phase() != before {
		parts = append(parts, w.h.Phase().String())
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{"-> " + strings.Join(parts, ", ")}
}

func familyNamed(s string) wire.Family {
	switch {
	case strings.HasPrefix(s, "ipv6"):
		return wire.IPv6Unicast
	case strings.HasPrefix(s, "evpn"):
		return wire.L2VPNEVPN
	}
	return wire.IPv4Unicast
}

func (w *helperScenario) config(words []string) (err error) {
	c := HelperConfig{StaleTime: helperDefaults.StaleTime}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "enabled":
			c.Enabled = true
		case "longlived":
			c.LongLivedTime, err = time.ParseDuration(value)
		case "stale":
			c.StaleTime, err = time.ParseDuration(value)
		}
		if err != nil {
			return err
		}
	}
	w.h.Configure(c)
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

// TestRetains is the table of RFC 8538, Section 4, over RFC 4724, Section 4.2.
func TestRetains(t *testing.T) {
	reset := wire.Notification{Code: wire.CodeCease, Subcode: wire.SubReset}
	for _, c := range []struct {
		gr, n bool
		cause EventKind
		notif wire.Notification
		want  bool
	}{
		{false, false, EventConnFails, wire.Notification{}, false},
		{true, false, EventConnFails, wire.Notification{}, true},
		{true, false, EventCollisionDump, wire.Notification{}, true},
		{true, false, EventHoldExpires, wire.Notification{}, false},
		{true, false, EventNotification, reset, false},
		{true, true, EventNotification, reset, true},
		{true, true, EventNotification, wire.HardReset(reset), false},
		{true, true, EventHoldExpires, wire.Notification{}, true},
		{true, true, EventSendHoldExpires, wire.Notification{}, true},
		{true, true, EventUpdateError, wire.Notification{}, true},
	} {
		if got := (&Negotiated{GracefulRestart: c.gr, Notification: c.n}).Retains(c.cause, c.notif); got != c.want {
			t.Errorf("gr %v, n %v, %v, %v: %v", c.gr, c.n, c.cause, c.notif, got)
		}
	}
}

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// session: what is shown of a session is what BIRD has; one that is reset comes back, one that is
// disabled does not, over kill -9, until it is enabled.
func (h *host) session(t *testing.T) {
	state := func(of string) (s api.Session) {
		var all []api.Session
		if err := api.NewClient(h.path("api.sock")).Get(t.Context(), "/v1/sessions", &all, "peer", of); err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0]
	}
	const a, b = "198.51.100.126", "198.51.100.226"
	s := state(a)
	if f := s.Families; len(f) != 1 || f[0].Received == 0 || f[0].Advertised == 0 || s.Received == nil || s.Received.Update == 0 || s.HoldTime != "1m30s" || s.RouterID != a {
		t.Errorf("session: %+v", s)
	}
	if text := strings.Join(s.Capabilities, ", "); !strings.Contains(text, "families ipv4") || !strings.Contains(text, "add-path-receive ipv4") || !strings.Contains(text, "graceful-restart ") {
		t.Errorf("capabilities: %s", text)
	}
	if out := h.cli("show", "routes", "advertised", a); !strings.Contains(out, "203.0.113.1/32") || strings.Contains(out, "203.0.113.3/32") {
		t.Errorf("advertised: %s", out)
	}
	if out := h.cli("show", "routes", "for", "203.0.113.3", "received", a); !strings.Contains(out, "203.0.113.3/32  198.51.100.102") || strings.Contains(out, "203.0.113.4") {
		t.Errorf("received: %s", out)
	}
	// BIRD reflects to one session what it has from the other.
	if out := h.cli("show", "routes", "for", "203.0.113.1", "received", a); !strings.Contains(out, "203.0.113.1/32  198.51.100.") || !strings.Contains(out, "refused: originator loop") {
		t.Errorf("refused: %s", out)
	}
	h.refused("not found", "show", "routes", "received", "192.0.2.1")
	h.refused("not found", "session", "disable", "192.0.2.1")
	// BIRD ends its BFD session with the BGP session, and begins another: that ends no session.
	ended := func() int { return strings.Count(h.log("hv.log"), "sent Cease/BFD Down") }
	before := ended()
	for range 4 {
		ups := state(a).Ups
		h.cli("session", "reset", a, "-text", "a new cable")
		h.wait("the session being back", func() bool { s := state(a); return s.State == "Established" && s.BFD == "Up" && s.Ups > ups })
	}
	if n := ended() - before; n != 0 {
		t.Errorf("BFD ended the session %d times after a reset", n)
	}
	if s := state(a); s.LastSent == "" || s.LastSentAt.IsZero() || s.Error == "" || s.ErrorAt.IsZero() {
		t.Errorf("after the reset: %+v", s)
	}
	h.cli("session", "disable", a, "-text", "reflector is replaced")
	for _, when := range []string{"disabled", "disabled, after kill -9"} {
		h.wait(when, func() bool {
			s := state(a)
			return s.State == "Disabled" && s.DisabledText == "reflector is replaced" && state(b).State == "Established" && h.reflected("203.0.113.1") == 1
		})
		h.kill(syscall.SIGKILL)
		h.run()
		h.wait("an answer", func() bool { var st api.Status; return h.ask("/v1/status", &st) == nil })
	}
	if !strings.Contains(h.log("bird.log"), "reflector is replaced") {
		t.Error("BIRD was not told why")
	}
	h.wait("convergence without it", func() bool { var st api.Status; return h.ask("/v1/status", &st) == nil && st.Converged })
	h.cli("session", "enable", a)
	h.up()
	h.wait("both paths at BIRD", func() bool { return h.reflected("203.0.113.1") == 2 })
}

// log returns what a program has logged.
func (h *host) log(name string) string {
	text, _ := os.ReadFile(h.path(name))
	return string(text)
}

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest/keys"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

var (
	reloads    = flag.Int("reloads", 12, "how many valid and how many bad reloads TestReloadRandom makes")
	reloadSeed = flag.Uint64("reload-seed", 1, "which ones")
)

// TestReloadRandom: while packets stream through a guest, valid reloads lose none of them, whatever
// they change that is not the stream's, and bad or harmful ones change nothing: not in the kernel,
// not of the sessions.
func TestReloadRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and half a minute")
	}
	h := newHost(t)
	for _, name := range []string{"spare", "more", "port1", "vm2"} {
		h.hv.IP("link add name " + name + " type bridge")
	}
	h.hv.IP("addr add 2001:db8::1/64 dev a.public nodad")
	h.up()
	// The keys of guests are those of the first, which is not the stream's.
	base := strings.Replace(matrixBases[""](hvConfig), "guests:\n", "guests:\n  - {name: vm2, mac: \"50:54:33:00:00:02\", ipv4: [203.0.113.2]}\n", 1)
	h.write("hv.yaml", base)
	h.cli("reload")
	h.guest()
	h.far()
	s := h.stream()
	r := rand.New(rand.NewPCG(*reloadSeed, 0))
	harmless, harmful := reloadKeys()
	text, valid, refused := base, 0, 0
	for valid < *reloads || refused < *reloads {
		if valid < *reloads && (refused >= *reloads || r.IntN(2) == 0) {
			next, names := combined(base, harmless, r)
			if !parses(h, next) {
				continue // keys that do not go together
			}
			h.write("hv.yaml", next)
			out, err := h.command("reload", "-api", h.path("api.sock")).CombinedOutput()
			if err != nil {
				t.Fatalf("seed %d: reload %d, %s: %s", *reloadSeed, valid, names, out)
			}
			text = next
			valid++
			h.settled()
			continue
		}
		bad, what := spoiled(h, text, harmful, r)
		h.write("hv.yaml", bad)
		before, since := h.kernel().String(), h.since()
		out, err := h.command("reload", "-api", h.path("api.sock")).CombinedOutput()
		if err == nil {
			t.Fatalf("seed %d: %s was not refused: %s\n%s", *reloadSeed, what, out, bad)
		}
		if now := h.kernel().String(); now != before {
			t.Errorf("seed %d: %s was refused, and changed the kernel:\n%s", *reloadSeed, what, lineDiff(before, now))
		}
		if now := h.since(); now != since {
			t.Errorf("seed %d: %s was refused, and sessions are\n%s, were\n%s", *reloadSeed, what, now, since)
		}
		refused++
	}
	sent, lost := s.stop()
	if lost > 0 {
		t.Errorf("seed %d: %d of %d packets lost", *reloadSeed, lost, sent)
	}
	t.Logf("%d valid and %d bad reloads, %d packets, %d lost", valid, refused, sent, lost)
}

// reloadKeys returns the keys that a stream does not depend on, and those whose change is refused.
func reloadKeys() (harmless, harmful []keys.Key) {
	// Guests cannot know that their gateway has become another one, a key that the reflector does
	// not have ends a session, and what these lists lose when they are as before is refused.
	streams := []string{"edge.gateway4", "edge.mac", "bgp.md5", "bgp.md5-file", "domains[].interfaces", "local-out.domains"}
	for _, k := range keys.All {
		switch {
		case k.Base != "" || slices.Contains(streams, k.Path):
		case k.Effect == keys.InPlace || k.Effect == keys.Fabrics:
			harmless = append(harmless, k)
		case k.Effect == keys.Restart || k.Effect == keys.Force:
			harmful = append(harmful, k)
		}
	}
	return harmless, harmful
}

// combined changes some keys at once.
func combined(text string, all []keys.Key, r *rand.Rand) (string, []string) {
	var file map[string]any
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		panic(err)
	}
	var names []string
	for range 1 + r.IntN(4) {
		k := all[r.IntN(len(all))]
		if k.Effect == keys.Fabrics && r.IntN(4) > 0 {
			continue // it takes seconds
		}
		names = append(names, k.Path)
		for _, w := range append([]string{k.Path + "=" + k.Example}, k.With...) {
			path, value, _ := strings.Cut(w, "=")
			if err := setKey(file, path, value); err != nil {
				panic(err)
			}
		}
	}
	b, err := json.Marshal(file)
	if err != nil {
		panic(err)
	}
	return string(b), names
}

func parses(h *host, text string) bool {
	_, err := config.Parse("hv.yaml", []byte(strings.ReplaceAll(text, "DIR", h.dir)), nil)
	return err == nil
}

// spoiled makes a configuration that is to be refused of one that is not.
func spoiled(h *host, text string, harmful []keys.Key, r *rand.Rand) (string, string) {
	for {
		switch r.IntN(4) {
		case 0: // octets
			b := []byte(text)
			for range 1 + r.IntN(3) {
				b[r.IntN(len(b))] = byte(r.IntN(256))
			}
			if !parses(h, string(b)) {
				return string(b), "a file with other octets"
			}
		case 1: // the end is missing
			if b := text[:r.IntN(len(text))]; !parses(h, b) {
				return b, "a file that is cut"
			}
		case 2:
			k := harmful[r.IntN(len(harmful))]
			if bad, err := changedKey(text, k); err == nil && (k.Effect == keys.Restart || parses(h, bad)) {
				return bad, k.Path
			}
		case 3:
			cuts := []struct{ what, path, value string }{
				{"the uplinks gone", "domains[].reflectors", "[]"},
				{"an interface that is not there", "domains[].reflectors[].interface", "nowhere"},
				{"an address that is not there", "domains[].reflectors[].local", "198.51.100.77"},
				{"no loopback address", "loopback", ""},
				{"no table for the hypervisor", "local-out", ""},
				{"an uplink as a guest", "guests[].interface", "b.public"},
				{"a guest with the reflector's address", "guests[].ipv4", "[198.51.100.126]"},
				{"no domain", "domains", "[]"},
				{"a key that is not known", "firewal", "{off: true}"},
			}
			c := cuts[r.IntN(len(cuts))]
			if bad, err := changedKey(text, keys.Key{Path: c.path, Example: c.value}); err == nil {
				return bad, c.what
			}
		}
	}
}

// settled waits until no session is being reset.
func (h *host) settled() {
	h.t.Helper()
	nstest.Wait(h.t, 20*time.Second, "the sessions up", func() bool {
		for _, n := range h.upsOf() {
			if n == -1 {
				return false
			}
		}
		return true
	})
}

// since says since when each session has been what it is.
func (h *host) since() string {
	var all []api.Session
	if err := h.ask("/v1/sessions", &all); err != nil {
		h.t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintln(&b, s.Peer, s.State, s.Since, s.Ups)
	}
	return b.String()
}

// lineDiff names the lines that only one of two texts has.
func lineDiff(was, is string) string {
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	var out []string
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

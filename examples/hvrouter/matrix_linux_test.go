package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest/keys"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// counters are what the firewall counts, and dynamic what packets add to its sets: neither is a
// difference.
var dynamic = regexp.MustCompile(`\s+elements = \{[^}]*expires[^}]*\}`)
var counters = regexp.MustCompile(`counter packets \d+ bytes \d+`)

// matrixBases are the files whose keys are changed, as edits of hvConfig.
var matrixBases = map[string]func(string) string{
	"": func(s string) string {
		return s + "overlays: [{name: vx1, vni: 1, bridge: brx1}]\n"
	},
	// A reflector that wants TTL 255 would not hear the end of a session from one that has stopped.
	"ttl":    func(s string) string { return s + "bgp: {ttl-security: false}\n" },
	"evpn":   func(s string) string { return s + "overlays: [{name: vx1, vni: 1, bridge: brx1, evpn: {}}]\n" },
	"fwmark": func(s string) string { return s + "isolation: fwmark\n" },
	"rules": func(s string) string {
		const list = "{priority: 9, table: 255}, {priority: 10, table: 254}, {priority: 20, table: 90}]"
		return s + "rules: {ipv4: [{priority: 30, table: 254}, " + list + ", ipv6: [" + list + "}\n"
	},
	"neighbors": neighborsBase,
	"default": func(s string) string {
		return strings.Replace(neighborsBase(s), "126, as: internal", `126, as: internal, families: [ipv4, ipv6], next-hop6: "2001:db8::1", default-originate: {policy: [{med: 5}]}`, 1)
	},
	"shared": func(s string) string {
		s, rest, _ := strings.Cut(s, "    reflectors:\n")
		sessions, rest, _ := strings.Cut(rest, "local-out:")
		sessions = strings.NewReplacer("      - {", "  - {", "126}", "126, advertise-next-hops: [{domain: public}]}", "226}", "226, advertise-next-hops: [{domain: public}]}").Replace(sessions)
		return s + "    community: \"65000:91\"\nsessions:\n" + sessions + "local-out:" + rest
	},
}

func neighborsBase(s string) string {
	s = strings.Replace(s, "    reflectors:\n", "    neighbors:\n", 1)
	return strings.NewReplacer("126}", "126, as: internal}", "226}", "226, as: internal}", " peer: ", " address: ").Replace(s)
}

// TestReloadMatrix: what docs/configuration.md says of each key is so. Each is changed on a daemon
// that runs, and back, and its sessions are looked at.
func TestReloadMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and a minute")
	}
	for base, edit := range matrixBases {
		t.Run("base "+base, func(t *testing.T) { matrix(t, base, edit(hvConfig)) })
	}
}

func matrix(t *testing.T, base, text string) {
	h := newHost(t)
	h.hv.IP("link add name spare type bridge")
	h.hv.IP("link add name more type bridge")
	h.hv.IP("link add name port1 type bridge")
	h.hv.IP("link add name vm2 type bridge")
	h.hv.IP("addr add 198.51.100.103/25 dev a.public")
	h.hv.IP("addr add 2001:db8::1/64 dev a.public nodad")
	h.up()
	if base == "ttl" || base == "neighbors" || base == "default" {
		h.write("bird.conf", strings.Replace(birdConfig, "ttl security on; ", "", 1))
		h.bird("configure")
	}
	h.write("key", "not-the-peers\n")
	h.kill(os.Kill)
	h.write("hv.yaml", text)
	h.run()
	h.up()
	h.guest()
	h.still(t, "the start")
	before, ups := h.kernel(), h.upsOf()
	if len(ups) != 2 {
		t.Fatalf("sessions: %v", ups)
	}
	for _, k := range keys.All {
		if k.Base != base && !(base == "" && k.Base == "added") {
			continue
		}
		changed, err := changedKey(text, k)
		if err != nil {
			t.Errorf("%s: %v", k.Path, err)
			continue
		}
		h.write("hv.yaml", changed)
		foreseen := h.foreseen(t, k)
		out, err := h.command("reload", "-api", h.path("api.sock")).CombinedOutput()
		refused, restart := err != nil, err != nil && strings.Contains(string(out), "that needs a restart")
		if want := k.Effect == keys.Restart || k.Effect == keys.Force; refused != want || restart != (k.Effect == keys.Restart) {
			t.Errorf("%s: %q, but a reload says %s\nof %s", k.Path, k.Effect, out, changed)
			if refused {
				continue
			}
		}
		if refused && k.Effect != keys.Restart {
			h.cli("reload", "-force")
		}
		if !refused || k.Effect != keys.Restart {
			h.settle(t, k, ups)
			if k.Effect == keys.InPlace || k.Effect == keys.Force {
				h.still(t, k.Path)
				unforeseen(t, k, foreseen, before, h.kernel())
			}
		} else if now := h.kernel(); !maps.Equal(now, before) {
			t.Errorf("%s was refused, and the kernel is another one:\n%s", k.Path, lineDiff(before.String(), now.String()))
		}
		h.write("hv.yaml", text)
		h.cli("reload", "-force")
		h.back(t, k)
		now := h.upsOf()
		for peer, n := range now {
			may := k.Effect == keys.Fabrics || peer == firstPeer && (k.Effect == keys.Session || k.Effect == keys.Ends)
			if n != ups[peer] && !may {
				t.Errorf("%s: %q, but the session with %s came up %d times, before %d", k.Path, k.Effect, peer, n, ups[peer])
			}
		}
		before, ups = h.kernel(), now
	}
}

// foreseen returns what `hvrouter diff FILE` says of the changed file, and checks that against what
// a reload with the key does.
func (h *host) foreseen(t *testing.T, k keys.Key) string {
	t.Helper()
	cmd := h.command("diff", "-api", h.path("api.sock"), h.path("hv.yaml"))
	b, _ := cmd.CombinedOutput()
	out, code := string(b), cmd.ProcessState.ExitCode()
	if k.Effect == keys.Restart {
		if code != 2 || !strings.Contains(out, "that needs a restart") {
			t.Errorf("%s: %q, but diff exits %d: %s", k.Path, k.Effect, code, out)
		}
		return out
	}
	if code != 1 || strings.TrimSpace(out) == "" {
		t.Errorf("%s: %q, but diff exits %d: %s", k.Path, k.Effect, code, out)
	}
	if refused := strings.Contains(out, "refused without -force"); refused != (k.Effect == keys.Force) {
		t.Errorf("%s: %q, but diff says:\n%s", k.Path, k.Effect, out)
	}
	for _, peer := range []string{firstPeer, "198.51.100.226"} {
		reset, ends := false, false
		for line := range strings.Lines(out) {
			if strings.Contains(line, "session with "+peer+" ") {
				reset = reset || strings.Contains(line, " is reset") || strings.Contains(line, "resets the session")
				ends = ends || strings.HasSuffix(line, " ends\n")
			}
		}
		if want := k.Effect == keys.Fabrics || k.Effect == keys.Session && peer == firstPeer; reset != want {
			t.Errorf("%s: %q, but diff says:\n%s", k.Path, k.Effect, out)
		}
		if want := k.Effect == keys.Ends && peer == firstPeer; ends != want {
			t.Errorf("%s: %q, but diff says:\n%s", k.Path, k.Effect, out)
		}
	}
	return out
}

// unforeseen reports what has changed in the kernel by a reload although diff did not say so.
func unforeseen(t *testing.T, k keys.Key, foreseen string, before, after state) {
	t.Helper()
	for kind, now := range after {
		if now == before[kind] {
			continue
		}
		said := false
		for line := range strings.Lines(foreseen) {
			for _, word := range saidBy[kind] {
				said = said || strings.Contains(line, word)
			}
		}
		if !said {
			t.Errorf("%s: a reload changes the kernel's %s:\n%s\nand diff said:\n%s", k.Path, kind, lineDiff(before[kind], now), foreseen)
		}
	}
}

// saidBy are the words of diff for what changes in a part of the kernel. What a policy does to
// routes it cannot foresee, and says so.
var saidBy = map[string][]string{
	"rules": {"add rule", "delete rule"}, "routes": {"add route", "replace route", "delete route", "change routes"},
	"firewall": {"firewall"}, "sysctls": {"sysctl"},
}

// firstPeer is whose keys the matrix changes, where each session has its own.
const firstPeer = "198.51.100.126"

// settle waits until what a key is to reset has been reset.
func (h *host) settle(t *testing.T, k keys.Key, before map[string]int) {
	t.Helper()
	first := firstPeer
	switch k.Effect {
	case keys.Session, keys.Ends:
		h.wait(k.Path+": the first session reset", func() bool { n, there := h.upsOf()[first]; return !there || n > before[first] || n == -1 })
	case keys.Fabrics:
		h.wait(k.Path+": the first session reset", func() bool { n := h.upsOf()[first]; return n > before[first] || n == -1 })
	}
}

// back waits until everything is as before after a key has been changed back.
func (h *host) back(t *testing.T, k keys.Key) {
	t.Helper()
	nstest.Wait(t, 20*time.Second, k.Path+": both sessions up again", func() bool {
		for _, n := range h.upsOf() {
			if n == -1 {
				return false
			}
		}
		return true
	})
	h.still(t, k.Path)
}

// still waits until every peer has said everything, and the kernel has what follows from it.
func (h *host) still(t *testing.T, what string) {
	t.Helper()
	nstest.Wait(t, 20*time.Second, what+": everything in the kernel", func() bool {
		var s api.Status
		var differences []api.Difference
		return h.ask("/v1/status", &s) == nil && s.Converged && len(s.Missing) == 0 && h.ask("/v1/diff", &differences) == nil && len(differences) == 0
	})
}

// upsOf returns how often each session came up, -1 for one that is not.
func (h *host) upsOf() map[string]int {
	var all []api.Session
	if err := h.ask("/v1/sessions", &all); err != nil {
		h.t.Fatal(err)
	}
	ups := map[string]int{}
	for _, s := range all {
		if ups[s.Peer.String()] = int(s.Ups); s.State != "Established" {
			ups[s.Peer.String()] = -1
		}
	}
	return ups
}

// state is what the hypervisor's namespace has of each kind.
type state map[string]string

func (s state) String() string {
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(s)) {
		b.WriteString(s[kind])
	}
	return b.String()
}

// kernel is what the hypervisor's namespace has of rules, routes and next hops, sysctls and
// firewall.
func (h *host) kernel() state {
	s := state{}
	for _, c := range [][2]string{{"rules", "-4 rule show"}, {"rules", "-6 rule show"}, {"routes", "-4 route show table all"}, {"routes", "-6 route show table all"}, {"routes", "nexthop"}} {
		out, _ := h.hv.Command("ip", strings.Fields(c[1])...).Output()
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "proto kernel") { // of interfaces' own addresses, whose detection takes its time
				s[c[0]] += line
			}
		}
	}
	out, _ := h.hv.Command("nft", "list", "ruleset").Output()
	s["firewall"] = counters.ReplaceAllString(dynamic.ReplaceAllString(string(out), ""), "counter")
	out, _ = h.hv.Command("sh", "-c", "grep -s . /proc/sys/net/ipv4/conf/*/proxy_arp /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/*/src_valid_mark").Output()
	s["sysctls"] = string(out)
	return s
}

// changedKey is a configuration with another value of a key.
func changedKey(text string, k keys.Key) (string, error) {
	var file map[string]any
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		return "", err
	}
	if k.Base == "added" {
		file[k.Path] = append(file[k.Path].([]any), map[string]any{"name": "added", "table": 77})
	} else if err := setKey(file, k.Path, k.Example); err != nil {
		return "", err
	}
	for _, w := range k.With {
		path, value, _ := strings.Cut(w, "=")
		if err := setKey(file, path, value); err != nil {
			return "", err
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(file) // JSON is YAML
	return b.String(), err
}

// setKey sets a key below a mapping, in the first element of lists; "" deletes it.
func setKey(file map[string]any, path, value string) error {
	at := file
	for {
		step, rest, more := strings.Cut(path, ".")
		step, list := strings.CutSuffix(step, "[]")
		switch {
		case !more && value == "":
			delete(at, step)
			return nil
		case !more:
			var v any
			if err := yaml.Unmarshal([]byte(value), &v); err != nil {
				return fmt.Errorf("%s: %w", value, err)
			}
			at[step] = v
			return nil
		case list:
			l, _ := at[step].([]any)
			if len(l) == 0 {
				l = []any{map[string]any{}}
			}
			at[step] = l
			at = l[0].(map[string]any)
		default:
			m, ok := at[step].(map[string]any)
			if !ok {
				m = map[string]any{}
			}
			at[step] = m
			at = m
		}
		path = rest
	}
}

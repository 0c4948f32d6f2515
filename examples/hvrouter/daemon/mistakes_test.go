package daemon

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/change"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestMistakesSearch puts pieces of a configuration together that are fine alone:
//
//	session DOMAIN INTERFACE LOCAL PEER
//	loopback INTERFACE ADDRESS
//	gateway ADDRESS
//	overlay NAME BRIDGE MEMBER
//	template PATTERN
//	guest NAME INTERFACE ADDRESS
//
// A combination in which nothing is for two things is taken as a whole. Of any other, the
// file is refused, or some guest: by all who read it: at the start, at a reload, and over
// the API.
func TestMistakesSearch(t *testing.T) {
	scenario.Search{Seeds: 400, Inputs: randomPieces, Play: func(_ *testing.T, lines []string) error { return combine(lines) }}.Run(t)
}

func randomPieces(r *rand.Rand) (lines []string) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	link := func(usual ...string) string {
		if r.IntN(8) == 0 {
			return pick("a", "b", "c", "lo0", "br1", "vx1", "vm1", "vm2", "tap1", "tap2")
		}
		return pick(usual...)
	}
	addr := func(usual ...string) string {
		if r.IntN(8) == 0 {
			return pick("198.51.100.1", "198.51.100.2", "198.51.100.126", "203.0.113.1", "203.0.113.2", "203.0.113.253", "172.22.2.1")
		}
		return pick(usual...)
	}
	for range 1 + r.IntN(6) {
		switch r.IntN(8) {
		case 0, 1, 2:
			lines = append(lines, fmt.Sprintf("session %s %s %s %s", pick("public", "private"), link("a", "b", "c"), addr("198.51.100.1", "198.51.100.2"), addr("198.51.100.126", "198.51.100.127")))
		case 3:
			lines = append(lines, "loopback "+link("lo0")+" "+addr("172.22.2.1"))
		case 4:
			lines = append(lines, "gateway "+addr("203.0.113.253"))
		case 5:
			lines = append(lines, fmt.Sprintf("overlay %s %s %s", link("vx1"), link("br1"), link("vm1.vx")))
		case 6:
			lines = append(lines, "template "+pick("tap*", "vm*", "b*"))
		case 7:
			lines = append(lines, fmt.Sprintf("guest %s %s %s", pick("g1", "g2"), link("vm1", "vm2", "tap1"), addr("203.0.113.1", "203.0.113.2")))
		}
	}
	return lines
}

// claims is what interfaces, addresses and names are for.
type claims struct {
	of       map[string]string
	patterns []string
	conflict string
}

func (c *claims) add(what, role string) {
	if old, ok := c.of[what]; ok && old != role {
		c.conflict = fmt.Sprintf("%s is %s and %s", what, old, role)
	}
	c.of[what] = role
}

// combine makes the configuration and judges what becomes of it.
func combine(lines []string) error {
	text, claimed := pieces(lines)
	c, err := config.Parse("f", []byte(text), nil)
	if err != nil {
		if claimed.conflict == "" {
			return fmt.Errorf("refused, and nothing is for two things: %w", err)
		}
		return nil
	}
	var start guest.Inventory
	start.Use(c.Admission(config.Host{}))
	refused := start.Replace(guest.FromConfig, c.Entries())
	switch {
	case claimed.conflict == "" && len(refused) > 0:
		return fmt.Errorf("a guest is refused, and nothing is for two things: %v", refused)
	case claimed.conflict != "" && len(refused) == 0:
		return fmt.Errorf("taken, although %s", claimed.conflict)
	}
	if again := admit(&guest.Inventory{}, c, config.Host{}); len(again) != len(refused) {
		return fmt.Errorf("refused at the start: %v, at a reload: %v", refused, again)
	}
	var api guest.Inventory
	api.Use(c.Admission(config.Host{}))
	n := 0
	for _, e := range c.Entries() {
		if api.Put(e) != nil {
			n++
		}
	}
	if n != len(refused) {
		return fmt.Errorf("refused at the start: %v, over the API: %d", refused, n)
	}
	if changes := change.Between(c, c); len(changes) > 0 {
		return fmt.Errorf("nothing has changed, and %v", changes)
	}
	return nil
}

// pieces makes the text, and who claims what.
func pieces(lines []string) (string, claims) {
	claimed := claims{of: map[string]string{}}
	sections := map[string][]string{}
	add := func(section, format string, args ...any) {
		sections[section] = append(sections[section], fmt.Sprintf(format, args...))
	}
	for i, line := range lines {
		w := strings.Fields(line)
		switch w[0] {
		case "session":
			add(w[1], "{interface: %s, local: %s, peer: %s}", w[2], w[3], w[4])
			claimed.add(w[2], "an uplink of "+w[1])
			claimed.add(w[3], "ours on "+w[2])
			claimed.add(w[4], "a reflector's")
			claimed.add(w[4]+" on "+w[2], fmt.Sprint("session ", i))
		case "loopback":
			if len(sections["loopback"]) > 0 {
				continue // there is one
			}
			add("loopback", "{interface: %s, address: %s/32}", w[1], w[2])
			claimed.add(w[1], fmt.Sprint("loopback ", i))
			claimed.add(w[2], "the loopback's")
		case "gateway":
			if len(sections["gateway"]) > 0 {
				continue
			}
			add("gateway", "%s", w[1])
			claimed.add(w[1], "the gateway's")
		case "overlay":
			add("overlays", "{name: %s, vni: %d, bridge: %s, local: 192.0.2.7, members: [%s]}", w[1], i+1, w[2], w[3])
			for j, role := range []string{"overlay", "bridge", "member"} {
				claimed.add(w[j+1], fmt.Sprint(role, " ", i))
			}
		case "template":
			add("templates", "{interfaces: %q}", w[1])
			claimed.add(w[1], fmt.Sprint("template ", i))
			claimed.patterns = append(claimed.patterns, w[1])
		case "guest":
			add("guests", "{name: %s, interface: %s, ipv4: [%s]}", w[1], w[2], w[3])
			claimed.add("guest "+w[1], fmt.Sprint("guest ", i))
			claimed.add(w[2], "guest "+w[1])
			claimed.add(w[3], "guest "+w[1])
		}
	}
	for _, p := range claimed.patterns {
		for name, role := range claimed.of {
			if name != p && config.Match(p, name) && !strings.HasPrefix(role, "guest") {
				claimed.conflict = fmt.Sprintf("%s is like %s, and %s", name, p, role)
			}
		}
	}
	list := func(section string) string { return "[" + strings.Join(sections[section], ", ") + "]" }
	text := "router-id: 0.0.1.1\nas: 65000\ndomains:\n" +
		"  - {name: public, table: 90, guests: true, reflectors: " + list("public") + "}\n" +
		"  - {name: private, table: 20, reflectors: " + list("private") + "}\n" +
		"overlays: " + list("overlays") + "\nguest-templates: " + list("templates") + "\nguests: " + list("guests") + "\n"
	if one := sections["loopback"]; len(one) > 0 {
		text += "loopback: " + one[0] + "\n"
	}
	gateway := "203.0.113.254"
	if one := sections["gateway"]; len(one) > 0 {
		gateway = one[0]
	}
	text += "edge: {gateway4: " + gateway + "}\n"
	return text, claimed
}

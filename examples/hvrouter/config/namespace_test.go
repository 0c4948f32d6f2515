package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func parts(t *testing.T, text string) []Namespace {
	t.Helper()
	c, err := Parse("f", []byte(expand("...\n"+text)), TableNames{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Namespaces()
}

// What lives where.
func TestPlaces(t *testing.T) {
	const loopback = "loopback: {interface: loopback, address: 172.22.2.1/32}\n"
	const overlay = "overlays: [{name: vx, vni: 1, bridge: br, vteps: 172.22.2.0/24}]\n"
	for _, c := range []struct{ what, text, want string }{
		{"one namespace", loopback + "domains: [{name: a, table: 90, guests: true}, {name: b, table: 20, loopback: true}]\n" + overlay,
			"[]: a/90 b/20 loopback overlay"},
		{"guests apart", loopback + "domains: [{name: a, netns: red, guests: true}, {name: b, table: 20, loopback: true}]\n" + overlay,
			"[]: b/20 loopback; [red]: a/254 overlay"},
		{"the loopback apart", loopback + "domains: [{name: a, table: 90, guests: true}, {name: b, netns: /run/netns/red, loopback: true}]\n" + overlay,
			"[]: a/90 overlay; [red]: b/254 loopback"},
		{"nothing in the daemon's own", loopback + "domains: [{name: a, netns: red, table: 90}, {name: b, netns: red, table: 20, loopback: true}, {name: c, netns: /ns/green}]\n" + overlay,
			"[red]: a/90 b/20 loopback overlay; [/ns/green]: c/254"},
		{"only one, and not the daemon's own", "domains: [{name: a, netns: red}]\n", "[red]: a/254"},
		{"a loopback that nobody announces", loopback + "domains: [{name: a, netns: red, guests: true}]\n" + overlay, "[]: loopback; [red]: a/254 overlay"},
		{"local-out stays", "domains: [{name: a, netns: red}, {name: b, table: 20}]\nlocal-out: {table: 100, domains: [b]}\n", "[]: b/20 local-out; [red]: a/254"},
	} {
		var have []string
		for _, p := range parts(t, c.text) {
			have = append(have, describe(p))
		}
		if got := strings.Join(have, "; "); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

func describe(p Namespace) string {
	words := []string{fmt.Sprintf("[%s]:", p.NetNS)}
	for _, d := range p.Config.Domains {
		words = append(words, fmt.Sprintf("%s/%d", d.Name, d.Table.ID))
	}
	for what, there := range map[string]bool{"loopback": p.Config.Loopback.Interface != "", "overlay": len(p.Config.Overlays) > 0, "local-out": p.Config.LocalOut != nil} {
		if there {
			words = append(words, what)
		}
	}
	slices.Sort(words[1+len(p.Config.Domains):])
	return strings.Join(words, " ")
}

// Defaults of table main, and of routes that others put there.
func TestMain254(t *testing.T) {
	p := parts(t, "domains: [{name: a, netns: red}, {name: b, table: main}]\n")
	own, red := p[0].Config.Domains[0], p[1].Config.Domains[0]
	if own.LastResort != "none" || red.LastResort != "none" {
		t.Errorf("last resort %s and %s, want none", own.LastResort, red.LastResort)
	}
	if own.Redistributes() || !red.Redistributes() {
		t.Errorf("routes of others announced: %v in the daemon's own namespace, %v in another", own.Redistributes(), red.Redistributes())
	}
}

func TestNetNSPath(t *testing.T) {
	for name, want := range map[NetNS]string{"": "", "red": "/run/netns/red", "/run/netns/red": "/run/netns/red", "/var/run/netns/red": "/run/netns/red", "/proc/1/ns/net": "/proc/1/ns/net"} {
		if got := name.normal().Path(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestSampleOfNamespaces(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "netns.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("netns.yaml", data, TableNames{})
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Namespaces(); len(p) != 2 || len(p[1].Config.Guests) != 1 || len(p[0].Config.Guests) != 0 {
		t.Errorf("%d places: %+v", len(p), p)
	}
}

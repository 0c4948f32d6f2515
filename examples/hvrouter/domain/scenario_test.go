package domain

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestScenarios plays testdata/*.txt. The inputs:
//
//	config FILE [OLD=>NEW ...]           read a file, with changes (_ is a space); again: reload it
//	up GUEST ..., down GUEST ...         interfaces of guests come and go
//	bgp DOMAIN PREFIX [GATEWAY@LINK ...]
//	learn DOMAIN PREFIX METRIC [GATEWAY@]LINK ..., unlearn DOMAIN PREFIX METRIC
//	show rules|addresses|sysctls, show table ID, show announced DOMAIN
func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(t *testing.T, text string) (string, error) {
		s := &player{here: map[string]bool{}, ribs: map[string]*RIB{}, routes: map[string]map[Key]Route{}}
		return scenario.Play(text, s)
	})
}

type player struct {
	out    []string
	c      *config.Config
	here   map[string]bool
	ribs   map[string]*RIB
	static Static
	routes map[string]map[Key]Route // by domain, kept from effects alone
}

// Do implements [scenario.Machine].
func (s *player) Do(_ time.Time, f []string) ([]string, error) {
	s.out = nil
	if err := s.do(f); err != nil {
		return nil, err
	}
	return s.out, s.consistent()
}

func (s *player) do(f []string) error {
	switch f[0] {
	case "config":
		return s.config(f[1], f[2:])
	case "up", "down":
		for _, name := range f[1:] {
			s.here[name] = f[0] == "up"
		}
		s.guests()
	case "bgp":
		s.change(f[1], func(r *RIB, fx *Effects) { r.SetBGP(netip.MustParsePrefix(f[2]), hops(f[3:]), len(f) > 3, fx) })
	case "learn":
		s.change(f[1], func(r *RIB, fx *Effects) {
			r.SetLearned(netip.MustParsePrefix(f[2]), Learned{Metric: number(f[3]), NextHops: hops(f[4:])}, fx)
		})
	case "unlearn":
		s.change(f[1], func(r *RIB, fx *Effects) { r.DropLearned(netip.MustParsePrefix(f[2]), number(f[3]), fx) })
	case "show":
		s.show(f[1:])
	default:
		return fmt.Errorf("unknown word %q", f[0])
	}
	return nil
}

func (s *player) say(format string, args ...any) { s.out = append(s.out, fmt.Sprintf(format, args...)) }

// config loads a file; further words old=new are replaced in it.
func (s *player) config(file string, edits []string) error {
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		return err
	}
	text := string(data)
	for _, e := range edits {
		from, to, _ := strings.Cut(e, "=>")
		if !strings.Contains(text, strings.ReplaceAll(from, "_", " ")) {
			return fmt.Errorf("%s does not contain %q", file, from)
		}
		text = strings.ReplaceAll(text, strings.ReplaceAll(from, "_", " "), strings.NewReplacer("_", " ", `\n`, "\n").Replace(to))
	}
	if s.c, err = config.Parse(file, []byte(text), nil); err != nil {
		return err
	}
	for i, d := range s.c.Domains {
		if s.ribs[d.Name] == nil {
			s.ribs[d.Name], s.routes[d.Name] = NewRIB(NewView(s.c, i)), map[Key]Route{}
			continue
		}
		s.change(d.Name, func(r *RIB, fx *Effects) { r.SetView(NewView(s.c, i), fx) })
	}
	s.guests()
	return nil
}

func (s *player) guests() {
	var here []config.Guest
	for _, g := range s.c.Guests {
		if s.here[g.Name] {
			here = append(here, g)
		}
	}
	s.static = NewStatic(s.c, here, Links{})
	for _, d := range s.c.Domains {
		s.change(d.Name, func(r *RIB, fx *Effects) { r.SetLocals(s.static.Locals[d.Name], fx) })
	}
}

func (s *player) change(name string, f func(*RIB, *Effects)) {
	var fx Effects
	f(s.ribs[name], &fx)
	var lines []string
	for _, k := range fx.Delete {
		lines = append(lines, fmt.Sprintf("%s: delete %v table %d metric %d", name, k.Prefix, k.Table, k.Metric))
		delete(s.routes[name], k)
	}
	for _, r := range fx.Set {
		lines = append(lines, fmt.Sprintf("%s: set table %d %v", name, r.Table, r))
		s.routes[name][r.Key] = r
	}
	for _, a := range fx.Announce {
		lines = append(lines, fmt.Sprintf("%s: announce %v local-pref %d%s", name, a.Prefix, a.LocalPref, map[bool]string{true: ", as another router does"}[a.Alternative]))
	}
	for _, p := range fx.Withdraw {
		lines = append(lines, fmt.Sprintf("%s: withdraw %v", name, p))
	}
	slices.Sort(lines)
	s.out = append(s.out, lines...)
}

// consistent checks that the effects, added up, are the state.
func (s *player) consistent() error {
	for name, rib := range s.ribs {
		want := map[Key]Route{}
		for r := range rib.Routes {
			want[r.Key] = r
		}
		if !maps.EqualFunc(want, s.routes[name], Route.Equal) {
			return fmt.Errorf("%s: effects add up to %v, the RIB says %v", name, s.routes[name], want)
		}
	}
	return nil
}

func (s *player) show(what []string) {
	switch what[0] {
	case "rules":
		for _, r := range s.static.Rules {
			s.say("%s %v", map[bool]string{false: "v4", true: "v6"}[r.IPv6], r)
		}
	case "table":
		s.table(number(what[1]))
	case "announced":
		var lines []string
		for a := range s.ribs[what[1]].Announced {
			lines = append(lines, a.Prefix.String())
		}
		slices.Sort(lines)
		s.say("%s", strings.Join(lines, " "))
	case "addresses":
		for _, a := range s.static.Addresses {
			s.say("%v dev %s", a.Prefix, a.Link)
		}
	case "sysctls":
		for _, path := range slices.Sorted(maps.Keys(s.static.Sysctls)) {
			s.say("%s = %s", path, s.static.Sysctls[path])
		}
	}
}

func (s *player) table(id uint32) {
	routes := slices.Concat(s.static.Persistent, s.static.Gateways)
	for _, name := range slices.Sorted(maps.Keys(s.ribs)) {
		routes = slices.AppendSeq(routes, s.ribs[name].Routes)
	}
	routes = slices.DeleteFunc(routes, func(r Route) bool { return r.Table != id })
	slices.SortFunc(routes, func(a, b Route) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.Metric, b.Metric))
	})
	for _, r := range routes {
		s.say("%v", r)
	}
}

// hops reads gateway@link and link words.
func hops(words []string) []NextHop {
	var hops []NextHop
	for _, w := range words {
		gw, link, ok := strings.Cut(w, "@")
		if !ok {
			hops = append(hops, NextHop{Link: w})
			continue
		}
		hops = append(hops, NextHop{Gateway: netip.MustParseAddr(gw), Link: link})
	}
	return sortHops(hops)
}

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

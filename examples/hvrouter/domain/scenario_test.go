package domain

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestScenarios plays every testdata/*.txt: lines that start with "> " are
// commands, what follows is what they did.
func TestScenarios(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no scenarios")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("differs (run with -update and read the diff):\n%s", got)
			}
		})
	}
}

type stage struct {
	t      *testing.T
	out    bytes.Buffer
	c      *config.Config
	here   map[string]bool
	ribs   map[string]*RIB
	static Static
	routes map[string]map[Key]Route // by domain, kept from effects alone
}

func play(t *testing.T, script string) []byte {
	s := &stage{t: t, here: map[string]bool{}, ribs: map[string]*RIB{}, routes: map[string]map[Key]Route{}}
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "#") {
			s.out.WriteString(line)
		}
		cmd, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		s.out.WriteString(line)
		s.do(strings.Fields(cmd))
	}
	return s.out.Bytes()
}

func (s *stage) do(f []string) {
	switch f[0] {
	case "config":
		s.config(f[1], f[2:])
	case "up", "down":
		for _, name := range f[1:] {
			s.here[name] = f[0] == "up"
		}
		s.guests()
	case "bgp":
		s.change(f[1], func(r *RIB, fx *Effects) { r.SetBGP(netip.MustParsePrefix(f[2]), hops(f[3:]), fx) })
	case "learn":
		s.change(f[1], func(r *RIB, fx *Effects) {
			r.SetLearned(netip.MustParsePrefix(f[2]), Learned{Metric: number(f[3]), NextHops: hops(f[4:])}, fx)
		})
	case "unlearn":
		s.change(f[1], func(r *RIB, fx *Effects) { r.DropLearned(netip.MustParsePrefix(f[2]), number(f[3]), fx) })
	case "show":
		s.show(f[1:])
	default:
		s.t.Fatalf("unknown command %q", f)
	}
	s.consistent()
}

// config loads a file; further words old=new are replaced in it.
func (s *stage) config(file string, edits []string) {
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		s.t.Fatal(err)
	}
	text := string(data)
	for _, e := range edits {
		from, to, _ := strings.Cut(e, "=>")
		if !strings.Contains(text, strings.ReplaceAll(from, "_", " ")) {
			s.t.Fatalf("%s does not contain %q", file, from)
		}
		text = strings.ReplaceAll(text, strings.ReplaceAll(from, "_", " "), strings.NewReplacer("_", " ", `\n`, "\n").Replace(to))
	}
	if s.c, err = config.Parse(file, []byte(text), nil); err != nil {
		s.t.Fatal(err)
	}
	for i, d := range s.c.Domains {
		if s.ribs[d.Name] == nil {
			s.ribs[d.Name], s.routes[d.Name] = NewRIB(NewView(s.c, i)), map[Key]Route{}
			continue
		}
		s.change(d.Name, func(r *RIB, fx *Effects) { r.SetView(NewView(s.c, i), fx) })
	}
	s.guests()
}

func (s *stage) guests() {
	var here []config.Guest
	for _, g := range s.c.Guests {
		if s.here[g.Name] {
			here = append(here, g)
		}
	}
	s.static = NewStatic(s.c, here)
	for _, d := range s.c.Domains {
		s.change(d.Name, func(r *RIB, fx *Effects) { r.SetLocals(s.static.Locals[d.Name], fx) })
	}
}

func (s *stage) change(name string, f func(*RIB, *Effects)) {
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
		lines = append(lines, fmt.Sprintf("%s: announce %v local-pref %d", name, a.Prefix, a.LocalPref))
	}
	for _, p := range fx.Withdraw {
		lines = append(lines, fmt.Sprintf("%s: withdraw %v", name, p))
	}
	slices.Sort(lines)
	for _, l := range lines {
		fmt.Fprintf(&s.out, "  %s\n", l)
	}
}

// consistent checks that the effects, added up, are the state.
func (s *stage) consistent() {
	s.t.Helper()
	for name, rib := range s.ribs {
		want := map[Key]Route{}
		for r := range rib.Routes {
			want[r.Key] = r
		}
		if !maps.EqualFunc(want, s.routes[name], Route.Equal) {
			s.t.Errorf("%s: effects add up to %v, the RIB says %v", name, s.routes[name], want)
		}
	}
}

func (s *stage) show(what []string) {
	switch what[0] {
	case "rules":
		for _, r := range s.static.Rules {
			fmt.Fprintf(&s.out, "  %s %v\n", map[bool]string{false: "v4", true: "v6"}[r.IPv6], r)
		}
	case "table":
		s.table(number(what[1]))
	case "announced":
		var lines []string
		for a := range s.ribs[what[1]].Announced {
			lines = append(lines, a.Prefix.String())
		}
		slices.Sort(lines)
		fmt.Fprintf(&s.out, "  %s\n", strings.Join(lines, " "))
	case "addresses":
		for _, a := range s.static.Addresses {
			fmt.Fprintf(&s.out, "  %v dev %s\n", a.Prefix, a.Link)
		}
	case "sysctls":
		for _, path := range slices.Sorted(maps.Keys(s.static.Sysctls)) {
			fmt.Fprintf(&s.out, "  %s = %s\n", path, s.static.Sysctls[path])
		}
	}
}

func (s *stage) table(id uint32) {
	routes := slices.Clone(s.static.Scaffold)
	for _, name := range slices.Sorted(maps.Keys(s.ribs)) {
		routes = slices.AppendSeq(routes, s.ribs[name].Routes)
	}
	routes = slices.DeleteFunc(routes, func(r Route) bool { return r.Table != id })
	slices.SortFunc(routes, func(a, b Route) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.Metric, b.Metric))
	})
	for _, r := range routes {
		fmt.Fprintf(&s.out, "  %v\n", r)
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

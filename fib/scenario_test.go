package fib

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the golden scenarios in testdata")

// TestScenarios plays testdata/*.txt: a line is a command, and is followed by
// what the FIB writes because of it (`->`) and reports (`!!`). Time is virtual.
func TestScenarios(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no scenarios")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			synctest.Test(t, func(t *testing.T) { got = play(t, string(want)) })
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("differs from %s:\n%s", file, got)
			}
		})
	}
}

// stage is a scenario being played.
type stage struct {
	*testing.T
	m      *model
	config Config
	f      *FIB
	o      *owner
	w      *Watcher
	out    strings.Builder
}

func play(t *testing.T, script string) string {
	s := &stage{T: t, m: newModel()}
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "->"), strings.HasPrefix(line, "!!"):
			continue
		}
		s.out.WriteString(line + "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		s.do(strings.Fields(line))
	}
	return s.out.String()
}

func (s *stage) do(w []string) {
	if s.f == nil && w[0] != "config" && w[0] != "foreign" && w[0] != "default-rules" {
		s.start()
	}
	switch w[0] {
	case "config":
		s.configure(w[1:])
		return
	case "default-rules":
		for _, r := range []Rule{{Family: IPv4, Priority: 0, Table: 255}, {Family: IPv4, Priority: 32766, Table: 254}, {Family: IPv4, Priority: 32767, Table: 253}} {
			s.m.rules = append(s.m.rules, kernelRule{Rule: r.normal(), proto: protoKernel})
		}
		return
	case "start":
		s.start()
	case "restart":
		s.f.Close()
		s.start()
	case "set":
		if err := s.f.SetRoute(s.route(w[1:])); err != nil {
			s.out.WriteString("!! " + err.Error() + "\n")
		}
	case "delete":
		s.f.DeleteRoute(s.route(append(w[1:], "blackhole")).RouteKey)
	case "sweep":
		s.f.Sweep()
	case "rule", "ban", "unrule":
		r := s.rule(w[1:])
		switch w[0] {
		case "rule":
			_ = s.f.SetRule(r)
		case "ban":
			_ = s.f.BanRule(r)
		default:
			s.f.DeleteRule(r)
		}
	case "gateway-down":
		for ; len(w) > 2; w = w[2:] { // several at once: before the owner runs
			s.f.GatewayDown(s.link(w[1]), netip.MustParseAddr(w[2]))
		}
	case "gateway-up":
		s.f.GatewayUp(s.link(w[1]), netip.MustParseAddr(w[2]))
	case "link":
		s.m.setLink(int32(s.link(w[1])), w[2] != "down", w[2] == "up")
	case "foreign":
		s.foreign(w[1:])
	case "overflow":
		s.m.lost, s.m.notes = true, nil
	case "refuse":
		s.m.refuse[netip.MustParseAddr(w[1])] = true
		return
	case "accept":
		delete(s.m.refuse, netip.MustParseAddr(w[1]))
		return
	case "lose-replies":
		s.m.dropReplies = func() bool { return true }
		return
	case "keep-replies":
		s.m.dropReplies = nil
		return
	case "state":
		for _, l := range s.m.state() {
			s.out.WriteString("-> " + l + "\n")
		}
		return
	default:
		d, err := time.ParseDuration(strings.TrimPrefix(w[0], "t=+"))
		if err != nil {
			s.Fatalf("unknown command %q", w)
		}
		time.Sleep(d) // virtual
	}
	s.settle()
}

func (s *stage) configure(w []string) {
	for _, x := range w {
		switch x {
		case "refuse":
			s.config.OnForeign = ForeignRefuse
		case "wait":
			s.config.OnForeign = ForeignWait
		case "take":
			s.config.OnForeign = ForeignTake
		case "classic":
			s.config.Classic = true
		}
	}
}

func (s *stage) start() {
	s.f, s.o = newModelFIB(s.config, s.m)
	s.w = s.f.Watch(WatchOptions{})
	if err := s.o.sync(true); err != nil {
		s.Fatal(err)
	}
	s.settle()
}

// settle lets the owner work until it would sleep.
func (s *stage) settle() {
	if s.o == nil {
		return
	}
	for n := 0; ; n++ {
		more, err := s.o.turn()
		if err != nil {
			s.Fatal(err)
		}
		if !more {
			break
		}
		if n > 1000 {
			s.Fatal("does not come to rest")
		}
	}
	for _, l := range s.m.log {
		s.out.WriteString("-> " + l + "\n")
	}
	s.m.log = nil
	events, _ := s.w.take()
	for _, e := range events {
		s.event(e)
	}
}

func (s *stage) event(e Event) {
	switch e.Kind {
	case EventLink, EventNextHops, EventSynced, EventAddress:
		return
	case EventError:
		fmt.Fprintf(&s.out, "!! %v\n", e.Err)
	case EventGatewayDown:
		fmt.Fprintf(&s.out, "!! gateway-down %v dev %s (%s)\n", e.Gateway, e.Link.Name, e.Reason)
	default:
		fmt.Fprintf(&s.out, "!! %v %s", e.Kind, e.Op)
		if e.Key != nil {
			fmt.Fprintf(&s.out, " %v", e.Key)
		}
		s.out.WriteString("\n")
	}
}

func (s *stage) link(name string) int {
	for i, l := range s.m.links {
		if l.Name == name {
			return int(i)
		}
	}
	s.Fatalf("no link %s", name)
	return 0
}

func (s *stage) route(w []string) Route {
	r := Route{}
	r.Prefix, r.Table = parsePrefix(w[0]), 90
	var hop *NextHop
	for i := 1; i < len(w); i++ {
		arg := func() string { i++; return w[i] }
		switch w[i] {
		case "table":
			n, _ := strconv.Atoi(arg())
			r.Table = uint32(n)
		case "metric":
			n, _ := strconv.ParseUint(arg(), 10, 32)
			r.Metric = uint32(n)
		case "via":
			r.NextHops = append(r.NextHops, NextHop{Gateway: netip.MustParseAddr(arg())})
			hop = &r.NextHops[len(r.NextHops)-1]
		case "dev":
			if hop == nil || hop.Link != 0 {
				r.NextHops = append(r.NextHops, NextHop{})
				hop = &r.NextHops[len(r.NextHops)-1]
			}
			hop.Link = s.link(arg())
		case "weight":
			n, _ := strconv.Atoi(arg())
			hop.Weight = uint16(n)
		case "src":
			r.PrefSrc = netip.MustParseAddr(arg())
		case "blackhole":
			r.Type = Blackhole
		case "unreachable":
			r.Type = Unreachable
		case "scaffold":
			r.Scaffold = true
		case "classic":
			r.Classic = true
		default:
			s.Fatalf("route: %q", w[i])
		}
	}
	return r
}

func (s *stage) rule(w []string) Rule {
	n, _ := strconv.Atoi(strings.TrimSuffix(w[0], ":"))
	r := Rule{Family: IPv4, Priority: uint32(n)}
	for i := 1; i < len(w); i += 2 {
		switch w[i] {
		case "lookup":
			n, _ := strconv.Atoi(w[i+1])
			r.Table = uint32(n)
		case "iif":
			r.IIF = w[i+1]
		}
	}
	return r.normal()
}

// foreign: `add|replace|del ROUTE proto N` or `nexthop-del GATEWAY` or `rule-add|rule-del RULE`.
func (s *stage) foreign(w []string) {
	var b []byte
	switch w[0] {
	case "nexthop-del":
		for id, n := range s.m.hops {
			if n.gateway.String() == w[1] {
				b = appendDelNextHop(nil, 1, id)
			}
		}
	case "rule-add", "rule-del":
		typ, flags := uint16(unix.RTM_NEWRULE), uint16(unix.NLM_F_CREATE)
		if w[0] == "rule-del" {
			typ = unix.RTM_DELRULE
		}
		proto := uint8(DefaultProtocol)
		if i := slices.Index(w, "proto"); i > 0 {
			n, _ := strconv.Atoi(w[i+1])
			proto, w = uint8(n), w[:i]
		}
		b = appendRule(nil, typ, flags, 1, s.rule(w[1:]), proto)
	default:
		i := slices.Index(w, "proto")
		n, _ := strconv.Atoi(w[i+1])
		b = s.foreignRoute(w[0], s.route(w[1:i]), uint8(n))
	}
	if err := s.m.by("foreign", b); err != 0 {
		s.Fatalf("foreign %v: %v", w, err)
	}
}

func (s *stage) foreignRoute(verb string, r Route, proto uint8) []byte {
	c := newCore(Config{Protocol: proto})
	c.synced = true
	for i, l := range s.m.links {
		c.links[i] = *l
	}
	key, tf, err := c.pack(r.RouteKey)
	if err != nil {
		s.Fatal(err)
	}
	r.Classic = true
	want, err := c.wantOf(&r, tf.family)
	if err != nil {
		s.Fatal(err)
	}
	typ, flags := uint16(unix.RTM_NEWROUTE), uint16(unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	switch verb {
	case "replace":
		flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	case "del":
		typ, flags = unix.RTM_DELROUTE, 0
	}
	return appendRoute(nil, typ, flags, 1, &key, tf, want.form)
}

package rib

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

var update = flag.Bool("update", false, "rewrite the golden scenarios")

// TestScenarios plays testdata/*.txt. A line is a command; what it prints follows it,
// indented. Empty lines and those that begin with # are comments. The table knows no clock, so
// neither do the scenarios: "mary stale" is the moment when mary's session ends.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s", firstDifference(string(got), string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d:\n%s\nnot\n%s", i+1, strings.Join(g[max(0, i-3):min(len(g), i+3)], "\n"), strings.Join(w[min(i, len(w)):min(len(w), i+3)], "\n"))
		}
	}
	return got
}

type stage struct {
	tb    testing.TB
	t     *Table
	ins   map[string]*In
	sinks map[string]*sink
	watch *Watcher
	woken []string
	out   []string
}

func play(tb testing.TB, text string) []byte {
	s := &stage{tb: tb, ins: map[string]*In{}, sinks: map[string]*sink{}}
	var b bytes.Buffer
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&b, line)
		if line == "" || line[0] == '#' {
			continue
		}
		s.out = s.out[:0]
		w := &words{list: strings.Fields(line)}
		if err := s.run(w); err != nil {
			tb.Fatalf("line %d: %s: %v", i+1, line, err)
		}
		if len(w.list) > 0 {
			tb.Fatalf("line %d: %s: what is %q?", i+1, line, w.list)
		}
		for _, o := range s.out {
			fmt.Fprintln(&b, "    "+o)
		}
		for _, name := range s.woken {
			fmt.Fprintf(&b, "    (%s is notified)\n", name)
		}
		s.woken = s.woken[:0]
	}
	return b.Bytes()
}

func (s *stage) say(format string, args ...any) { s.out = append(s.out, fmt.Sprintf(format, args...)) }

// words are what is left of a command.
type words struct{ list []string }

func (w *words) next() string {
	if len(w.list) == 0 {
		return ""
	}
	x := w.list[0]
	w.list = w.list[1:]
	return x
}

func (w *words) prefixes() (list []wire.NLRI) {
	for len(w.list) > 0 && strings.Contains(w.list[0], "/") {
		p, id, _ := strings.Cut(w.next(), "#")
		n, _ := strconv.Atoi(id)
		list = append(list, wire.NLRI{Prefix: netip.MustParsePrefix(p), PathID: uint32(n)})
	}
	return list
}

func (w *words) family() wire.Family {
	if len(w.list) == 0 || w.list[0] != "ipv4" && w.list[0] != "ipv6" {
		return wire.IPv4Unicast
	}
	if w.next() == "ipv6" {
		return wire.IPv6Unicast
	}
	return wire.IPv4Unicast
}

func (w *words) number() int { n, _ := strconv.Atoi(w.next()); return n }

func (s *stage) run(w *words) error {
	switch cmd := w.next(); cmd {
	case "table":
		return s.table(w)
	case "limits":
		s.t.limits.batch, s.t.limits.backlog = w.number(), w.number()
	case "peer":
		return s.peer(w)
	case "out":
		return s.session(w)
	case "originate":
		return s.originate(w)
	case "unoriginate":
		for _, n := range w.prefixes() {
			if !s.t.Withdraw(n.Prefix, n.PathID) {
				s.say("not there")
			}
		}
	case "converge":
		s.t.Converge()
	case "inventory":
		s.t.InventoryComplete()
	case "watch":
		s.watchAll(w)
	case "next":
		s.next()
	case "show":
		for _, n := range w.prefixes() {
			for _, p := range s.t.Lookup(n.Prefix) {
				s.say("%s", pathWords(p))
			}
		}
	case "match":
		c, ok := s.t.Match(ip(w.next()))
		if !ok {
			s.say("no route")
		}
		for _, p := range c.Paths {
			s.say("%v: %s", c.Prefix, pathWords(p))
		}
	case "stats":
		s.say("%+v", s.t.Stats())
	case "fill", "read":
		s.fill(cmd, w)
	default:
		in := s.ins[cmd]
		if in == nil {
			return fmt.Errorf("no such peer")
		}
		return s.act(cmd, in, w)
	}
	return nil
}

func (s *stage) table(w *words) (err error) {
	c := Config{AS: 65000, RouterID: ip("10.0.0.1")}
	for len(w.list) > 0 {
		switch x := w.next(); x {
		case "cluster":
			c.ClusterID = ip(w.next())
		case "multipath":
			c.Multipath = w.number()
		case "deferred":
			c.Deferred = true
		case "held":
			c.HoldEndOfRIB = true
		default:
			return fmt.Errorf("what is %q?", x)
		}
	}
	s.t, err = New(c)
	return err
}

// policies that scenarios may name.
var testPolicies = map[string]Policy{
	"on-link":    OnLink(pfx("192.0.2.0/24"), pfx("2001:db8:1::/64")),
	"no-hosts":   Chain(If(PrefixIn(PrefixRange{pfx("0.0.0.0/0"), 32, 32}), RejectAll), AcceptAll),
	"tag":        AddCommunity(wire.NewCommunity(65000, 90)),
	"prefer":     If(HasCommunity(wire.NewCommunity(65000, 90)), SetLocalPref(300)),
	"only-small": If(Not(PrefixIn(PrefixRange{pfx("10.0.0.0/8"), 24, 32})), RejectAll),
}

func (s *stage) peer(w *words) error {
	name := w.next()
	c := PeerConfig{AS: 65000, Addr: ip(w.next())}
	c.RouterID = c.Addr
	for len(w.list) > 0 {
		switch x := w.next(); x {
		case "as":
			c.AS = uint32(w.number())
		case "id":
			c.RouterID = ip(w.next())
		case "client":
			c.Client = true
		case "allow-own-as":
			c.AllowOwnAS = w.number()
		case "max":
			c.MaxPrefixes = w.number()
		case "import":
			c.Import = testPolicies[w.next()]
		default:
			return fmt.Errorf("what is %q?", x)
		}
	}
	if in := s.ins[name]; in != nil {
		return in.Configure(c)
	}
	in, err := s.t.NewIn(c)
	s.ins[name] = in
	return err
}

func (s *stage) session(w *words) error {
	name := w.next()
	c := OutConfig{AS4: true, Families: wire.Families(wire.IPv4Unicast), Notify: func() { s.woken = append(s.woken, name) },
		NextHop4: wire.NextHop{Addr: ip("10.0.0.1")}, NextHop6: wire.NextHop{Addr: ip("2001:db8:1::1")}}
	for len(w.list) > 0 {
		switch x := w.next(); x {
		case "ipv6":
			c.Families = c.Families.With(wire.IPv6Unicast)
		case "add-path":
			c.AddPath = wire.Families(families[:]...)
		case "limit":
			c.AddPathLimit = w.number()
		case "long-lived":
			c.LongLived = true
		case "link-local":
			c.NextHop6.LinkLocal = ip("fe80::1")
		case "two-octet":
			c.AS4 = false
		case "extended-messages":
			c.ExtendedMessages = true
		case "self":
			c.NextHopSelf = true
		case "extended-next-hop":
			c.ExtendedNextHop = true
		case "export":
			c.Export = testPolicies[w.next()]
		default:
			return fmt.Errorf("what is %q?", x)
		}
	}
	if k := s.sinks[name]; k != nil {
		return k.out.Reconfigure(c)
	}
	out, err := s.ins[name].NewOut(c)
	if err != nil {
		return err
	}
	s.sinks[name] = newSink(s.tb, out, c.AddPath, 65536)
	s.sinks[name].two = !c.AS4
	// One that falls behind may be told of the end of a route whose beginning it missed.
	s.sinks[name].strict = s.t.limits.backlog == maxBacklog
	return nil
}

// attrs reads attributes and the next hop.
func (w *words) attrs() (a wire.PathAttrs, nh netip.Addr, err error) {
	for len(w.list) > 0 {
		switch x := w.next(); x {
		case "via":
			nh = ip(w.next())
		case "pref":
			a.LocalPref = ptr(uint32(w.number()))
		case "med":
			a.MED = ptr(uint32(w.number()))
		case "origin":
			a.Origin = map[string]wire.Origin{"igp": 0, "egp": 1, "incomplete": 2}[w.next()]
		case "path":
			for _, f := range strings.Split(w.next(), ",") {
				n, _ := strconv.Atoi(f)
				a.ASPath = append(a.ASPath, uint32(n))
			}
		case "community":
			for _, f := range strings.Split(w.next(), ",") {
				c, ok := map[string]wire.Community{"NO_LLGR": wire.CommunityNoLLGR, "LLGR_STALE": wire.CommunityLLGRStale,
					"NO_EXPORT": wire.CommunityNoExport, "NO_ADVERTISE": wire.CommunityNoAdvertise}[f]
				if !ok {
					if c, err = wire.ParseCommunity(f); err != nil {
						return a, nh, err
					}
				}
				a.Communities = append(a.Communities, c)
			}
		case "originator":
			a.OriginatorID = ip(w.next())
		case "clusters":
			for _, f := range strings.Split(w.next(), ",") {
				a.ClusterList = append(a.ClusterList, ip(f))
			}
		case "long":
			for i := range w.number() {
				a.LargeCommunities = append(a.LargeCommunities, wire.LargeCommunity{Global: 1, Local1: uint32(i)})
			}
		default:
			return a, nh, fmt.Errorf("what is %q?", x)
		}
	}
	return a, nh, nil
}

func (s *stage) originate(w *words) error {
	list := w.prefixes()
	a, nh, err := w.attrs()
	for _, n := range list {
		if err == nil {
			err = s.t.Originate(LocalPath{n.Prefix, n.PathID, wire.NextHop{Addr: nh}, a})
		}
	}
	return err
}

func (s *stage) act(name string, in *In, w *words) error {
	switch verb := w.next(); verb {
	case "announce", "malformed":
		list := w.prefixes()
		a, nh, err := w.attrs()
		if err != nil {
			return err
		}
		u := reachOf(s.tb, !in.external, a, nh, list...)
		if verb == "malformed" {
			in.TreatAsWithdraw(u)
			return nil
		}
		if err := in.Update(u); err != nil {
			s.say("%v", err)
		}
	case "withdraw":
		return in.Update(unreachOf(s.tb, w.prefixes()...))
	case "stale":
		in.MarkStale(w.family())
	case "long-lived":
		in.MarkLongLived(w.family())
	case "sweep":
		in.Sweep(w.family())
	case "end-of-rib":
		in.EndOfRIB(w.family())
	case "drop":
		in.Drop(w.family())
	case "begin-refresh":
		in.BeginRefresh(w.family())
	case "end-refresh":
		in.EndRefresh(w.family())
	case "asks-refresh":
		s.sinks[name].out.Refresh(w.family(), w.next() == "enhanced")
	case "fails":
		in.DropRedundant(w.family())
	case "ends":
		s.sinks[name].out.Close()
		delete(s.sinks, name)
	case "leaves":
		in.Close()
		delete(s.ins, name)
	case "counters":
		s.counters(in.Counters(w.family()))
	case "sent":
		c := s.sinks[name].out.Counters()
		s.say("%d messages, %d announced, %d withdrawn, lagged %d", c.Updates, c.Announced, c.Withdrawn, c.Lagged)
	default:
		return fmt.Errorf("what is %q?", verb)
	}
	return nil
}

func (s *stage) counters(c Counters) {
	s.say("paths %d, stale %d, announced %d, withdrawn %d", c.Paths, c.Stale, c.Announced, c.Withdrawn)
	for r := range reasons {
		if c.Refused[r] > 0 {
			s.say("refused for %v: %d", r, c.Refused[r])
		}
		if c.Dropped[r] > 0 {
			s.say("dropped for %v: %d", r, c.Dropped[r])
		}
	}
}

// fill prints what a session is sent, "read" only what it knows in the end.
func (s *stage) fill(cmd string, w *words) {
	for len(w.list) > 0 {
		name := w.next()
		k := s.sinks[name]
		k.drain()
		lines := k.trace
		if cmd == "read" {
			lines = nil
			for _, n := range sortedNLRI(k.routes) {
				lines = append(lines, n.String()+": "+k.routes[n])
			}
		}
		for _, line := range lines {
			s.say("%s: %s", name, line)
		}
		if len(lines) == 0 {
			s.say("%s: nothing", name)
		}
		k.trace = nil
	}
}

func (s *stage) watchAll(w *words) {
	s.watch = s.t.Watch(WatchConfig{AllPaths: w.next() == "all", Notify: func() { s.woken = append(s.woken, "watcher") }})
}

func (s *stage) next() {
	changes := make([]Change, 8)
	for {
		n, converged := s.watch.Next(changes)
		sort.Slice(changes[:n], func(i, j int) bool { return changes[i].Prefix.Compare(changes[j].Prefix) < 0 })
		for _, c := range changes[:n] {
			if len(c.Paths) == 0 {
				s.say("%v: gone", c.Prefix)
			}
			for _, p := range c.Paths {
				s.say("%v: %s", c.Prefix, pathWords(p))
			}
		}
		if converged {
			s.say("converged")
		}
		if n == 0 {
			return
		}
	}
}

func pathWords(p Path) string {
	from := "from " + p.Peer.String()
	if p.Local {
		from = "local"
	}
	if p.PathID != 0 {
		from += fmt.Sprintf(" #%d", p.PathID)
	}
	if p.Stale {
		from += ", stale"
	}
	if p.Lost != 0 {
		from += fmt.Sprintf(" (lost by %v)", p.Lost)
	}
	return fmt.Sprintf("rank %d, %s, %s", p.Rank, from, describe(p.Attrs.Attrs, p.NextHop))
}

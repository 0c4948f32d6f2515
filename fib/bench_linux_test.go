package fib

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// cpu is the processor time of the process so far, kernel's included.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// kinds of routes to measure.
var benchKinds = []struct {
	name    string
	v6      bool
	hops    int
	classic bool
}{
	{"v4 single", false, 1, false},
	{"v4 classic ECMP", false, 2, true},
	{"v4 group", false, 2, false},
	{"v6 single", true, 1, false},
	{"v6 classic ECMP", true, 2, true},
	{"v6 group", true, 2, false},
}

func benchPrefix(v6 bool, i int) netip.Prefix {
	if v6 {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}), 64)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(16 + i>>16), byte(i >> 8), byte(i), 0}), 24)
}

func (r *rig) benchHops(v6 bool, n int, second bool) []NextHop {
	all := r.via("10.0.0.2", "10.0.1.2", "10.0.0.3", "10.0.1.3")
	if v6 {
		all = r.via("fd00::2", "fd01::2", "fd00::3", "fd01::3")
	}
	if second {
		all = all[2:]
	}
	return slices.Clone(all[:n])
}

// encoded is a set of pre-encoded buffers of at most 64 KiB.
type encoded [][]byte

// verb is what is done to a route.
type verb string

const (
	verbAdd     verb = "add"
	verbReplace verb = "replace"
	verbDelete  verb = "delete"
)

func (r *rig) encode(table uint32, v6 bool, n int, verb verb, want *wire.RouteMessage) (out encoded) {
	typ, flags := uint16(rtnl.RTM_NEWROUTE), uint16(rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL)
	switch verb {
	case verbReplace:
		flags = rtnl.NLM_F_REQUEST | rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE
	case verbDelete:
		typ, flags = rtnl.RTM_DELROUTE, rtnl.NLM_F_REQUEST
	}
	var b []byte
	for i := range n {
		p := benchPrefix(v6, i)
		m := *want
		m.Table, m.Bits, m.Metric = table, uint8(p.Bits()), 0
		if v6 {
			m.Metric = metricIPv6
		}
		m.Hi, m.Lo = wire.PackAddr(p.Addr())
		b = wire.AppendRoute(b, typ, flags, uint32(i), &m, true)
		if len(b) > 65000 {
			out, b = append(out, b), nil
		}
	}
	return append(out, b)
}

// blast sends pre-encoded buffers: the kernel's own cost.
func blast(s *rtnl.Socket, e encoded) (time.Duration, int) {
	start, failed := cpu(), 0
	buf := make([]byte, 1<<16)
	for _, b := range e {
		if err := s.Send(b); err != nil {
			panic(err)
		}
		for {
			if _, err := s.Receive(buf); err != nil {
				break
			}
			failed++
		}
	}
	return cpu() - start, failed
}

// TestSpeed prints the measurements of docs/performance.md. It runs only when
// HYPERFIB_BENCH names a number of routes.
func TestSpeed(t *testing.T) {
	n := 0
	if _, err := fmt.Sscan(os.Getenv("HYPERFIB_BENCH"), &n); err != nil {
		t.Skip("HYPERFIB_BENCH is not set")
	}
	for _, kind := range benchKinds {
		t.Run(strings.ReplaceAll(kind.name, " ", "-"), func(t *testing.T) {
			r := newRig(t, Config{})
			r.Sweep()
			ceiling, err := openSocket(r.ns.Path, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			defer ceiling.Close()
			_ = r.io.Monitor.(*rtnl.Socket).Ignore(r.io.Commands.(*rtnl.Socket).Port(), ceiling.Port())
			both := [2][]NextHop{r.benchHops(kind.v6, kind.hops, false), r.benchHops(kind.v6, kind.hops, true)}
			hops := func(second bool) []NextHop {
				if second {
					return both[1]
				}
				return both[0]
			}
			route := func(i int, second bool) Route {
				return Route{RouteKey: RouteKey{Table: 90, Prefix: benchPrefix(kind.v6, i)}, NextHops: hops(second), RTAMultipath: kind.classic}
			}
			// The forms, learned from one route of each.
			forms := [2]*wire.RouteMessage{}
			for s := range 2 {
				sample := route(1<<23, s == 1)
				if kind.v6 {
					sample.Prefix = netip.MustParsePrefix("3000::/64")
				}
				sample.Metric = 2000 + uint32(s)
				r.set(sample)
				r.flush()
				for status := range r.Routes() {
					if status.RouteKey == sample.RouteKey && status.State == StateInstalled {
						m := messageOf(sample, DefaultProtocol)
						if m.NextHopID = status.NextHopID; m.NextHopID != 0 {
							m.NextHops = nil
						}
						forms[s] = &m
					}
				}
			}
			if forms[0] == nil || forms[1] == nil {
				t.Fatal("no sample")
			}
			for _, table := range []string{"91", "92"} { // a trie of the same shape for all
				r.ns.IP("route add 144.0.0.0/24 via 10.0.0.2 table " + table)
				r.ns.IP("route add 3000::/64 via fd00::2 table " + table)
			}
			var ours, top, alone [3]time.Duration
			verbs := []verb{verbAdd, verbReplace, verbDelete}
			least := func(d *time.Duration, v time.Duration) {
				if *d == 0 || v < *d {
					*d = v
				}
			}
			for range 3 {
				for v, verb := range verbs {
					second := 0
					if verb != verbAdd {
						second = 1
					}
					var failed int
					e := r.encode(91, kind.v6, n, verb, forms[second])
					runtime.GC()
					var took time.Duration
					if took, failed = blast(ceiling, e); failed > 0 {
						t.Errorf("ceiling: %d failed", failed)
					}
					least(&top[v], took)
				}
				for v, verb := range verbs {
					second := verb == verbReplace
					routes := make([]Route, n)
					for i := range routes {
						routes[i] = route(i, second)
					}
					runtime.GC()
					var m0, m1 runtime.MemStats
					runtime.ReadMemStats(&m0)
					start := cpu()
					for i := range routes {
						if verb == verbDelete {
							r.DeleteRoute(routes[i].RouteKey)
						} else if err := r.SetRoute(routes[i]); err != nil {
							t.Fatal(err)
						}
					}
					r.flush()
					least(&ours[v], cpu()-start)
					runtime.ReadMemStats(&m1)
					if verb == verbAdd {
						t.Logf("%s: %.3f allocs a route", kind.name, float64(m1.Mallocs-m0.Mallocs)/float64(n))
					}
					routes = nil
				}
				for v, d := range r.writerAlone(t, ceiling, kind.v6, n, forms) {
					least(&alone[v], d)
				}
			}
			sum := func(d [3]time.Duration) float64 { return (d[0] + d[1] + d[2]).Seconds() }
			t.Logf("%s all: writer %.2fx", kind.name, sum(alone)/sum(top))
			for v, verb := range verbs {
				t.Logf("%s %-7v ceiling %6.0fk/s  writer %.2fx  desired to kernel %.2fx", kind.name, verb,
					float64(n)/top[v].Seconds()/1000, alone[v].Seconds()/top[v].Seconds(), ours[v].Seconds()/top[v].Seconds())
			}
		})
	}
}

// writerAlone measures the writer without the map: operations are encoded, sent in
// batches of the configured size, and drained.
func (r *rig) writerAlone(t *testing.T, s *rtnl.Socket, v6 bool, n int, forms [2]*wire.RouteMessage) (took [3]time.Duration) {
	w := rtnl.NewWriter(s)
	prefixes := make([]netip.Prefix, n)
	for i := range prefixes {
		prefixes[i] = benchPrefix(v6, i)
	}
	for v, verb := range []verb{verbAdd, verbReplace, verbDelete} {
		f, typ, flags := forms[0], uint16(rtnl.RTM_NEWROUTE), uint16(rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL)
		switch verb {
		case verbReplace:
			f, flags = forms[1], rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_REPLACE
		case verbDelete:
			f, typ, flags = forms[1], rtnl.RTM_DELROUTE, rtnl.NLM_F_REQUEST
		}
		m := *f
		m.Table, m.Metric = 92, 0
		if v6 {
			m.Metric = metricIPv6
		}
		runtime.GC()
		start := cpu()
		for i := 0; i < n; {
			w.Reset()
			for ; i < n && w.Len() < r.config.BatchMessages; i++ {
				m.Bits = uint8(prefixes[i].Bits())
				m.Hi, m.Lo = wire.PackAddr(prefixes[i].Addr())
				w.Add(wire.AppendRoute(w.Buffer(), typ, flags, w.Seq(), &m, true))
			}
			if _, err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			for j := range w.Len() {
				if w.Err(j) != nil {
					t.Fatal(w.Err(j))
				}
			}
		}
		took[v] = cpu() - start
	}
	return took
}

func TestSpeedReconcile(t *testing.T) {
	n := 0
	if _, err := fmt.Sscan(os.Getenv("HYPERFIB_BENCH"), &n); err != nil {
		t.Skip("HYPERFIB_BENCH is not set")
	}
	for _, v6 := range []bool{false, true} {
		r := newRig(t, Config{})
		routes := make([]Route, n)
		hops := r.benchHops(v6, 2, false)
		for i := range routes {
			routes[i] = Route{RouteKey: RouteKey{Table: 90, Prefix: benchPrefix(v6, i)}, NextHops: hops}
		}
		runtime.GC()
		var m0, m1 runtime.MemStats
		runtime.ReadMemStats(&m0)
		r.set(routes...)
		r.flush()
		runtime.GC()
		runtime.ReadMemStats(&m1)
		t.Logf("v6 %v: %.0f octets of heap a desired route", v6, float64(m1.HeapAlloc-m0.HeapAlloc)/float64(n))
		for _, size := range []int{1000, 10000, 100000, n} {
			if size > n {
				continue
			}
			// failover with that many routes on the group
			_ = size
		}
		start := time.Now()
		r.GatewayDown(int(hops[0].IfIndex), hops[0].Gateway)
		for len(r.NextHops()) != 1 {
			time.Sleep(50 * time.Microsecond)
		}
		t.Logf("v6 %v: failover of %d routes: %v", v6, n, time.Since(start))
		start = time.Now()
		r.GatewayUp(int(hops[0].IfIndex), hops[0].Gateway)
		r.flush()
		t.Logf("v6 %v: repair of %d routes: %v", v6, n, time.Since(start))
		r.stop()
		runtime.GC()
		// dump alone
		s, _ := openSocket(r.ns.Path, 1<<20)
		c0 := cpu()
		family := FamilyIPv4
		if v6 {
			family = FamilyIPv6
		}
		buf := make([]byte, 1<<16)
		_ = netns.Do
		if err := s.Dump(fibcore.RouteDump(wire.Family(family), 0, 201), buf, func(b []byte) (bool, error) {
			done, _, err := rtnl.WalkDump(b, func(rtnl.Message) {})
			return done, err
		}); err != nil {
			t.Fatal(err)
		}
		dump := cpu() - c0
		s.Close()
		runtime.ReadMemStats(&m0)
		c0, start = cpu(), time.Now()
		r.start(Config{NetNS: r.ns.Path})
		c1 := cpu()
		r.set(routes...)
		r.Sweep()
		r.flush()
		total := cpu() - c0
		wall := time.Since(start)
		runtime.ReadMemStats(&m1)
		s2 := r.Stats()
		t.Logf("v6 %v: reconcile %d unchanged: CPU %v (kernel dump alone %v, adopt %v, compare %v) wall %v; %.2f us a route without the kernel's; %.3f allocs; writes %d", v6, n,
			total, dump, c1-c0, total-(c1-c0), wall, float64((total-dump).Microseconds())/float64(n), float64(m1.Mallocs-m0.Mallocs)/float64(n), s2.Adds+s2.Replaces+s2.Deletes+s2.ObjectWrites)
		r.stop()
	}
}

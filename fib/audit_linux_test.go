package fib

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// deaf is a monitor socket that drops what it receives while off is false.
type deaf struct {
	kernel.Socket
	off atomic.Bool
}

func (d *deaf) Receive(b []byte) (int, error) {
	for {
		if n, err := d.Socket.Receive(b); err != nil || d.off.Load() {
			return n, err
		}
	}
}

// newDeafRig is a rig whose FIB is notified of nothing while the monitor's off is false.
func newDeafRig(t testing.TB, config Config) (*rig, *deaf) {
	r := newRig(t, Config{})
	r.stop()
	d := &deaf{}
	d.off.Store(true)
	config.NetNS = r.ns.Path
	f, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	r.run(kernel.With(context.Background(), config.NetNS, opener(func(netns string, protocols ...uint8) (h kernel.Handles, err error) {
		h, err = linux{}.Open(netns, protocols...)
		d.Socket = h.Monitor
		h.Monitor = d
		return h, err
	})), f)
	return r, d
}

// differences collects what an audit finds.
func differences(r *rig) (found func() []string) {
	w := r.Watch(WatchOptions{Buffer: 1 << 16})
	r.Cleanup(w.Close)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var list []string
	return func() []string {
		buf := make([]Event, 100)
		for {
			n, err := w.Next(ctx, buf)
			for _, e := range buf[:n] {
				if e.Kind == EventDifference {
					list = append(list, strings.TrimSpace(fmt.Sprintf("%s %v%s", e.Op, e.Key, e.Link.Interface)))
				}
			}
			if err != nil || n == 0 {
				return list
			}
		}
	}
}

// auditRest is how long an audit may take to come round: after each slice it rests 99 times as long as that took by the clock,
// on a machine that is busy with other things as well, but never longer than a minute.
const auditRest = 2 * time.Minute

// TestAudit has other programs change what the FIB is not notified of: the audit names each change, and
// what is ours is put back.
func TestAudit(t *testing.T) {
	r, monitor := newDeafRig(t, Config{AuditRound: 300 * time.Millisecond, Tables: []uint32{90}})
	r.set(
		Route{RouteKey: key(90, "10.5.0.0/16", 0), NextHops: r.via("10.0.0.2", "10.0.1.2")},
		Route{RouteKey: key(90, "10.6.0.0/16", 0), NextHops: r.via("10.0.0.2")},
		Route{RouteKey: key(90, "2001:db8:1::/64", 0), NextHops: r.via("fd00::2")},
		Route{RouteKey: key(90, "2001:db8:2::/64", 0), NextHops: r.via("fd00::2", "fd01::2"), RTAMultipath: true},
	)
	if err := r.SetRule(Rule{Family: FamilyIPv4, Priority: 99, Table: 90}); err != nil {
		t.Fatal(err)
	}
	if err := r.SetAddress(Address{IfIndex: r.link[0], Prefix: netip.MustParsePrefix("203.0.113.1/32")}); err != nil {
		t.Fatal(err)
	}
	if err := r.SetNeighbor(Neighbor{IfIndex: r.link[0], Addr: netip.MustParseAddr("10.0.0.77"), MAC: [6]byte{2, 0, 0, 0, 0, 7}}); err != nil {
		t.Fatal(err)
	}
	r.Sweep()
	r.flush()
	state := func() string {
		return strings.Join(append(r.routes("", "90"), r.routes("-6", "90")...), "\n") + "\n" + r.ns.IP("rule") +
			r.ns.IP("address show dev v0 to 203.0.113.1") + r.ns.IP("neigh show nud permanent dev v0")
	}
	want := state()
	id := func() string {
		for _, o := range r.NextHops() {
			if o.IfIndex == r.link[0] {
				return uitoa(o.ID)
			}
		}
		return "0"
	}
	found := differences(r)
	for _, c := range []struct{ do, found string }{
		{"route del 10.5.0.0/16 table 90", "missing 10.5.0.0/16 table 90"},
		{"route del 10.6.0.0/16 table 90", "missing 10.6.0.0/16 table 90"},
		{"route replace 10.6.0.0/16 via 10.0.0.3 table 90 proto 201", "changed 10.6.0.0/16 table 90"},
		{"route replace 10.6.0.0/16 via 10.0.0.3 table 90 proto static", "stolen 10.6.0.0/16 table 90"},
		{"route append 10.6.0.0/16 via 10.0.0.3 table 90 proto 201", "extra 10.6.0.0/16 table 90"},
		{"route add 10.7.0.0/16 via 10.0.0.3 table 90 proto 201", "extra 10.7.0.0/16 table 90"},
		{"-6 route del 2001:db8:1::/64 table 90", "missing 2001:db8:1::/64 table 90 metric 1024"},
		{"-6 route replace 2001:db8:1::/64 via fd00::3 table 90 proto 201", "changed 2001:db8:1::/64 table 90 metric 1024"},
		{"-6 route del 2001:db8:2::/64 table 90", "missing 2001:db8:2::/64 table 90 metric 1024"},
		{"rule del priority 99", "missing 99: from all lookup 90"},
		{"rule add priority 98 table 91 protocol 201", "extra 98: from all lookup 91"},
		{"address del 203.0.113.1/32 dev v0", "missing address 203.0.113.1/32"},
		{"neigh del 10.0.0.77 dev v0", "missing neighbor 10.0.0.77"},
		{"neigh replace 10.0.0.77 lladdr 02:00:00:00:00:08 dev v0 nud permanent", "changed neighbor 10.0.0.77"},
		{"nexthop del id ID", "missing next-hop object"},
		{"nexthop replace id ID via 10.0.0.3 dev v0 proto 201", "changed next-hop object"},
		{"link set v0 down", "changed <nil>v0"},
	} {
		before := len(found())
		monitor.off.Store(false)
		r.ns.IP(strings.ReplaceAll(c.do, "ID", id()))
		named := func() bool {
			return strings.Contains(strings.Join(found()[before:], "\n"), c.found)
		}
		if !nstest.Promptly(auditRest, named) {
			t.Errorf("%s: found %q, want %q", c.do, found()[before:], c.found)
		}
		monitor.off.Store(true)
		if strings.HasPrefix(c.do, "link") {
			r.ns.IP("link set v0 up")
		}
		if !nstest.Promptly(10*time.Second, func() bool { return state() == want }) {
			t.Fatalf("%s: have\n%s\nwant\n%s", c.do, state(), want)
		}
	}
	t.Logf("%d rounds, %v", r.Stats().AuditRounds, r.Stats().AuditTime)
}

// TestAuditQuiet has the FIB and other programs change much while rounds follow each other: what is
// notified is no difference.
func TestAuditQuiet(t *testing.T) {
	r := newRig(t, Config{AuditRound: time.Millisecond})
	r.Sweep()
	found := differences(r)
	var routes []Route
	for i := range 3000 {
		routes = append(routes, Route{RouteKey: RouteKey{Table: 90, Prefix: benchPrefix(i%2 == 0, i)}, NextHops: r.benchHops(i%2 == 0, 1+i%3/2, false)})
	}
	r.set(routes...)
	r.flush()
	for i := 0; r.Stats().AuditRounds < 20 && i < 3000; i++ {
		k := i * 7 % len(routes)
		switch i % 5 {
		case 0:
			_ = r.DeleteRoute(routes[k].RouteKey)
		case 1:
			if len(routes[k].NextHops) == 1 { // of groups the kernel confuses the MTUs: see doc.go, Limits
				routes[k].MTU = 1300 + uint32(i%2)
			}
			r.set(routes[k])
		case 2:
			r.set(routes[(k+1)%len(routes)])
		case 3:
			r.ns.Exec("sh", "-c", fmt.Sprintf("ip route del %v table 90 || true", routes[k].Prefix))
		default:
			r.ns.Exec("sh", "-c", "ip rule add priority 7 table 9; ip rule del priority 7; ip address add 192.0.2.9/32 dev v1; ip address del 192.0.2.9/32 dev v1")
		}
	}
	s := r.Stats()
	if s.AuditRounds < 3 {
		t.Errorf("%d rounds only", s.AuditRounds)
	}
	if d := found(); len(d) > 0 || s.Differences > 0 {
		t.Errorf("found %q", d)
	}
	t.Logf("%d rounds, %v", s.AuditRounds, s.AuditTime)
}

// TestSpeedAudit prints what a round costs; see TestSpeed.
func TestSpeedAudit(t *testing.T) {
	n := 0
	if _, err := fmt.Sscan(os.Getenv("HYPERFIB_BENCH"), &n); err != nil {
		t.Skip("HYPERFIB_BENCH is not set")
	}
	for _, v6 := range []bool{false, true} {
		r, monitor := newDeafRig(t, Config{AuditRound: time.Second})
		for i := range n {
			r.set(Route{RouteKey: RouteKey{Table: 90, Prefix: benchPrefix(v6, i)}, NextHops: r.benchHops(v6, 2, false)})
		}
		r.Sweep()
		r.flush()
		for before := r.Stats().AuditRounds; r.Stats().AuditRounds == before; {
			time.Sleep(100 * time.Millisecond)
		}
		a, start, c0 := r.Stats(), time.Now(), cpu()
		for r.Stats().AuditRounds == a.AuditRounds {
			time.Sleep(100 * time.Millisecond)
		}
		b := r.Stats()
		t.Logf("v6 %v, %d routes: a round takes %v, of which reading %v (%.2f %%), CPU %v", v6, n, time.Since(start).Round(time.Millisecond), b.AuditTime-a.AuditTime, 100*float64(b.AuditTime-a.AuditTime)/float64(time.Since(start)), cpu()-c0)
		found := differences(r)
		monitor.off.Store(false)
		ip := "route del "
		if v6 {
			ip = "-6 route del "
		}
		for i := range 3 {
			r.ns.IP(ip + benchPrefix(v6, i*n/3).String() + " table 90")
		}
		start = time.Now()
		for len(found()) < 3 {
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("v6 %v: three routes were missed after %v: %v", v6, time.Since(start), found())
		r.stop()
	}
}

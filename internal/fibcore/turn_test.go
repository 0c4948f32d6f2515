package fibcore

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// batch is a kernel that accepts everything.
type batch struct{ b [][]byte }

func (b *batch) Buffer() []byte  { return nil }
func (b *batch) Seq() uint32     { return uint32(len(b.b)) }
func (b *batch) Add(m []byte)    { b.b = append(b.b, m) }
func (b *batch) Len() int        { return len(b.b) }
func (b *batch) Err(i int) error { return nil }

// turn lets a core write what it can.
func turn(c *Core, now time.Time) (n int) {
	for s := StepFailover; s <= StepRoutes; s++ {
		for more := true; more; {
			b := &batch{}
			if c.Plan(s, b, now) == 0 {
				break
			}
			n += b.Len()
			more = c.Commit(s, b, false, now)
		}
	}
	c.Finish(now)
	return n
}

// ready makes a core that has read a kernel with two interfaces and nothing else.
func ready(t testing.TB, config Config) *Core {
	c, now := New(config, func(Event) {}), time.Unix(1000, 0)
	r := c.StartFirstReading(now)
	for request := r.Next(now); request != nil; request = r.Next(now) {
		r.Pass()
		for m := range rtnl.Messages(request) {
			for i := byte(2); m.Type == rtnl.RTM_GETLINK && i < 4; i++ {
				body := make([]byte, rtnl.SizeLink)
				body[4], body[8], body[10] = i, rtnl.IFF_UP|rtnl.IFF_RUNNING, rtnl.IFF_LOWER_UP>>16
				r.Row(rtnl.Message{Type: rtnl.RTM_NEWLINK, Body: rtnl.AppendString(body, rtnl.IFLA_IFNAME, "v"+string('0'+i))}, now)
			}
		}
		if err := r.End(Complete, nil, now); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestContentsForgotten: what routes said is forgotten with them.
func TestContentsForgotten(t *testing.T) {
	c, now := ready(t, testConfig), time.Unix(1000, 0)
	for i := range 20000 {
		r := Route{RouteKey: wire.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("10.1.0.0/16")}, NextHops: []NextHop{{IfIndex: 2}}, MTU: uint32(1000 + i)}
		if err := c.SetRoute(&r); err != nil {
			t.Fatal(err)
		}
		if n := turn(c, now); n != 1 {
			t.Fatalf("%d messages", n)
		}
	}
	if n := len(c.contents.intern.forms) + len(c.contents.intern.wants); n > 3000 {
		t.Errorf("%d contents for one route", n)
	}
}

// testConfig has the defaults of package fib.
var testConfig = Config{Protocol: 201, PersistentProtocol: 202, NextHopBase: 0x48460000, NextHopCount: 1 << 20, Audit: 5 * time.Second, BatchMessages: 500}

// TestStandstill: a machine that stands still while next hops are read again does not keep groups from being written for long.
func TestStandstill(t *testing.T) {
	audited := testConfig
	audited.AuditRound = 30 * time.Second
	c, now := ready(t, audited), time.Unix(2000, 0)
	read := func(ends time.Time) {
		t.Helper()
		c.env.rereads.nextHops.request()
		r := c.StartReading(now)
		if r == nil {
			t.Fatal("nothing is read")
		}
		for request := r.Next(now); request != nil; request = r.Next(now) {
			r.Pass()
			now = ends
			if err := r.End(Complete, nil, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	read(now.Add(45 * time.Second))
	err := c.SetRoute(&Route{RouteKey: wire.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("10.1.0.0/16")}, NextHops: []NextHop{{IfIndex: 2}, {IfIndex: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(mostPause)
	read(now)
	if turn(c, now) == 0 || c.Stats(now).Installed != 1 {
		t.Errorf("the route is not written: %+v", c.Stats(now))
	}
	s := c.StartSlice(now.Add(time.Hour))
	s.End(now.Add(time.Hour + 45*time.Second)) // the same for the audit
	if c.StartSlice(now.Add(time.Hour+45*time.Second+mostRest)) == nil {
		t.Error("nothing is audited")
	}
}

// TestMemory: what package fib says that a route costs.
func TestMemory(t *testing.T) {
	c, now := ready(t, testConfig), time.Unix(1000, 0)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const n = 500_000
	hops := []NextHop{{IfIndex: 2}, {IfIndex: 3}}
	for i := range uint32(n) {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		if err := c.SetRoute(&Route{RouteKey: wire.RouteKey{Table: 90, Prefix: p}, NextHops: hops}); err != nil {
			t.Fatal(err)
		}
	}
	for turn(c, now) > 0 {
	}
	if s := c.Stats(now); s.Installed != n {
		t.Fatalf("%+v", s)
	}
	if each := (heap() - before) / n; each > 70 {
		t.Errorf("a route costs %d octets", each)
	} else {
		t.Logf("%d octets a route", each)
	}
	runtime.KeepAlive(c)
}

package fib

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// churn lets another program make and delete next-hop objects as fast as the kernel can,
// until the returned function is called.
func (r *rig) churn(workers int) (stop func()) {
	var done atomic.Bool
	var busy sync.WaitGroup
	for n := range workers {
		s, err := openSocket(r.ns.Path, 1<<20)
		if err != nil {
			r.Fatal(err)
		}
		hop := wire.NextHopMessage{Protocol: 4, Family: wire.FamilyIPv4, Gateway: r.via("10.0.0.9")[0].Gateway, IfIndex: int32(r.link[0])}
		busy.Go(func() {
			defer s.Close()
			for w := rtnl.NewWriter(s); !done.Load(); {
				w.Reset()
				for range 50 {
					m := hop
					m.ID = uint32(7 + n)
					w.Add(wire.AppendNextHop(w.Buffer(), rtnl.NLM_F_CREATE, w.Seq(), &m))
					w.Add(wire.AppendDelNextHop(w.Buffer(), w.Seq(), uint32(7+n)))
				}
				_, _ = w.Flush()
			}
		})
	}
	return func() { done.Store(true); busy.Wait() }
}

// TestStartBesideChurn: somebody changes next-hop objects all the time, so that the
// kernel calls every dump of them interrupted. A start writes nothing all the same, since
// everything is right.
func TestStartBesideChurn(t *testing.T) {
	r := newRig(t, Config{})
	var routes []Route
	for i := range 12000 { // a group each
		hops := r.via("10.0.0.2", "10.0.1.2")
		hops[0].Weight, hops[1].Weight = uint16(1+i%200), uint16(1+i/200)
		routes = append(routes, Route{RouteKey: RouteKey{Table: 90, Prefix: benchPrefix(false, i)}, NextHops: hops})
	}
	r.set(routes...)
	r.Sweep()
	r.flush()
	r.stop()
	stop := r.churn(2)
	defer stop()
	r.start(Config{NetNS: r.ns.Path})
	r.set(routes...)
	r.Sweep()
	r.flush()
	s := r.Stats()
	if s.Adds+s.Replaces+s.Deletes+s.ObjectWrites != 0 || s.Installed != len(routes) {
		t.Errorf("%+v", s)
	}
	t.Logf("%+v", s)
}

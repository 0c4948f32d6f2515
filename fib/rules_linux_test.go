package fib

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// ruleCount reads the rules of the kernel that equal r and have our protocol.
func ruleCount(t testing.TB, s *rtnl.Socket, r Rule) (n int) {
	t.Helper()
	for again := true; again; {
		n, again = 0, false
		var body [rtnl.SizeRule]byte
		body[0] = byte(r.Family)
		err := s.Dump(rtnl.DumpRequest(rtnl.RTM_GETRULE, body[:]...), make([]byte, 1<<16), func(b []byte) (bool, error) {
			done, interrupted, err := rtnl.WalkDump(b, func(m rtnl.Message) {
				var k wire.KernelRule
				if m.Type == rtnl.RTM_NEWRULE && k.Parse(m.Body) == nil && k.Rule == coreRule(r).Normal() && k.Protocol == DefaultProtocol {
					n++
				}
			})
			again = again || interrupted
			return done, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// unclear is how long something may be unknown, so that nothing is written: reading takes a tenth of the time at most, by the
// clock, on a machine that has no time for it as well, but a pause between two readings is never longer than 5 s.
const unclear = 10 * time.Second

// TestRulesWhileOthersChangeThem starts a FIB again and again while another program, with
// our protocol number, adds and removes the very rules that it wants. At rest there is
// one of each, never none.
func TestRulesWhileOthersChangeThem(t *testing.T) {
	if testing.Short() {
		t.Skip("namespaces take time; not with -short")
	}
	ns := nstest.New(t, "rules")
	look, err := openSocket(ns.Path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	other, err := openSocket(ns.Path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	wanted := []Rule{{Family: FamilyIPv4, Priority: 99, Table: 90}, {Family: FamilyIPv4, Priority: 100, Table: 91}, {Family: FamilyIPv6, Priority: 99, Table: 90}}
	for round := range 1000 {
		r := rand.New(rand.NewPCG(uint64(round), 0))
		w := rtnl.NewWriter(other)
		var busy sync.WaitGroup
		busy.Go(func() {
			for range 1 + r.IntN(60) {
				w.Reset()
				rule := wanted[r.IntN(len(wanted))].normal()
				if r.IntN(2) == 0 {
					w.Add(wire.AppendRule(w.Buffer(), rtnl.RTM_NEWRULE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE, w.Seq(), coreRule(rule), DefaultProtocol))
				} else {
					w.Add(wire.AppendRule(w.Buffer(), rtnl.RTM_DELRULE, rtnl.NLM_F_REQUEST, w.Seq(), coreRule(rule), DefaultProtocol))
				}
				_, _ = w.Flush()
				if d := r.IntN(3); d > 0 {
					time.Sleep(time.Duration(r.IntN(50*d)) * time.Microsecond)
				}
			}
		})
		f, err := New(Config{NetNS: ns.Path})
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range wanted {
			if err := f.SetRule(rule); err != nil {
				t.Fatal(err)
			}
		}
		f.Sweep()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		busy.Wait()
		last := round%50 == 49 // wait for the duplicates to go, which takes a second, now and then only
		right := func() bool {
			for _, rule := range wanted {
				if n := ruleCount(t, look, rule); n < 1 || last && n > 1 {
					return false
				}
			}
			return !last || len(f.Diff()) == 0
		}
		if !nstest.Promptly(unclear, right) {
			for _, rule := range wanted {
				t.Errorf("%v: %d times", rule, ruleCount(t, look, rule))
			}
			t.Fatalf("round %d: diff %v, stats %+v", round, f.Diff(), f.Stats())
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

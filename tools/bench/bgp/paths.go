package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// paths has one client announce n paths of one prefix, an UPDATE each, and withdraw them
// again, and another one announce routes of its own meanwhile, one at a time. A third one
// takes all paths, a fourth one only the best. Wall is the longest that a route of the
// second client took to the fourth.
func paths(n int) func(*trial) error {
	return func(t *trial) error {
		both := wire.Families(wire.IPv4Unicast)
		var ss []*session
		defer func() { closeAll(ss) }()
		for i, addPath := range []wire.FamilySet{both, 0, both, 0} {
			s, err := connectWith(i, 1<<20, false, addPath)
			if err != nil {
				return err
			}
			ss = append(ss, s)
		}
		flood, other, all, best := ss[0], ss[1], ss[2], ss[3]
		time.Sleep(300 * time.Millisecond)
		t.begin()
		var w waits
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { w.probe(other, best, stop) })
		defer func() { close(stop); wg.Wait() }()
		order := rand.New(rand.NewPCG(1, 2)).Perm(n)
		for round, stream := range [][]byte{manyPaths(flood.id, order), fewerPaths(order)} {
			began := time.Now()
			if _, err := flood.conn.Write(stream); err != nil {
				return err
			}
			if err := awaitPaths(all, n*(1-round), flood, 120*time.Second); err != nil {
				return err
			}
			median, most := w.take()
			t.res.Note += fmt.Sprintf("%s after %.2f s, others wait %.1f ms (median) to %.1f ms; ", [...]string{"there", "gone"}[round],
				time.Since(began).Seconds(), median.Seconds()*1e3, most.Seconds()*1e3)
			t.res.Wall = max(t.res.Wall, most.Seconds())
		}
		res := t.res
		t.end()
		t.res.Wall = res.Wall
		return nil
	}
}

// awaitPaths waits until a session has n paths of the prefix of manyPaths.
func awaitPaths(s *session, n int, feeder *session, limit time.Duration) error {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err := feeder.alive(); err != nil {
			return fmt.Errorf("the feeder: %w", err)
		}
		if int(s.many.Load()) == n {
			return nil
		}
	}
	return fmt.Errorf("%v has %d of %d paths after %v", s.id, s.many.Load(), n, limit)
}

// waits are how long routes took.
type waits struct {
	mu   sync.Mutex
	took []time.Duration
}

// probe announces routes from one session, one after the other, and notes how long each takes
// to another.
func (w *waits) probe(from, to *session, stop <-chan struct{}) {
	for i := 1; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		m := table(from.id, i, 1, 1, true)
		began := time.Now()
		if _, err := from.conn.Write(m); err != nil {
			return
		}
		for !to.hasPrefix(i) {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
		w.mu.Lock()
		w.took = append(w.took, time.Since(began))
		w.mu.Unlock()
		time.Sleep(2 * time.Millisecond)
	}
}

// take returns the median and the longest, and begins again.
func (w *waits) take() (median, longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.took) == 0 {
		return 0, 0
	}
	slices.Sort(w.took)
	median, longest = w.took[len(w.took)/2], w.took[len(w.took)-1]
	w.took = w.took[:0]
	return median, longest
}

// manyPrefix is the prefix of manyPaths.
var manyPrefix = netip.MustParsePrefix("19.0.0.0/24")

// manyPaths encodes a path of one prefix for each of the identifiers, with a few different
// attributes.
func manyPaths(from netip.Addr, ids []int) (stream []byte) {
	b := wire.Builder{AS4: true, AddPath: wire.Families(wire.IPv4Unicast)}
	for _, id := range ids {
		pref := uint32(100 + id%7)
		attrs := (&wire.PathAttrs{ASPath: []uint32{64512, uint32(4200000000 + id%100)}, LocalPref: &pref}).Append(nil)
		b.Reach(stream, wire.IPv4Unicast, attrs, nextHop(from))
		b.Add(wire.NLRI{Prefix: manyPrefix, PathID: uint32(id + 1)})
		stream = b.Finish()
	}
	return stream
}

func fewerPaths(ids []int) (stream []byte) {
	b := wire.Builder{AS4: true, AddPath: wire.Families(wire.IPv4Unicast)}
	for _, id := range ids {
		b.Unreach(stream, wire.IPv4Unicast)
		b.Add(wire.NLRI{Prefix: manyPrefix, PathID: uint32(id + 1)})
		stream = b.Finish()
	}
	return stream
}

package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// result is what one run of one row gave.
type result struct {
	Wall, CPU float64 // seconds
	RSS, Peak float64 // MiB: at the end, and at the worst moment
	Start     float64 // MiB, with the sessions up
	Updates   int     `json:",omitempty"` // that a sink got
	Note      string  `json:",omitempty"`
	Err       string  `json:",omitempty"`
}

// row is a line of the table.
type row struct {
	name, title string
	run         func(*trial) error
	// must says why ours is not good enough, "" if it is; bird has Err set if BIRD
	// was not measured.
	must func(ours, bird result) string
}

// trial is one run of one row against one reflector.
type trial struct {
	d    *dut
	pids []int
	from usage
	t0   time.Time
	res  result
}

// begin starts the clock: sessions are up.
func (t *trial) begin() {
	t.pids = t.d.pids()
	t.from = measure(t.pids)
	t.res.Start = t.from.rss
	t.t0 = time.Now()
}

// end stops it.
func (t *trial) end() {
	t.res.Wall = time.Since(t.t0).Seconds()
	u := measure(t.pids)
	t.res.CPU, t.res.RSS, t.res.Peak = (u.cpu - t.from.cpu).Seconds(), u.rss, u.peak
}

// idle waits until everything sent was taken and the reflector has stopped working,
// and ends the clock at the last moment at which it still did.
func (t *trial) idle(feeders ...*session) {
	busy, last := time.Now(), measure(t.pids)
	for time.Since(busy) < 250*time.Millisecond {
		time.Sleep(10 * time.Millisecond)
		u := measure(t.pids)
		if u.cpu != last.cpu {
			busy, last = time.Now(), u
		}
		for _, f := range feeders {
			if f.unsent() > 0 {
				busy = time.Now()
			}
		}
	}
	t.end()
	t.res.Wall = busy.Sub(t.t0).Seconds()
}

func ratio(limit float64) func(ours, bird result) string {
	return func(ours, bird result) string {
		if bird.Err != "" || bird.CPU == 0 {
			return "" // nothing to compare with
		}
		if r := ours.CPU / bird.CPU; r > limit {
			return fmt.Sprintf("%.1fx BIRD's CPU, limit %gx", r, limit)
		}
		return ""
	}
}

func most(what string, v func(result) float64, limit float64) func(ours, bird result) string {
	return func(ours, _ result) string {
		if x := v(ours); x > limit {
			return fmt.Sprintf("%s %.3g, limit %g", what, x, limit)
		}
		return ""
	}
}

func all(ff ...func(ours, bird result) string) func(ours, bird result) string {
	return func(ours, bird result) string {
		for _, f := range ff {
			if s := f(ours, bird); s != "" {
				return s
			}
		}
		return ""
	}
}

func wall(r result) float64  { return r.Wall }
func cpu(r result) float64   { return r.CPU }
func rss(r result) float64   { return r.RSS }
func grown(r result) float64 { return r.RSS - r.Start }

var rows = []row{
	{"receive1", "receive 500k, 1 NLRI an UPDATE", receive(500_000, 500, false), ratio(3)},
	{"receive", "receive 1M, packed", receive(1_000_000, 1000, true), all(ratio(4), most("MiB", rss, 250))},
	{"attrs", "100k routes, 100k attribute sets", receive(100_000, 1, false), most("MiB", rss, 100)},
	{"reflect", "reflect 500k packed to 1", reflect(500_000, 1), ratio(3)},
	{"reflect6", "reflect 500k IPv6 packed to 1", six(reflect(500_000, 1)), ratio(3)},
	{"evpn", "reflect 100k EVPN MAC routes of 100 VNIs to 1", overlay(reflect(100_000, 1)), nil},
	{"reflect8", "reflect 100k to 8", reflect(100_000, 8), ratio(1)},
	{"fleet", "200 clients x 50 routes, all to all", fleet(200, 50), all(most("seconds", wall, 1.5), most("CPU seconds", cpu, 1), most("MiB", rss, 80))},
	{"fleet1000", "1,000 clients x 20 routes, all to all", fleet(1000, 20), nil},
	{"up", "200 sessions up at once", up(200), most("seconds", wall, 1)},
	{"drop", "feeder of 100k drops: withdrawn at the sink", drop(100_000), most("seconds", wall, .3)},
	{"burst", "100k in single UPDATEs: first one at the sink", burst(100_000), all(most("seconds to the first UPDATE", wall, .020), most("UPDATEs", func(r result) float64 { return float64(r.Updates) }, 10_000))},
	{"memory", "MiB left 10 s after 1M came and were withdrawn", memory(1_000_000), most("MiB more than before", grown, 4)},
	{"memory100k", "the same for 100k", memory(100_000), most("MiB more than before", grown, 4)},
	{"latency", "one route, to the sink: median of 300", latency(300), most("seconds", wall, .005)},
	{"paths", "one client announces 20,000 paths of one prefix, and withdraws them one by one; another's routes wait at most", paths(20_000), most("seconds that others wait", wall, .02)},
	{"deaf", "reflect 500k to 1, beside one that never reads", deaf(500_000), nil},
}

func rowNames() (names []string) {
	for _, r := range slices.Concat(rows, scaleRows) {
		names = append(names, r.name)
	}
	return names
}

func receive(n, per int, packed bool) func(*trial) error {
	return func(t *trial) error {
		f, err := connect(0, 0, false)
		if err != nil {
			return err
		}
		defer f.conn.Close()
		stream := table(f.id, 0, n, per, packed)
		t.begin()
		if _, err := f.conn.Write(stream); err != nil {
			return err
		}
		t.idle(f)
		return f.alive()
	}
}

func (s *session) alive() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// reflect feeds n prefixes to some sinks.
func reflect(n, sinks int) func(*trial) error {
	return func(t *trial) error {
		f, ss, err := world(n, sinks, 0)
		if err != nil {
			return err
		}
		defer closeAll(append(ss, f))
		stream := table(f.id, 0, n, 1000, true)
		t.begin()
		if _, err := f.conn.Write(stream); err != nil {
			return err
		}
		err = awaitAll(ss, n)
		t.end()
		t.res.Updates = int(ss[0].updates.Load())
		return err
	}
}

// six is f with IPv6 routes.
func six(f func(*trial) error) func(*trial) error {
	return func(t *trial) error {
		family = wire.IPv6Unicast
		defer func() { family = wire.IPv4Unicast }()
		return f(t)
	}
}

// world is a feeder, sinks and deaf sinks.
func world(n, sinks, deaf int) (f *session, ss []*session, err error) {
	if f, err = connect(0, n, false); err != nil {
		return nil, nil, err
	}
	for i := range sinks + deaf {
		s, err := connect(i+1, n, i >= sinks)
		if err != nil {
			return nil, nil, err
		}
		ss = append(ss, s)
	}
	time.Sleep(300 * time.Millisecond) // initial End-of-RIBs
	return f, ss, nil
}

func closeAll(ss []*session) {
	for _, s := range ss {
		if s != nil {
			s.conn.Close()
		}
	}
}

func awaitAll(ss []*session, n int) error {
	for _, s := range ss {
		if err := s.await(n, 60*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// connectAll brings n sessions up at the same time.
func connectAll(n, prefixes int) ([]*session, error) {
	ss, errs := make([]*session, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { ss[i], errs[i] = connect(i, prefixes, false) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			closeAll(ss)
			return nil, err
		}
	}
	return ss, nil
}

func up(n int) func(*trial) error {
	return func(t *trial) error {
		t.begin()
		ss, err := connectAll(n, 0)
		t.end()
		closeAll(ss)
		return err
	}
}

func fleet(n, each int) func(*trial) error {
	return func(t *trial) error {
		ss, err := connectAll(n, n*each)
		if err != nil {
			return err
		}
		defer closeAll(ss)
		time.Sleep(time.Second)
		streams := make([][]byte, n)
		for i := range ss {
			streams[i] = table(ss[i].id, i*each, each, each, true)
		}
		t.begin()
		for i, s := range ss {
			if _, err := s.conn.Write(streams[i]); err != nil {
				return err
			}
		}
		err = awaitAll(ss, (n-1)*each)
		t.end()
		return err
	}
}

func drop(n int) func(*trial) error {
	return func(t *trial) error {
		f, ss, err := world(n, 1, 0)
		if err != nil {
			return err
		}
		defer closeAll(ss)
		if _, err := f.conn.Write(table(f.id, 0, n, 1000, true)); err != nil {
			return err
		}
		if err := awaitAll(ss, n); err != nil {
			return err
		}
		time.Sleep(300 * time.Millisecond)
		t.begin()
		f.conn.Close()
		err = awaitAll(ss, 0)
		t.end()
		return err
	}
}

// burst feeds n prefixes with the same attributes, an UPDATE each. Wall is the time
// to the sink's first UPDATE.
func burst(n int) func(*trial) error {
	return func(t *trial) error {
		f, ss, err := world(n, 1, 0)
		if err != nil {
			return err
		}
		defer closeAll(append(ss, f))
		stream := table(f.id, 0, n, n, false)
		t.begin()
		if _, err := f.conn.Write(stream); err != nil {
			return err
		}
		err = awaitAll(ss, n)
		t.end()
		t.res.Note = fmt.Sprintf("all after %.2f s", t.res.Wall)
		t.res.Wall = time.Unix(0, ss[0].first.Load()).Sub(t.t0).Seconds()
		t.res.Updates = int(ss[0].updates.Load())
		return err
	}
}

// memory is what stays behind when n routes have come and gone.
func memory(n int) func(*trial) error {
	return func(t *trial) error {
		f, err := connect(0, 0, false)
		if err != nil {
			return err
		}
		defer f.conn.Close()
		t.begin()
		if _, err := f.conn.Write(table(f.id, 0, n, 1000, true)); err != nil {
			return err
		}
		t.idle(f)
		full := t.res.RSS
		if _, err := f.conn.Write(withdrawal(0, n)); err != nil {
			return err
		}
		t.idle(f)
		time.Sleep(10 * time.Second)
		t.end()
		t.res.Note = fmt.Sprintf("%.1f MiB at first, %.1f with all of them, %.1f at last", t.res.Start, full, t.res.RSS)
		return f.alive()
	}
}

// latency announces routes one at a time. Wall is the median time to the sink.
func latency(n int) func(*trial) error {
	return func(t *trial) error {
		f, ss, err := world(n, 1, 0)
		if err != nil {
			return err
		}
		defer closeAll(append(ss, f))
		var took []time.Duration
		t.begin()
		for i := range n {
			m := table(f.id, i, 1, 1, true)
			t0 := time.Now()
			if _, err := f.conn.Write(m); err != nil {
				return err
			}
			if err := awaitAll(ss, i+1); err != nil {
				return err
			}
			took = append(took, time.Unix(0, ss[0].last.Load()).Sub(t0))
			time.Sleep(3 * time.Millisecond)
		}
		t.end()
		slices.Sort(took)
		t.res.Wall = took[n/2].Seconds()
		t.res.Note = fmt.Sprintf("median %v, p99 %v", took[n/2].Round(time.Microsecond), took[n*99/100].Round(time.Microsecond))
		return nil
	}
}

// deaf reflects n prefixes twice: alone, and beside a client that never reads. Wall is
// that of the second time.
func deaf(n int) func(*trial) error {
	return func(t *trial) error {
		f, ss, err := world(n, 1, 0)
		if err != nil {
			return err
		}
		defer func() { closeAll(append(ss, f)) }()
		var alone float64
		for i := range 2 {
			if i == 1 {
				alone = t.res.Wall
				if _, err := f.conn.Write(withdrawal(0, n)); err != nil {
					return err
				}
				if err := awaitAll(ss, 0); err != nil {
					return err
				}
				s, err := connect(2, 0, true)
				if err != nil {
					return err
				}
				ss = append(ss, s)
				time.Sleep(300 * time.Millisecond)
			}
			stream := table(f.id, 0, n, 1000, true)
			t.begin()
			if _, err := f.conn.Write(stream); err != nil {
				return err
			}
			if err := awaitAll(ss[:1], n); err != nil {
				return err
			}
			t.end()
		}
		t.res.Note = fmt.Sprintf("alone %.3f s", alone)
		return nil
	}
}

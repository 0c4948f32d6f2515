package main

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// The rows of docs/scale.md: what sessions, guests and failures of hosts cost a reflector of
// thousands of clients. They take long, and run only if they are named.
var scaleRows = []row{
	{name: "sessions1000", title: "1,000 sessions", run: sessions(1000)},
	{name: "sessions4000", title: "4,000 sessions", run: sessions(4000)},
	{name: "sessions8000", title: "8,000 sessions", run: sessions(8000)},
	{name: "guests500", title: "500 clients with 125 guests each, all to all; then a rack of 40 dies", run: guests(500, 125, 40)},
	{name: "guests1000", title: "1,000 clients with 125 guests each, all to all; then a rack of 40 dies", run: guests(1000, 125, 40)},
	{name: "guests2000", title: "2,000 clients with 125 guests each, all to all; then a rack of 40 dies", run: guests(2000, 125, 40)},
	{name: "churn10", title: "1,000 clients, one of which changes 10 routes a second", run: churn(1000, 10)},
	{name: "churn100", title: "1,000 clients, one of which changes 100 routes a second", run: churn(1000, 100)},
	{name: "churn1000", title: "1,000 clients, one of which changes 1,000 routes a second", run: churn(1000, 1000)},
	{name: "churn10000", title: "1,000 clients, one of which changes 10,000 routes a second", run: churn(1000, 10000)},
}

// atOnce is how many clients connect at the same time: fewer than a listener takes.
const atOnce = 500

// connectMany brings n sessions up, atOnce at the same time.
func connectMany(n, prefixes int) ([]*session, error) {
	ss, errs := make([]*session, n), make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			ss[i], errs[i] = connect(i, prefixes, false)
			<-slots
		})
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

// part is what has passed of a trial since it was last asked.
type part struct {
	t    *trial
	at   time.Time
	from usage
}

func (t *trial) part() *part {
	return &part{t, time.Now(), measure(t.pids)}
}

// took returns the wall and the CPU time, in seconds, of the part, and begins the next one.
func (p *part) took() (wall, cpu float64) {
	now := measure(p.t.pids)
	wall, cpu = time.Since(p.at).Seconds(), (now.cpu - p.from.cpu).Seconds()
	p.at, p.from = time.Now(), now
	return wall, cpu
}

// sessions has n clients come up, be idle, and be sent 100 routes, one by one. Wall and CPU
// are those of coming up.
func sessions(n int) func(*trial) error {
	return func(t *trial) error {
		t.begin()
		ss, err := connectMany(n, 128)
		t.end()
		if err != nil {
			return err
		}
		defer closeAll(ss)
		time.Sleep(8 * time.Second) // memory is given back
		up := measure(t.pids).rss
		p := t.part()
		time.Sleep(10 * time.Second)
		_, idle := p.took()
		var all []float64
		const routes = 100
		for i := range routes {
			began := time.Now()
			if _, err := ss[0].conn.Write(table(ss[0].id, i, 1, 1, true)); err != nil {
				return err
			}
			if err := awaitAll(ss[1:], i+1); err != nil {
				return err
			}
			all = append(all, time.Since(began).Seconds())
		}
		_, cpu := p.took()
		slices.Sort(all)
		t.res.RSS = up
		t.res.Note = fmt.Sprintf("%.1f KiB a session; idle %.2f %% of a core; a route to all after %.0f ms (median), %.1f us of CPU for each client",
			(up-t.res.Start)*1024/float64(n), idle*10, all[routes/2]*1e3, cpu*1e6/float64(routes*n))
		return nil
	}
}

// guests has n clients announce host routes, each routes, to all, and then dead of them end.
// Wall and CPU are those of the announcements.
func guests(n, each, dead int) func(*trial) error {
	return func(t *trial) error {
		ss, err := connectMany(n, n*each)
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
		if err := awaitAll(ss, (n-1)*each); err != nil {
			return err
		}
		t.end()
		time.Sleep(time.Second)
		p := t.part()
		closeAll(ss[:dead])
		for _, s := range ss[dead:] {
			if err := s.awaitAtMost((n-dead)*each, time.Minute); err != nil {
				return err
			}
		}
		wall, cpu := p.took()
		deliveries := float64(n) * float64(n) * float64(each)
		t.res.Note = fmt.Sprintf("%.0f ns of CPU for each route and client; %d die: withdrawn at all after %.2f s, %.2f s of CPU",
			t.res.CPU*1e9/deliveries, dead, wall, cpu)
		return nil
	}
}

// awaitAtMost waits until the session has no more than n routes.
func (s *session) awaitAtMost(n int, limit time.Duration) error {
	for end := time.Now().Add(limit); s.routes.Load() > int64(n); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%v has %d routes, more than %d, after %v", s.id, s.routes.Load(), n, limit)
		}
	}
	return nil
}

// churn has one of n clients change its routes so many times a second, for five seconds. Wall
// and CPU are from the first change until all have the last.
func churn(n, rate int) func(*trial) error {
	return func(t *trial) error {
		const seconds, prefixes = 5, 128
		ss, err := connectMany(n, prefixes)
		if err != nil {
			return err
		}
		defer closeAll(ss)
		time.Sleep(2 * time.Second)
		total := rate * seconds
		t.begin()
		for i := 0; i < total; {
			due := min(total, int(float64(rate)*time.Since(t.t0).Seconds())+1)
			var stream []byte
			for ; i < due; i++ {
				stream = append(stream, change(ss[0].id, i%prefixes, i)...)
			}
			if _, err := ss[0].conn.Write(stream); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
		sent := time.Since(t.t0).Seconds()
		if err := awaitAll(ss[1:], min(total, prefixes)); err != nil {
			return err
		}
		t.idle()
		t.res.Updates = int(ss[1].updates.Load())
		t.res.Note = fmt.Sprintf("%d changes in %.1f s, a client was sent %d routes; %.0f %% of a core; %.1f us for each change and client",
			total, sent, ss[1].nlri.Load(), 100*t.res.CPU/t.res.Wall, t.res.CPU*1e6/float64(total*n))
		return nil
	}
}

// change encodes the announcement of a prefix with attributes that depend on serial.
func change(from netip.Addr, i, serial int) []byte {
	b := wire.Builder{AS4: true}
	pref := uint32(100)
	attrs := (&wire.PathAttrs{LocalPref: &pref, Communities: []wire.Community{wire.NewCommunity(65000, uint16(serial)), wire.NewCommunity(65001, uint16(serial>>16))}}).Append(nil)
	b.Reach(nil, family, attrs, nextHop(from))
	b.Add(wire.NLRI{Prefix: prefix(i)})
	return b.Finish()
}

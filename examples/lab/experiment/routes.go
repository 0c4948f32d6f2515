package experiment

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// routeLimit is how long a route may take from one kernel to another, in
// milliseconds.
const routeLimit = 5

// routes adds a route to HV1's public table twenty times, as an operator would, and
// waits for it in the kernels of HV2 and HV3.
func routes(run *Run) error {
	run.involved = []string{"hv1", "hv2", "hv3"}
	const times = 20
	added := map[int][]float64{}
	var removed []float64
	for i := range times {
		r := run.extraRoute(i)
		add, err := run.propagate(r, true)
		if err != nil {
			return err
		}
		del, err := run.propagate(r, false)
		if err != nil {
			return err
		}
		for n, d := range add {
			added[n] = append(added[n], d)
			removed = append(removed, del[n])
		}
	}
	for _, n := range []int{2, 3} {
		m, low, high := median(added[n])
		limit := float64(routeLimit)
		if run.Topology.Timing.ToRs() { // three routers pass it on, not one
			limit *= 2
		}
		if run.Topology.HVKind(1) != topology.Self || run.Topology.HVKind(n) != topology.Self || !run.familiar() {
			limit = -1
		}
		run.value(fmt.Sprintf("HV1 to HV%d's kernel, median of %d", n, times), m, limit, "ms", fmt.Sprintf("%.1f to %.1f", low, high), fmt.Sprint(added[n]))
	}
	m, low, high := median(removed)
	run.value("removal, median", m, -1, "ms", fmt.Sprintf("%.1f to %.1f", low, high), "")
	return nil
}

func (run *Run) extraRoute(i int) nl.Route {
	vm1 := run.guests()[0]
	return nl.Route{Table: run.Topology.Timing.Table(plan.TablePublic), Type: unix.RTN_UNICAST, Proto: unix.RTPROT_STATIC, Metric: plan.GuestMetric,
		Dst:  netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(130 + i)}), 32),
		Hops: []nl.Hop{{Gateway: vm1.IPv4, Link: vm1.Name, OnLink: true}}}
}

// propagate adds or removes a route on HV1 and returns the milliseconds until
// the kernels of the other hypervisors said so.
func (run *Run) propagate(r nl.Route, add bool) (map[int]float64, error) {
	monitors := map[int]*nl.Monitor{}
	for _, n := range []int{2, 3} {
		m, err := nl.Watch(run.Topology.Public(n).Path)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		monitors[n] = m
	}
	// Whoever handled the one before has gone back to sleep by now.
	if err := run.sleep(10 * time.Millisecond); err != nil {
		return nil, err
	}
	change, want := run.Topology.Public(1).NL.AddRoute, uint16(unix.RTM_NEWROUTE)
	if !add {
		change, want = run.Topology.Public(1).NL.DeleteRoute, unix.RTM_DELROUTE
	}
	type arrival struct {
		n   int
		at  time.Time
		err error
	}
	arrivals := make(chan arrival, len(monitors))
	deadline := time.Now().Add(5 * time.Second)
	for n, m := range monitors {
		go func() {
			at, err := waitRoute(m, r, want, deadline)
			arrivals <- arrival{n, at, err}
		}()
	}
	start := time.Now()
	if err := change(r); err != nil {
		return nil, err
	}
	out := map[int]float64{}
	var failed error
	for range monitors {
		a := <-arrivals
		if a.err != nil {
			failed = fmt.Errorf("%s on hv%d: %w", r.Dst, a.n, a.err)
		}
		out[a.n] = ms(a.at.Sub(start))
	}
	return out, failed
}

func waitRoute(m *nl.Monitor, r nl.Route, typ uint16, deadline time.Time) (time.Time, error) {
	for time.Now().Before(deadline) {
		changes, err := m.Next(deadline)
		if err != nil {
			return time.Time{}, err
		}
		for _, c := range changes {
			if c.Type == typ && c.Rt.Dst == r.Dst && c.Rt.Table == r.Table {
				return c.At, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("not within 5 s")
}

func median(v []float64) (m, low, high float64) {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return 0, 0, 0
	}
	return s[len(s)/2], s[0], s[len(s)-1]
}

// watcher counts routing messages of a kernel in the background.
type watcher struct {
	monitor *nl.Monitor
	done    chan struct{}
	changes []nl.Change
}

func watch(path string) (*watcher, error) {
	m, err := nl.Watch(path)
	if err != nil {
		return nil, err
	}
	w := &watcher{monitor: m, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for {
			changes, err := m.Next(time.Now().Add(time.Hour))
			if err != nil {
				return
			}
			w.changes = append(w.changes, changes...)
		}
	}()
	return w, nil
}

// stop ends the watch and returns how many messages there were and what they
// said.
func (w *watcher) stop() (int, string) {
	w.monitor.Close()
	<-w.done
	var b strings.Builder
	for i, c := range w.changes {
		if i == 20 {
			fmt.Fprintf(&b, "... %d in all\n", len(w.changes))
			break
		}
		fmt.Fprintln(&b, c)
	}
	return len(w.changes), b.String()
}

// watchers are those of several namespaces.
type watchers []*watcher

func (all watchers) stop() (count int, text string) {
	for _, w := range all {
		n, t := w.stop()
		count += n
		text += t
	}
	return count, text
}

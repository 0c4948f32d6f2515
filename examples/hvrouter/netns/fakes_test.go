package netns

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/fib"
)

func table(word string) uint32 {
	n, err := strconv.ParseUint(word, 10, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

// log is a log in memory.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns the names of the events since the last call.
func (l *log) take() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, word := range strings.Fields(l.text.String()) {
		if name, ok := strings.CutPrefix(word, "event="); ok {
			names = append(names, name)
		}
	}
	l.text.Reset()
	return names
}

// fakeKernel notes what it is asked for.
type fakeKernel struct {
	Kernel
	calls     []string
	refuse    error
	batches   [][]fib.Event // of Next
	links     []fib.Link
	addresses []host.Address
	unread    error // of Addresses
	routes    []fib.RouteStatus
	filter    fib.RouteFilter
}

func (k *fakeKernel) add(format string, args ...any) error {
	k.calls = append(k.calls, fmt.Sprintf(format, args...))
	return k.refuse
}

// take returns the calls since the last time, sorted: many come from maps.
func (k *fakeKernel) take() []string {
	calls := k.calls
	k.calls = nil
	slices.Sort(calls)
	return calls
}

func (k *fakeKernel) SetRoute(r fib.Route) error {
	return k.add("route %v", r.RouteKey)
}
func (k *fakeKernel) DeleteRoute(key fib.RouteKey) error { return k.add("unroute %v", key) }
func (k *fakeKernel) SetRule(r fib.Rule) error           { return k.add("rule %v", r) }
func (k *fakeKernel) SetRuleAbsent(r fib.Rule) error     { return k.add("no rule %v", r) }
func (k *fakeKernel) DeleteRule(r fib.Rule) error        { return k.add("unrule %v", r) }
func (k *fakeKernel) SetAddress(a fib.Address) error {
	return k.add("address %v %d", a.Prefix, a.IfIndex)
}
func (k *fakeKernel) DeleteAddress(a fib.Address) error {
	return k.add("unaddress %v %d", a.Prefix, a.IfIndex)
}
func (k *fakeKernel) SetNeighbor(n fib.Neighbor) error {
	return k.add("neighbour %v %x", n.Addr, n.MAC)
}
func (k *fakeKernel) DeleteNeighbor(n fib.Neighbor) error { return k.add("unneighbour %v", n.Addr) }
func (k *fakeKernel) SetSysctl(s fib.Sysctl) error        { return k.add("sysctl %s %s", s.Path, s.Value) }
func (k *fakeKernel) DeleteSysctl(path string) error      { return k.add("unsysctl %s", path) }
func (k *fakeKernel) OwnTable(uint32) error               { return nil }
func (k *fakeKernel) Sweep()                              { k.add("sweep") }
func (k *fakeKernel) Links() []fib.Link                   { return k.links }
func (k *fakeKernel) Routes() iter.Seq[fib.RouteStatus] {
	return slices.Values(k.routes)
}
func (k *fakeKernel) Addresses() ([]host.Address, error) { return k.addresses, k.unread }
func (k *fakeKernel) Watch(fib.WatchOptions) Events      { return k }
func (k *fakeKernel) WatchRoutes(f fib.RouteFilter) RouteChanges {
	k.filter = f
	return nil
}
func (k *fakeKernel) Next(ctx context.Context, buf []fib.Event) (int, error) {
	if len(k.batches) == 0 {
		return 0, errors.New("no more events")
	}
	one := k.batches[0]
	k.batches = k.batches[1:]
	return copy(buf, one), nil
}

type fakeFirewall struct {
	applied, ended int
	last           firewall.Spec
	err            error
	changes        []time.Duration // after which another program changes it
	crowded        []netip.Addr
	audits         []auditResult // in turn, then nothing
	floods         []uint64      // in turn, then nothing
}

type auditResult struct {
	list []firewall.Difference
	err  error
}

func (w *fakeFirewall) Audit() ([]firewall.Difference, error) {
	if len(w.audits) == 0 {
		return nil, nil
	}
	r := w.audits[0]
	w.audits = w.audits[1:]
	return r.list, r.err
}

func (w *fakeFirewall) Apply(s firewall.Spec) error { w.applied++; w.last = s; return w.err }
func (w *fakeFirewall) End(firewall.Spec) error     { w.ended++; return w.err }
func (w *fakeFirewall) Flooded() (map[string]map[string]uint64, error) {
	if len(w.floods) == 0 {
		return nil, nil
	}
	n := w.floods[0]
	w.floods = w.floods[1:]
	return map[string]map[string]uint64{"neighbour-flood": {"a.public": n}}, nil
}

func (w *fakeFirewall) Drops() (map[string]uint64, error) {
	return map[string]uint64{"spoofed": 3}, nil
}
func (w *fakeFirewall) Watch(ctx context.Context, changed func()) error {
	for _, d := range w.changes {
		time.Sleep(d)
		changed()
	}
	return w.err
}
func (w *fakeFirewall) Balance(ctx context.Context, crowded func(netip.Addr, int)) error {
	for _, a := range w.crowded {
		crowded(a, 1000)
	}
	if w.err != nil {
		return w.err
	}
	<-ctx.Done()
	return nil
}

type fakeVRFs struct {
	*fakeKernel
	made error
}

func (v fakeVRFs) Ensure(name string, id uint32) (int, error) {
	v.add("vrf %s %d", name, id)
	return 77, v.made
}
func (v fakeVRFs) Enslave(ifindex, vrf int) error { return v.add("enslave %d %d", ifindex, vrf) }

// bed is a namespace over fakes.
type bed struct {
	*Namespace
	kernel   *fakeKernel
	firewall *fakeFirewall
	log      *log
}

func newBed(t *testing.T, sample string, edits ...string) (*bed, *config.Config) {
	t.Helper()
	c, err := configtest.Sample(sample, edits...)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{kernel: &fakeKernel{}, firewall: &fakeFirewall{}, log: &log{}}
	b.Namespace = New(Config{Log: slog.New(slog.NewTextHandler(b.log, nil)), Kernel: b.kernel, Firewall: b.firewall})
	b.Configure(c, c.Namespaces()[0].Config)
	return b, c
}

func up(index int, name string) fib.Link {
	return fib.Link{IfIndex: index, Interface: name, AdminUp: true, Carrier: true}
}

func onAddress(index int, prefix string, gone bool) fib.Event {
	return fib.Event{Kind: fib.EventAddress, Link: fib.Link{IfIndex: index}, Addr: netip.MustParsePrefix(prefix), Gone: gone}
}

func with(list []string, prefix string) (n int) {
	for _, one := range list {
		if strings.HasPrefix(one, prefix) {
			n++
		}
	}
	return n
}

package failover

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The inputs of testdata/*.txt. NS is "" or @NAME of a network namespace; EDIT is OLD=>NEW in
// the file's text, with _ for a space and \n for a new line.
//
//	configure FILE [EDIT ...]               the sessions of a sample
//	found ADDR%LINK ...                     the neighbours without an address in the file; ours is fe80::1
//	link INDEX NAME [NS], unlink ...        an interface
//	objects [GATEWAY%LINK ...] [NS]         the next-hop objects of the kernel, from the id 1 on
//	refresh                                 they have changed
//	up|down|admin|echo|removed LOCAL PEER INTERFACE [NS]
//	restarted LOCAL PEER INTERFACE [NS]     the peer has begun its session anew
//	after TIME                              so much time has passed
//	away LOCAL PEER INTERFACE [NS]          the session went down while no daemon was there
//	silent LOCAL PEER INTERFACE [NS]        the session has been down for the time of grace
//	forgotten LOCAL PEER INTERFACE [NS]     it is Down and never was anything else: the BFD process is another one
//	grace                                   the time of grace for probes has ended
type machine struct {
	lines   []string
	kernels map[string]*fakeKernel
	monitor *Monitor
	now     time.Time
	config  *config.Config
}

func newMachine() *machine {
	m := &machine{kernels: map[string]*fakeKernel{}, now: time.Unix(1e9, 0)}
	kernels := map[string]Kernel{}
	for _, n := range []config.NetNS{"", "public"} {
		m.kernels[n.Path()] = &fakeKernel{machine: m}
		kernels[n.Path()] = m.kernels[n.Path()]
	}
	m.monitor = New(Config{Now: func() time.Time { return m.now }, Log: slog.New(slog.DiscardHandler), Kernels: kernels, Paths: fakePaths{m}, Service: fakeService{machine: m}})
	return m
}

func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, newMachine())
	})
}

func (m *machine) Deadline() time.Time        { return time.Time{} }
func (m *machine) Advance(time.Time) []string { return nil }

func (m *machine) add(format string, args ...any) {
	m.lines = append(m.lines, fmt.Sprintf(format, args...))
}

// take returns the lines since the last call. Sessions come from maps, in any order.
func (m *machine) take() []string {
	lines := m.lines
	m.lines = nil
	kind := func(s string) string { w, _, _ := strings.Cut(s, " "); return w }
	for i := 0; i < len(lines); {
		j := i
		for j < len(lines) && kind(lines[j]) == kind(lines[i]) {
			j++
		}
		slices.Sort(lines[i:j])
		i = j
	}
	return lines
}

func (m *machine) Do(_ time.Time, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	netns := config.NetNS("").Path()
	if n, ok := strings.CutPrefix(words[len(words)-1], "@"); ok {
		netns, words = config.NetNS(n).Path(), words[:len(words)-1]
	}
	switch words[0] {
	case "configure":
		c, err := configtest.Sample(words[1], words[2:]...)
		if err != nil {
			return nil, err
		}
		m.config = c
		m.monitor.Configure(c)
	case "found":
		m.monitor.Configure(m.found(words[1:]))
	case "link", "unlink":
		index, err := strconv.Atoi(words[1])
		if err != nil {
			return nil, err
		}
		m.monitor.Link(netns, fib.Link{IfIndex: index, Interface: words[2]}, words[0] == "unlink")
	case "objects":
		return nil, m.kernels[netns].set(words[1:])
	case "refresh":
		m.monitor.Refresh()
	case "grace":
		m.monitor.endGrace()
	case "after":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			return nil, err
		}
		m.now = m.now.Add(d)
		m.monitor.expire(m.now)
	case "up", "down", "restarted", "admin", "echo", "away", "silent", "forgotten", "removed":
		m.monitor.Event(m.event(words, netns))
	default:
		return nil, fmt.Errorf("unknown word %q", words[0])
	}
	m.monitor.deliver()
	return m.take(), nil
}

// found returns the configuration with neighbours in its first domain.
func (m *machine) found(words []string) *config.Config {
	var links []string
	var found []config.Found
	for _, w := range words {
		addr, link, _ := strings.Cut(w, "%")
		links = append(links, link)
		found = append(found, config.Found{Interface: link, Address: config.Addr{Addr: netip.MustParseAddr(addr)}, Local: config.Addr{Addr: netip.MustParseAddr("fe80::1")}})
	}
	name := m.config.Domains[0].Name
	return m.config.WithFound(map[string][]string{name: links}, map[string][]config.Found{name: found})
}

func (m *machine) event(words []string, netns string) bfd.Event {
	e := bfd.Event{Key: bfd.Key{Local: netip.MustParseAddr(words[1]), Peer: netip.MustParseAddr(words[2]), Interface: words[3], NetNS: netns}, State: bfd.StateDown, Reason: bfd.ReasonExpired, Time: m.now}
	switch words[0] {
	case "up":
		e.State, e.Reason = bfd.StateUp, bfd.ReasonNone
	case "admin":
		e.Reason = bfd.ReasonRemoteAdminDown
	case "restarted":
		e.Reason = bfd.ReasonNeighborDown
	case "echo":
		e.Reason = bfd.ReasonEchoFailed
	case "away":
		e.Downs = 1
		e.Failover = []bfd.FailoverResult{{ID: 1, Deleted: true}}
	case "silent":
		e.Reason, e.Time = bfd.ReasonNone, e.Time.Add(-graceTime)
	case "forgotten":
		e.Reason = bfd.ReasonNone
	case "removed":
		e.Removed = true
	}
	return e
}

// fakeKernel has next-hop objects, and notes what becomes of their gateways.
type fakeKernel struct {
	*machine
	list []fib.NextHopObject
}

func (k *fakeKernel) set(words []string) error {
	k.list = nil
	for i, w := range words {
		gw, link, _ := strings.Cut(w, "%")
		index, err := strconv.Atoi(link)
		if err != nil {
			return err
		}
		k.list = append(k.list, fib.NextHopObject{ID: uint32(i + 1), Gateway: netip.MustParseAddr(gw), IfIndex: index})
	}
	return nil
}

func (k *fakeKernel) NextHops() []fib.NextHopObject { return k.list }

func (k *fakeKernel) Gateways() (list []fib.Gateway) {
	for _, o := range k.list {
		list = append(list, fib.Gateway{IfIndex: o.IfIndex, Gateway: o.Gateway})
	}
	return list
}

func (k *fakeKernel) GatewayDown(link int, gw netip.Addr) { k.add("gateway-down %v%%%d", gw, link) }
func (k *fakeKernel) GatewayUp(link int, gw netip.Addr)   { k.add("gateway-up %v%%%d", gw, link) }

type fakePaths struct{ *machine }

func (p fakePaths) PathDown(w peering.Watch, c bool) {
	p.add("path-down %v remote C %v%s", w.Key.Peer, c, probe(w))
}

func (p fakePaths) PathAdminDown(w peering.Watch) {
	p.add("path-admin-down %v%s", w.Key.Peer, probe(w))
}
func (p fakePaths) PathUp(w peering.Watch) { p.add("path-up %v%s", w.Key.Peer, probe(w)) }

func probe(w peering.Watch) string {
	if w.Probe() {
		return ", a probe"
	}
	return ""
}

// fakeService notes what it is asked for.
type fakeService struct {
	bfd.Service
	*machine
}

func (s fakeService) Add(c bfd.SessionConfig) error {
	var ids []string
	for _, n := range c.Failover {
		ids = append(ids, n.Gateway.String())
	}
	s.add("add %v every %v, failover [%s]", c.Peer, c.DesiredMinTx, strings.Join(ids, " "))
	return nil
}

func (s fakeService) Remove(k bfd.Key) error { s.add("remove %v", k.Peer); return nil }

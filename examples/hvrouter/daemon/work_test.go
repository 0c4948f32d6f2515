package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/ndp"
)

const workConfig = `
router-id: 0.0.1.1
as: 65000
state-directory: DIR/state.d
api: DIR/api.sock
bfd: {process: "off"}
domains:
  - name: public
    table: 90
    guests: true
    redistribute: true
    reflectors: [{fabric: A, interface: up.a, local: 198.51.100.101, peer: 198.51.100.126}]
edge: {gateway4: 203.0.113.254}
guests: [{name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1]}]
guest-templates: [{interfaces: "tap*", discovery: {neighbors: true, within: [203.0.113.0/24]}}]
inventory: {state: DIR/state}
`

// live is a daemon at work over fakes, in a synctest bubble.
type live struct {
	t       *testing.T
	dir     string
	daemon  *Daemon
	backend backend
	kernel  *liveKernel
	edge    *liveEdge
	network bgptest.Network // of the BGP sessions
	reload  chan os.Signal
	ready   []string
	alive   int
	cancel  context.CancelFunc
	ended   chan error
}

func (l *live) write(text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, "hv.yaml"), []byte(strings.ReplaceAll(text, "DIR", l.dir)), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func startLive(t *testing.T, text string, service bfd.Service) *live {
	t.Helper()
	return startLiveWith(t, text, service, nil, nil)
}

// startLiveAfter is startLive after what an earlier run has left.
func startLiveAfter(t *testing.T, text string, left func(*config.Config)) *live {
	t.Helper()
	return startLiveOn(t, text, nil, nil, nil, left)
}

// startLiveWith is startLive with other router advertisements than none, and a network of BGP.
func startLiveWith(t *testing.T, text string, service bfd.Service, adverts advertisements, network func(*bgp.Config)) *live {
	t.Helper()
	return startLiveOn(t, text, service, adverts, network, func(*config.Config) {})
}

func startLiveOn(t *testing.T, text string, service bfd.Service, adverts advertisements, network func(*bgp.Config), left func(*config.Config)) *live {
	t.Helper()
	l := &live{t: t, dir: t.TempDir(), reload: make(chan os.Signal), ended: make(chan error, 1)}
	l.write(text)
	file := filepath.Join(l.dir, "hv.yaml")
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.API, nil, 0o600); err != nil { // whose group and mode the daemon sets
		t.Fatal(err)
	}
	left(c)
	up := func(i int, name string) fib.Link {
		return fib.Link{IfIndex: i, Interface: name, AdminUp: true, Carrier: true}
	}
	l.kernel = newLiveKernel(up(10, "up.a"), up(20, "vm1"), up(22, "tap0"))
	l.edge = &liveEdge{sightings: make(chan []eg.Sighting), asked: make(chan []ndp.Sender), fail: make(chan error)}
	events := &journal.Journal{}
	log := slog.New(events.Handler(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	l.cancel = cancel
	opt := Options{ConfigFile: file, Log: log, Reload: l.reload, Ready: func(why string) { l.ready = append(l.ready, why) }, Reloading: func() { l.ready = append(l.ready, "reloading") },
		Alive: func() { l.alive++ }, AliveEvery: time.Second}
	if network == nil {
		network = func(c *bgp.Config) {
			c.Listener, c.Dialer, c.NetNS, c.Interface = l.network.Listen, l.network.Dialer(c.RouterID), "", ""
		}
	}
	l.daemon = &Daemon{opt: opt, log: log, journal: events, loop: make(loop), started: time.Now(), stateDirectory: c.StateDirectory, sessions: sessions.New(sessions.Config{Log: log, Now: time.Now, BGP: network})}
	n := netns.New(netns.Config{Log: log, Kernel: l.kernel, Firewall: &fakeFirewall{}})
	n.Configure(c, c.Namespaces()[0].Config)
	tasks := newTasks(ctx)
	l.backend = backend{l.daemon, tasks.ctx}
	m := opened{namespaces: []*netns.Namespace{n}, edge: l.edge, bfd: service, process: failover.NewProcess(c.BFD, log, nil), adverts: func(string) (advertisements, error) { return adverts, nil }}
	go func() {
		defer m.close()
		defer tasks.end()
		l.ended <- l.daemon.work(tasks, c, m, &deafListener{closed: make(chan struct{})})
	}()
	synctest.Wait()
	return l
}

func (l *live) events(what ...fib.Event) {
	l.kernel.events <- what
	synctest.Wait()
}

// The daemon at work, from its start to a drain: everything but Linux.
func TestWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLive(t, workConfig, nil)
		b := l.backend
		s := b.Status()
		if !s.Restarted || s.Converged || s.Writes != 7 || !slices.Equal(s.Missing, []string{"198.51.100.126"}) || s.Config == "" {
			t.Errorf("status: %+v", s)
		}
		if !l.kernel.has("203.0.113.1/32") {
			t.Error("the guest has no route")
		}
		// What an earlier run found stays until it is seen, or is not.
		if !l.kernel.has("203.0.113.99/32") {
			t.Error("the address that was found has no route")
		}
		l.edge.sightings <- []eg.Sighting{{Kind: arp.EventSeen, IP: netip.MustParseAddr("203.0.113.98"), IfIndex: 22, MAC: arp.MAC{2, 0, 0, 0, 0, 1}}}
		l.edge.asked <- []ndp.Sender{{IfIndex: 20, Addr: netip.MustParseAddr("fe80::77")}}
		synctest.Wait()
		if !l.kernel.has("203.0.113.98/32") {
			t.Error("the address that was seen has no route")
		}
		l.answers(t)
		l.foreignRoute(t)
		l.carrier(t)
		// No reflector is there: ready once the deferral is over.
		time.Sleep(time.Hour)
		synctest.Wait()
		if !b.Status().Converged || !l.kernel.swept || l.alive < 3000 {
			t.Errorf("converged %v, swept %v, alive %d times", b.Status().Converged, l.kernel.swept, l.alive)
		}
		if len(l.ready) != 1 || l.ready[0] != "0 of 1 sessions are up, without 198.51.100.126" {
			t.Errorf("ready: %q", l.ready)
		}
		l.guests(t)
		l.reloads(t)
		l.drains(t)
		l.cancel()
		if err := <-l.ended; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !l.edge.closed {
			t.Error("the edge is open")
		}
		if b.Sessions() != nil || b.Put(nil) == nil || b.linkNames(l.daemon.router.home()) != nil {
			t.Error("it answers after the end")
		}
	})
}

// answers: what the API shows.
func (l *live) answers(t *testing.T) {
	b := l.backend
	names := map[string]string{}
	for _, g := range b.Guests() {
		names[g.Name] = g.Source
	}
	if names["vm1"] != "config" || names["tap0"] != "interfaces" {
		t.Errorf("guests: %v", names)
	}
	for _, g := range b.Guests() {
		if want := []api.Abuse{{Protocol: "arp", Refused: map[string]uint64{"spoofed": uint64(g.Link)}, Silenced: 1}}; g.Present != reflect.DeepEqual(g.Abuse, want) {
			t.Errorf("guest %s, present %v: abuse %v", g.Name, g.Present, g.Abuse)
		}
	}
	if s := b.Status(); s.Malformed["nd"] != 2 || s.DHCPDropped["astray"] != 3 {
		t.Errorf("malformed %v, answers of DHCP servers %v", s.Malformed, s.DHCPDropped)
	}
	neighbours, err := b.Neighbours()
	if err != nil || len(neighbours) != 3 || neighbours[0].Interface != "tap0" || neighbours[2].Kernel != "reachable" || !neighbours[2].Announced {
		t.Errorf("neighbours: %+v, %v", neighbours, err)
	}
	if list := b.Sessions(); len(list) != 1 || list[0].Domain != "public" || list[0].BFD != "off" || list[0].State == "Established" {
		t.Errorf("sessions: %+v", list)
	}
	if list, err := b.BFD(); len(list) != 0 || err != nil {
		t.Errorf("BFD: %v, %v", list, err)
	}
	if list := b.RIB("public", netip.MustParsePrefix("203.0.113.1/32")); len(list) != 1 || list[0].Source != "local" || !list[0].Announced {
		t.Errorf("RIB: %+v", list)
	}
	if list := b.RIB("private", netip.Prefix{}); len(list) != 0 {
		t.Errorf("RIB of no domain: %+v", list)
	}
	if list := b.FIB(90); !slices.ContainsFunc(list, func(r api.FIBRoute) bool { return r.Prefix == "203.0.113.98/32" && r.Gateways[0].Link == "tap0" }) {
		t.Errorf("FIB: %+v", list)
	}
	if e, err := b.Explain(api.Question{Prefix: netip.MustParsePrefix("203.0.113.1/32")}); err != nil || len(e.Lines) < 3 {
		t.Errorf("explained: %q", e.Lines)
	}
	if diff, drops := b.Diff(), b.Drops(); len(diff) != 1 || len(drops) != 1 || drops[0].Packets != 3 {
		t.Errorf("diff %v, drops %v", diff, drops)
	}
	if r, err := b.Events(100); err != nil {
		t.Error(err)
	} else {
		r.Close()
	}
	if b.netnsName("") != "" || b.netnsName("/elsewhere") != "/elsewhere" {
		t.Error("names of namespaces")
	}
}

// foreignRoute: one over a guest's interface is announced, and gone when it goes.
func (l *live) foreignRoute(t *testing.T) {
	c := fib.LearnChange{}
	c.RouteKey = fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("203.0.113.77/32"), Metric: 5}
	c.NextHops = []fib.NextHop{{IfIndex: 20}}
	for _, gone := range []bool{false, true} {
		c.Gone = gone
		l.kernel.learn <- c
		synctest.Wait()
		if list := l.backend.RIB("", c.Prefix); (len(list) == 0) != gone {
			t.Errorf("gone %v: %+v", gone, list)
		}
	}
}

// carrier: a link that loses its carrier and gets it again.
func (l *live) carrier(t *testing.T) {
	dark := fib.Link{IfIndex: 10, Interface: "up.a", AdminUp: true}
	l.events(fib.Event{Kind: fib.EventLink, Link: dark})
	dark.Carrier = true
	l.events(fib.Event{Kind: fib.EventLink, Link: dark})
	l.events(fib.Event{Kind: fib.EventError, Err: errors.New("no memory")}, fib.Event{Kind: fib.EventRepair, Op: "add"}, fib.Event{Kind: fib.EventNextHops})
	l.events(fib.Event{Kind: fib.EventLost, Count: 7}, fib.Event{Kind: fib.EventLinkGone, Link: fib.Link{IfIndex: 99, Interface: "x"}})
	if got := l.backend.Guests(); len(got) < 2 {
		t.Errorf("guests: %+v", got)
	}
}

// guests: they are put, moved and removed over the API.
func (l *live) guests(t *testing.T) {
	b := l.backend
	entries, err := config.ParseGuests("request", []byte(`{"name": "vm9", "interface": "vm9", "ipv4": ["203.0.113.9"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Put(entries); err != nil {
		t.Error(err)
	}
	l.events(fib.Event{Kind: fib.EventLink, Link: fib.Link{IfIndex: 29, Interface: "vm9", AdminUp: true, Carrier: true}})
	if !l.kernel.has("203.0.113.9/32") {
		t.Error("the guest has no route")
	}
	pref := uint32(7)
	if _, err := b.Move("vm9", api.Move{LocalPref: &pref}); err != nil {
		t.Error(err)
	}
	if list := b.RIB("", netip.MustParsePrefix("203.0.113.9/32")); len(list) != 1 || list[0].LocalPref != 7 {
		t.Errorf("moved: %+v", list)
	}
	_, err = b.Move("nobody", api.Move{})
	for _, err := range []error{err, b.Remove("nobody")} {
		if !errors.Is(err, api.ErrNotFound) {
			t.Errorf("of no guest: %v", err)
		}
	}
	if err := b.Remove("vm9"); err != nil || l.kernel.has("203.0.113.9/32") {
		t.Errorf("removed: %v", err)
	}
}

// drains: the drain stands on disk before it is done, over another start, and not after its end.
func (l *live) drains(t *testing.T) {
	b := l.backend
	file := newDrainFile(l.daemon.stateDirectory)
	load := func() DrainState { return file.load(t.Context(), l.daemon.log) }
	d, err := b.Drain(api.DrainOptions{})
	if err != nil || !d.Drained || !d.Moving || len(d.Prefixes) == 0 || !d.Prefixes[0].Attracts() || load().All || !load().Since.Equal(d.Since) {
		t.Errorf("drained: %+v, %v; on disk %+v", d, err, load())
	}
	time.Sleep(time.Minute)
	if again, err := b.Drain(api.DrainOptions{}); err != nil || !again.Since.Equal(d.Since) || again.Moving {
		t.Errorf("drained twice: %+v, %v", again, err)
	}
	if d, err := b.Drain(api.DrainOptions{All: true}); err != nil || !d.All || !load().All {
		t.Errorf("all: %+v, %v; on disk %+v", d, err, load())
	}
	time.Sleep(time.Minute)
	if d := b.DrainStatus(); d.Moving || d.Prefixes[0].Announced {
		t.Errorf("after a minute: %+v", d)
	}
	if d, err := b.Undrain(); err != nil || d.Drained || load().On() {
		t.Errorf("undrained: %+v, %v; on disk %+v", d, err, load())
	}
	if _, err := b.Undrain(); err != nil {
		t.Errorf("undrained twice: %v", err)
	}
	if err := os.MkdirAll(file.path, 0o700); err != nil { // a directory in its place
		t.Fatal(err)
	}
	if d, err := b.Drain(api.DrainOptions{}); err != nil || !d.Drained || !strings.HasPrefix(d.Unwritten, "a restart of the daemon ends the drain: ") || !strings.Contains(d.Unwritten, file.path) {
		t.Errorf("drained, and it cannot be written: %+v, %v", d, err)
	}
	if err := os.WriteFile(file.path+"/x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := b.Undrain(); err != nil || d.Drained || !strings.HasPrefix(d.Unwritten, "a restart of the daemon drains the host again if "+file.path) || b.DrainStatus().Unwritten == "" {
		t.Errorf("undrained, and it cannot be written: %+v, %v", d, err)
	}
	if err := os.Remove(file.path + "/x"); err != nil {
		t.Fatal(err)
	}
	if d, err := b.Drain(api.DrainOptions{}); err != nil || !d.Drained {
		t.Errorf("drained again: %+v, %v", d, err)
	}
	if d := load(); !d.On() || d.All {
		t.Errorf("what cannot be read counts as drained: %+v", d)
	}
	if err := os.Remove(file.path); err != nil {
		t.Fatal(err)
	}
	if d, err := b.Drain(api.DrainOptions{}); err != nil || d.Unwritten != "" || !load().On() {
		t.Errorf("drained once more, and it can be written: %+v, %v", d, err)
	}
	if d, err := b.Undrain(); err != nil || d.Drained || d.Unwritten != "" {
		t.Errorf("undrained again: %+v, %v", d, err)
	}
	if d, err := b.Drain(api.DrainOptions{All: true, UntilStop: true}); err != nil || !d.All || d.Unwritten == "" || load().On() {
		t.Errorf("drained until the stop: %+v, %v; on disk %+v", d, err, load())
	}
	if d, err := b.Undrain(); err != nil || d.Drained {
		t.Errorf("undrained at last: %+v, %v", d, err)
	}
}

// reloads: one that does nothing, one that is refused, one that loses something, one that changes
// something, and one by signal of a file that cannot be parsed.
func (l *live) reloads(t *testing.T) {
	b := l.backend
	l.daemon.reloader.rights = func(*config.Config) error { return nil } // the test may have none
	text := strings.Replace(workConfig, "203.0.113.1]", "203.0.113.2]", 1)
	l.write(text)
	if r, err := b.Reload(api.ReloadOptions{DryRun: true}); err != nil || r.Done || !l.kernel.has("203.0.113.1/32") {
		t.Errorf("a dry run: %+v, %v", r, err)
	}
	if r, err := b.Reload(api.ReloadOptions{Force: true}); err != nil || !r.Done || !l.kernel.has("203.0.113.2/32") || l.kernel.has("203.0.113.1/32") {
		t.Errorf("reloaded: %+v, %v", r, err)
	}
	l.write(strings.Replace(text, "as: 65000", "as: 65001", 1))
	if _, err := b.Reload(api.ReloadOptions{}); err == nil || !strings.Contains(err.Error(), "as has changed: that needs a restart") {
		t.Errorf("another AS: %v", err)
	}
	l.write(strings.Replace(text, "reflectors: [{", "reflectors: [{fabric: B, interface: up.b, local: 198.51.101.1, peer: 198.51.101.2}, {", 1))
	if r, err := b.Reload(api.ReloadOptions{Force: true}); err != nil || len(r.Changes) == 0 {
		t.Errorf("another uplink: %+v, %v", r, err)
	}
	l.write(text)
	if _, err := b.Reload(api.ReloadOptions{}); err == nil || !strings.Contains(err.Error(), "nothing was changed, since this would be lost") {
		t.Errorf("an uplink less: %v", err)
	}
	l.write("nonsense: [")
	l.reload <- os.Interrupt
	synctest.Wait()
	if last := l.ready[len(l.ready)-1]; !strings.HasPrefix(last, "0 of ") || !slices.Contains(l.ready, "reloading") {
		t.Errorf("said: %q", l.ready)
	}
}

// What fails ends the daemon, with its name; and with BFD in the process there is a session.
func TestWorkFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, err := bfd.NewServer(bfd.Config{RealTime: bfd.RealTimeOff})
		if err != nil {
			t.Fatal(err)
		}
		l := startLive(t, strings.Replace(workConfig, `process: "off"`, "process: in-process", 1), idleService{service})
		if list, err := l.backend.BFD(); len(list) != 1 || err != nil {
			t.Errorf("BFD: %v, %v", list, err)
		}
		broken := errors.New("no socket")
		l.edge.fail <- broken
		if err := <-l.ended; !errors.Is(err, broken) || err.Error() != "edge: no socket" {
			t.Errorf("ended by %v", err)
		}
		l.cancel()
	})
}

// idleService has sessions and sends nothing.
type idleService struct{ bfd.Service }

func (s idleService) Run(ctx context.Context) error { <-ctx.Done(); return nil }

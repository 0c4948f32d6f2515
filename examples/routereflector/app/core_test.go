package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bfd/bfdtest"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
)

// recorder is a BFD service that is neither run nor watched.
type recorder struct {
	bfdtest.Service
	calls []string // of Add and Remove
}

func (r *recorder) Add(c bfd.SessionConfig) error {
	r.calls = append(r.calls, "add "+c.Peer.String())
	return r.Service.Add(c)
}

func (r *recorder) Remove(k bfd.Key) error {
	r.calls = append(r.calls, "remove "+k.Peer.String())
	return r.Service.Remove(k)
}

func (r *recorder) take() []string {
	calls := r.calls
	r.calls = nil
	return calls
}

func (*recorder) Watch() *bfd.Watcher       { panic("a Core watches BFD") }
func (*recorder) Run(context.Context) error { panic("a Core runs BFD") }

// TestCore drives a Core from one goroutine, with a clock of its own.
func TestCore(t *testing.T) { synctest.Test(t, testCore) }

func testCore(t *testing.T) {
	now := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	var log bytes.Buffer
	service, network := &recorder{}, &bgptest.Network{}
	core := newTestCore(t, network, CoreConfig{
		BFD: service, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil)),
	}, "-restart-time", "0", "-long-lived", "0")
	kill := []func() error{bgptest.Run(core.Speaker())}
	var clients []netip.Addr
	for n := 2; n < 7; n++ {
		clients = append(clients, netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", n)))
		kill = append(kill, bgptest.Run(newClient(t, network, clients[n-2])))
	}
	settle := func() {
		time.Sleep(time.Second)
		synctest.Wait()
	}
	settle()
	if got := service.take(); got != nil {
		t.Fatalf("before a Step: %v", got)
	}
	if !core.Step() || core.Step() {
		t.Error("Step reports events where there are none, or the reverse")
	}
	if got := service.take(); len(got) != len(clients) {
		t.Fatalf("after a Step: %v", got)
	}

	key := bfd.Key{Peer: clients[0], Local: hub}.Normal()
	established := func() bool {
		synctest.Wait()
		st, err := core.Speaker().Peer(bgp.PeerKey{Addr: clients[0]})
		return err == nil && st.State == bgp.Established
	}
	// A failure from before the session was added is none of it; time is the Core's own.
	down := bfd.Event{Key: key, State: bfd.StateDown, Reason: bfd.ReasonExpired, RemoteC: true, Downs: 1, Time: now.Add(-time.Second)}
	if core.BFD(down); !established() {
		t.Error("an old failure ended the session")
	}
	now = now.Add(3 * time.Second)
	down.Downs, down.Time = 2, now.Add(-time.Second)
	if core.BFD(down); established() {
		t.Error("a failure did not end the session")
	}
	if !strings.Contains(log.String(), "reason=expired after=1s") {
		t.Errorf("the log does not say how long ago the failure was:\n%s", log.String())
	}
	core.Step()
	if got := service.take(); !slices.Equal(got, []string{"remove " + clients[0].String()}) {
		t.Errorf("after the failure: %v", got)
	}

	// All go, and the events of that are lost.
	for _, k := range kill[1:] {
		if err := k(); err != nil {
			t.Error(err)
		}
	}
	settle()
	core.watch.bgpEvent(bgp.Event{Kind: bgp.EventSnapshot, Lost: 1})
	var want []string
	for _, c := range clients[1:] {
		want = append(want, "remove "+c.String())
	}
	if got := service.take(); !slices.Equal(got, want) {
		t.Errorf("after lost events: %v, want %v", got, want)
	}
	if err := kill[0](); err != nil {
		t.Error(err)
	}
}

// TestRestartedBFD: a BFD session that the client, or the BFD service, has restarted ends the
// client's session only if it is not Up again within three seconds, by the clock of the Core.
func TestRestartedBFD(t *testing.T) {
	down := func(r bfd.Reason, d bfd.Diag) bfd.Event {
		return bfd.Event{State: bfd.StateDown, Reason: r, RemoteDiag: d}
	}
	var (
		byPeer  = down(bfd.ReasonNeighborDown, bfd.DiagNone)
		byUs    = down(bfd.ReasonNone, bfd.DiagNone)
		deaf    = down(bfd.ReasonNeighborDown, bfd.DiagExpired)
		expired = down(bfd.ReasonExpired, bfd.DiagNone)
		admin   = down(bfd.ReasonRemoteAdminDown, bfd.DiagAdminDown)
		up      = bfd.Event{State: bfd.StateUp}
	)
	type step struct {
		after time.Duration // since the step before
		say   *bfd.Event    // nil: nothing
		ends  bool          // the client's session, with this step
		due   time.Duration // until Deadline; 0: never
	}
	second := time.Second
	for name, steps := range map[string][]step{
		"by the peer, and up in time":     {{0, &byPeer, false, 3 * second}, {3*second - 1, nil, false, 1}, {0, &up, false, 0}, {time.Hour, nil, false, 0}},
		"by the peer, and not up in time": {{0, &byPeer, false, 3 * second}, {3*second - 1, nil, false, 1}, {1, nil, true, 0}},
		"by us, and up in time":           {{0, &byUs, false, 3 * second}, {2 * second, &up, false, 0}, {time.Hour, nil, false, 0}},
		"by us, and not up in time":       {{0, &byUs, false, 3 * second}, {3 * second, nil, true, 0}},
		"twice":                           {{0, &byPeer, false, 3 * second}, {second, &up, false, 0}, {second, &byPeer, false, 3 * second}, {3 * second, nil, true, 0}},
		"and it fails when it is up":      {{0, &byPeer, false, 3 * second}, {second, &up, false, 0}, {second, &expired, true, 0}},
		"and it fails, up unseen":         {{0, &byPeer, false, 3 * second}, {second, &expired, true, 0}},
		"and BFD ends on purpose":         {{0, &byPeer, false, 3 * second}, {second, &up, false, 0}, {second, &admin, false, 0}, {time.Hour, nil, false, 0}},
		"on purpose, up unseen":           {{0, &byPeer, false, 3 * second}, {second, &admin, false, 0}, {time.Hour, nil, false, 0}},
		"and it is removed":               {{0, &byPeer, false, 3 * second}, {second, &bfd.Event{Removed: true}, false, 0}, {time.Hour, nil, false, 0}},
		"the peer does not hear us":       {{0, &deaf, true, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
				network, client := &bgptest.Network{}, netip.MustParseAddr("192.0.2.2")
				core := newTestCore(t, network, CoreConfig{BFD: &recorder{}, Now: func() time.Time { return now }}, "-restart-time", "0", "-long-lived", "0")
				kill := []func() error{bgptest.Run(core.Speaker()), bgptest.Run(newClient(t, network, client))}
				time.Sleep(time.Second)
				synctest.Wait()
				core.Step()
				downs := uint64(0)
				say := func(e bfd.Event) {
					if e.State == bfd.StateDown && e.Reason != bfd.ReasonNone {
						downs++
					}
					e.Key, e.Time, e.Downs = bfd.Key{Peer: client, Local: hub}.Normal(), now, downs
					core.BFD(e)
				}
				established := func() bool {
					synctest.Wait()
					st, err := core.Speaker().Peer(bgp.PeerKey{Addr: client})
					return err == nil && st.State == bgp.Established
				}
				say(up)
				for i, s := range steps {
					now = now.Add(s.after)
					if s.say != nil {
						say(*s.say)
					}
					if did := core.Advance(); did != (s.ends && s.say == nil) {
						t.Errorf("step %d: Advance reports %v", i, did)
					}
					if ended := !established(); ended != s.ends {
						t.Errorf("step %d: the session has ended: %v, want %v", i, ended, s.ends)
					}
					var want time.Time
					if s.due > 0 {
						want = now.Add(s.due)
					}
					if at := core.Deadline(); !at.Equal(want) {
						t.Errorf("step %d: the deadline is %v, want %v", i, at, want)
					}
				}
				for _, k := range kill {
					if err := k(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// TestMaxClients: a client more than -max-clients is refused, and comes in when there is room.
func TestMaxClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &bgptest.Network{}
		core := newTestCore(t, network, CoreConfig{BFD: &recorder{}}, "-restart-time", "0", "-long-lived", "0", "-max-clients", "1")
		first, second := newClient(t, network, netip.MustParseAddr("192.0.2.2")), newClient(t, network, netip.MustParseAddr("192.0.2.3"))
		kill := []func() error{bgptest.Run(core.Speaker()), bgptest.Run(first)}
		time.Sleep(time.Second)
		kill = append(kill, bgptest.Run(second))
		time.Sleep(time.Minute)
		if all := core.Speaker().Peers(); len(all) != 1 || all[0].Key.Addr.String() != "192.0.2.2" {
			t.Errorf("with room for one: %v", all)
		}
		if err := kill[1](); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if all := core.Speaker().Peers(); len(all) != 1 || all[0].Key.Addr.String() != "192.0.2.3" {
			t.Errorf("after the first one has gone: %v", all)
		}
		for _, k := range []func() error{kill[0], kill[2]} {
			if err := k(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestTwoLevels: a route goes from a client of one reflector to a client of another by the
// reflector above both, with its next hop, and goes away with its client's session.
func TestTwoLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &bgptest.Network{}
		end := map[string]func() error{}
		start := func(addr, clients, more string) *bgp.Speaker {
			a := netip.MustParseAddr(addr)
			core, err := NewCore(CoreConfig{
				Args: strings.Fields("-as 65000 -cold -restart-time 0 -long-lived 0 -router-id " + addr + " -listen " + addr + ":179 -clients " + clients + more),
				BGP:  func(b *bgp.Config) { b.Listener, b.Dialer = network.Listen, network.Dialer(a) },
			})
			if err != nil {
				t.Fatal(err)
			}
			end[addr] = bgptest.Run(core.Speaker())
			return core.Speaker()
		}
		start("192.0.2.1", "192.0.2.0/29", "")
		start("192.0.2.2", "198.51.100.0/25", " -reflectors 192.0.2.1")
		start("192.0.2.3", "198.51.100.128/25", " -reflectors 192.0.2.1")
		client := func(addr, reflector string) *bgp.Speaker {
			a := netip.MustParseAddr(addr)
			s, err := bgp.New(bgp.Config{AS: 65000, RouterID: a, Dialer: network.Dialer(a)})
			if err == nil {
				err = s.AddPeer(bgp.PeerConfig{Addr: netip.MustParseAddr(reflector)})
			}
			if err != nil {
				t.Fatal(err)
			}
			end[addr] = bgptest.Run(s)
			return s
		}
		prefix := netip.MustParsePrefix("203.0.113.2/32")
		from, to := client("198.51.100.1", "192.0.2.2"), client("198.51.100.129", "192.0.2.3")
		if err := from.Originate(rib.LocalPath{Prefix: prefix}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		paths := to.Table().Lookup(prefix)
		if len(paths) != 1 || paths[0].NextHop.Addr.String() != "198.51.100.1" {
			t.Errorf("the other client has %v", paths)
		}
		if err := end["198.51.100.1"](); err != nil {
			t.Error(err)
		}
		delete(end, "198.51.100.1")
		time.Sleep(time.Second)
		if paths := to.Table().Lookup(prefix); len(paths) != 0 {
			t.Errorf("after its client has gone: %v", paths)
		}
		for _, e := range end {
			if err := e(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestNewCoreRefuses(t *testing.T) {
	for _, args := range []string{"", good + " -bfd 100ms,5", good + " -nonsense"} {
		if _, err := NewCore(CoreConfig{Args: strings.Fields(args)}); err == nil {
			t.Errorf("accepted: %s", args)
		}
	}
	core, err := NewCore(CoreConfig{Args: strings.Fields(good), BGP: func(c *bgp.Config) { c.AS = 65001 }})
	if err != nil || core.Step() != true {
		t.Errorf("%v, or the snapshot of a new speaker is no event", err)
	}
}

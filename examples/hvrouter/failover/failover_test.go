package failover

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

var quiet = slog.New(slog.DiscardHandler)

// The BFD process is started if none answers, and again once none has answered for a while.
func TestProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answers, fails atomic.Bool
		fails.Store(true)
		var starts atomic.Int64
		p := NewProcess(config.BFD{Process: "separate", Socket: "bfd.sock"}, quiet, func(c config.BFD) error {
			if c.Socket != "bfd.sock" {
				t.Errorf("socket %q", c.Socket)
			}
			starts.Add(1)
			if fails.Load() {
				return errors.New("no such program")
			}
			answers.Store(true)
			return nil
		})
		p.answer = func(string) bool { return answers.Load() }
		if err := p.Start(); err == nil || err.Error() != "BFD process: no such program" {
			t.Errorf("started: %v", err)
		}
		fails.Store(false)
		if err := p.Start(); err != nil || starts.Load() != 2 {
			t.Errorf("%d starts, %v", starts.Load(), err)
		}
		if err := p.Start(); err != nil || starts.Load() != 2 {
			t.Errorf("started although it answers: %d starts, %v", starts.Load(), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { p.Supervise(ctx); close(ended) }()
		step := func(what string, after time.Duration, want int64) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if starts.Load() != want {
				t.Errorf("%s: %d starts, want %d", what, starts.Load(), want)
			}
		}
		p.notice(nil) // it is there again
		step("nothing has happened", time.Minute, 2)
		p.notice(errors.New("lost"))
		step("it answers", time.Minute, 2)
		answers.Store(false)
		fails.Store(true)
		p.notice(errors.New("lost"))
		p.notice(errors.New("lost"))
		step("too early", absence-time.Millisecond, 2)
		step("gone", 2*time.Millisecond, 3)
		step("it does not start", absence, 4)
		fails.Store(false)
		step("it starts", absence, 5)
		step("it answers again", time.Minute, 5)
		cancel()
		<-ended
	})
}

// What the configuration says becomes a service, or none.
func TestService(t *testing.T) {
	for process, want := range map[string]bool{"in-process": true, "separate": true, "off": false} {
		p := NewProcess(config.BFD{Process: process, Socket: "/nowhere", Realtime: "off"}, quiet, nil)
		s, err := p.Service()
		if err != nil || (s != nil) != want {
			t.Errorf("%s: %v, %v", process, s, err)
		}
		if err := p.Start(); err != nil {
			t.Errorf("%s: %v", process, err)
		}
		p.Supervise(t.Context()) // nothing to supervise: it returns
	}
	for word, want := range map[string]bfd.RealTime{"auto": bfd.RealTimeAuto, "on": bfd.RealTimeRequired, "off": bfd.RealTimeOff} {
		if got := RealTime(config.BFD{Realtime: word}); got != want {
			t.Errorf("%s: %v", word, got)
		}
	}
}

// channelPaths are the calls that BGP gets.
type channelPaths chan string

func (p channelPaths) PathDown(w peering.Watch, _ bool) { p <- "down " + w.Key.Peer.String() }
func (p channelPaths) PathUp(w peering.Watch)           { p <- "up " + w.Key.Peer.String() }
func (p channelPaths) PathAdminDown(w peering.Watch)    { p <- "admin down " + w.Key.Peer.String() }

// A probe that does not come up in the time of grace is the end of its next hop; the end of ctx
// ends Run without an error, and Shutdown removes what there is.
func TestRun(t *testing.T) {
	c, err := configtest.Sample("testdata/single.yaml")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		server, err := bfd.NewServer(bfd.Config{RealTime: bfd.RealTimeOff}) // which does not run
		if err != nil {
			t.Fatal(err)
		}
		paths := make(channelPaths, 8)
		m := New(Config{Now: time.Now, Log: quiet, Kernels: map[string]Kernel{"": &fakeKernel{machine: &machine{}}}, Paths: paths, Service: server})
		m.Configure(c)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		time.Sleep(graceTime - time.Millisecond)
		synctest.Wait()
		if len(paths) > 0 {
			t.Errorf("within the time of grace: %s", <-paths)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if len(paths) != 1 {
			t.Fatalf("%d notices", len(paths))
		}
		if got := <-paths; got != "down 198.51.100.226" {
			t.Errorf("got %q", got)
		}
		if all, err := m.Sessions(); len(all) != 2 || err != nil {
			t.Errorf("sessions: %v, %v", all, err)
		}
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// Without BFD there is nothing to do.
func TestOff(t *testing.T) {
	c, err := configtest.Sample("hv1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := New(Config{Now: time.Now, Log: quiet})
	m.Configure(c)
	m.Refresh()
	if err := m.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if all, err := m.Sessions(); len(all) > 0 || err != nil || m.Echo(bfd.Key{}) {
		t.Errorf("%v, %v", all, err)
	}
}

// An end that BGP has not heard of is not hidden by the return that follows; a return is by
// the end that follows.
func TestNotices(t *testing.T) {
	n := notices{}
	w := peering.Watch{Key: bfd.Key{Interface: "a"}}
	n.down(w, true)
	n.up(w)
	if got := n[w.Key]; !got.down || !got.up || !got.remoteC {
		t.Errorf("down, up: %+v", got)
	}
	n.down(w, false)
	if got := n[w.Key]; !got.down || got.up || got.remoteC || len(n) != 1 {
		t.Errorf("down, up, down: %+v", got)
	}
}

func TestNextHops(t *testing.T) {
	var n NextHops
	a, b := peering.NextHop{Domain: "d", Link: "a"}, peering.NextHop{Domain: "d", Link: "b", IPv6: true}
	if !n.Dead().None() || n.Set([]peering.NextHop{a}, false) {
		t.Error("dead without having died")
	}
	if !n.Set([]peering.NextHop{a, b}, true) || n.Set([]peering.NextHop{a}, true) || !n.Set([]peering.NextHop{a}, false) {
		t.Error("what is new")
	}
	before := n.Dead()
	if !n.Carrier("c", true) || n.Carrier("c", true) || !n.Set([]peering.NextHop{b}, false) {
		t.Error("what is new")
	}
	if d := n.Dead(); d.Has(b) || !d.Has(peering.NextHop{Domain: "d", Link: "c"}) || d.None() {
		t.Errorf("now %v", d)
	}
	if before.Has(a) || !before.Has(b) || before.Has(peering.NextHop{Domain: "d", Link: "c"}) {
		t.Errorf("what was read has changed: %v", before)
	}
	both := [2]wire.NextHop{{Addr: netip.MustParseAddr("192.0.2.1")}, {Addr: netip.MustParseAddr("2001:db8::1")}}
	alive := before.Alive([]peering.Announced{{NextHop: peering.NextHop{Domain: "d", Link: "b"}, NextHops: both}})
	if got := alive[0].NextHops; got[0] != both[0] || got[1].Addr.IsValid() {
		t.Errorf("announced: %v", got)
	}
	if !slices.Equal(alive, before.Alive(alive)) {
		t.Error("not the same again")
	}
}

// brokenService cannot be asked to forget what an earlier run had.
type brokenService struct{ bfd.Service }

var errBroken = errors.New("no answer")

func (brokenService) Synced() error { return errBroken }

// A service that fails ends Run with its error, and what it refuses ends nothing.
func TestServiceFails(t *testing.T) {
	c, err := configtest.Sample("testdata/single.yaml")
	if err != nil {
		t.Fatal(err)
	}
	server, err := bfd.NewServer(bfd.Config{RealTime: bfd.RealTimeOff})
	if err != nil {
		t.Fatal(err)
	}
	m := New(Config{Now: time.Now, Log: quiet, Kernels: map[string]Kernel{"": &fakeKernel{machine: &machine{}}}, Paths: make(channelPaths, 8), Service: brokenService{server}})
	m.Configure(c)
	if err := m.Run(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("ended by %v", err)
	}
}

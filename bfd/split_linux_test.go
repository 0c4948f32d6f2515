package bfd

import (
	"context"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// remote is a plain server of ours in namespace B, the peer of the sessions under
// test.
func (p pair) remote(tb testing.TB, configs ...SessionConfig) *trial {
	tb.Helper()
	r := newServer(tb)
	for _, c := range configs {
		r.add(c)
	}
	return r
}

// mirror is a session seen from the other end.
func (p pair) mirror(c SessionConfig) SessionConfig {
	c.Peer, c.Local, c.NetNS, c.Failover = c.Local, c.Peer, p.b.Path, nil
	return c
}

// runClient starts a client and returns what stops it without a word, as kill -9 would.
func runClient(tb testing.TB, c *Client) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			cancel()
			<-done
			stopped = true
		}
	}
	tb.Cleanup(stop)
	nstest.Wait(tb, 3*time.Second, "connected", c.Connected)
	return stop
}

// TestSplit: a session in another process has the C bit, outlives its client, is
// taken over by key, shared with the more demanding timers, and ends with the
// restart time.
func TestSplit(t *testing.T) { nstest.Steady(t, stillness, testSplit) }

func testSplit(t testing.TB) {
	p := newPair(t)
	path := filepath.Join(t.TempDir(), "bfd.sock")
	proc := newChild(t, path, 2*time.Second)
	cfg := fast(p.key("10.9.0.2"))
	remote := p.remote(t, p.mirror(cfg))
	rk := p.mirror(cfg).Key

	first := newClient(t, path, "daemon")
	if err := first.Add(cfg); err != nil { // before the connection
		t.Fatal(err)
	}
	stop := runClient(t, first)
	waitStatus(t, first, cfg.Key, "Up", func(s Status) bool { return s.State == StateUp })
	if e := remote.until(rk, StateUp); !e.RemoteC {
		t.Error("the C bit is not set by the separate process")
	}
	discr := statusOf(t, first, cfg.Key).Discr

	t.Log("another client wants it faster")
	other := newClient(t, path, "other")
	stopOther := runClient(t, other)
	faster := cfg
	faster.DesiredMinTx, faster.RequiredMinRx = ms(50), ms(200)
	if err := other.Add(faster); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, first, cfg.Key, "merged", func(s Status) bool { return s.DesiredMinTx == ms(50) && s.RequiredMinRx == ms(100) })
	if err := other.Remove(cfg.Key); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, first, cfg.Key, "as before", func(s Status) bool { return s.DesiredMinTx == ms(100) })
	if err := other.Remove(cfg.Key); err != ErrNoSession {
		t.Error("removed twice:", err)
	}

	t.Log("the client dies and another life of it adopts")
	stop()
	second := newClient(t, path, "daemon")
	w := second.Watch()
	if err := second.Add(cfg); err != nil {
		t.Fatal(err)
	}
	stop = runClient(t, second)
	e := make([]Event, 1)
	if _, err := w.Next(context.Background(), e); err != nil || e[0].State != StateUp {
		t.Errorf("first event of an adopted session: %+v %v", e, err)
	}
	if err := second.Synced(); err != nil {
		t.Error(err)
	}
	if s := statusOf(t, second, cfg.Key); s.Discr != discr || s.Downs != 0 {
		t.Errorf("adopted with a flap: %+v", s)
	}
	if s := remote.status(rk); s.Downs != 0 || s.State != StateUp {
		t.Errorf("the remote end saw it: %+v", s)
	}

	t.Log("what a later life does not ask for ends with Synced")
	stop()
	third := newClient(t, path, "daemon")
	if err := third.Synced(); err != nil { // said before there is a connection
		t.Error(err)
	}
	stop = runClient(t, third)
	if e := remote.down(rk); e.Reason != ReasonRemoteAdminDown {
		t.Errorf("swept: %+v", e)
	}
	if err := third.Add(cfg); err != nil { // comes back to life while it lingers
		t.Fatal(err)
	}
	remote.until(rk, StateUp)

	t.Log("without clients, AdminDown and the end")
	stop()
	stopOther()
	if e := remote.down(rk); e.Reason != ReasonRemoteAdminDown {
		t.Errorf("end: %+v", e)
	}
	select {
	case err := <-proc.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(nstest.Patience):
		t.Error("the process does not end without clients")
	}
}

func statusOf(tb testing.TB, s Service, k Key) Status {
	tb.Helper()
	list, err := s.Sessions()
	if err != nil {
		tb.Fatal(err)
	}
	for _, st := range list {
		if st.Key == k.Normal() {
			return st
		}
	}
	return Status{}
}

func waitStatus(tb testing.TB, s Service, k Key, what string, ok func(Status) bool) {
	tb.Helper()
	last := Status{}
	defer func() {
		if tb.Failed() {
			tb.Logf("last: %+v", last)
		}
	}()
	nstest.Wait(tb, 15*time.Second, what, func() bool { last = statusOf(tb, s, k); return ok(last) })
}

// TestHandover: the BFD process is replaced three times by a successor; nobody
// goes down, discriminators and authentication sequence numbers go on, and the
// client is served again.
func TestHandover(t *testing.T) { nstest.Steady(t, stillness, testHandover) }

func testHandover(t testing.TB) {
	p := newPair(t)
	path := filepath.Join(t.TempDir(), "bfd.sock")
	proc := newChild(t, path, time.Minute)
	client := newClient(t, path, "daemon")
	runClient(t, client)
	remote := p.remote(t)
	var keys []Key
	for i := range 30 {
		cfg := fast(p.key("10.9.0.2"))
		cfg.Multiplier = 5
		cfg.Local = netip.AddrFrom4([4]byte{10, 9, 0, byte(100 + i)})
		p.a.IP("addr add " + cfg.Local.String() + "/24 dev v0")
		cfg.Auth = Auth{Type: AuthType(i % 6), Keys: []AuthKey{{1, "secret"}}}
		if cfg.Auth.Type == AuthNone {
			cfg.Auth.Keys = nil
		}
		remote.add(p.mirror(cfg))
		if err := client.Add(cfg); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, cfg.Key)
	}
	before := map[Key]Status{}
	for _, k := range keys {
		waitStatus(t, client, k, "Up", func(s Status) bool { return s.State == StateUp && s.TxInterval == ms(100) })
		before[k] = statusOf(t, client, k)
	}
	for range 3 {
		next := newChild(t, path, time.Minute, "HYPERFIB_BFD_TAKEOVER=1")
		select {
		case err := <-proc.done:
			if err != nil {
				t.Fatal(err)
			}
		case err := <-next.done:
			t.Fatal("the successor ended:", err)
		case <-time.After(nstest.Patience):
			t.Fatal("no handover")
		}
		proc = next
		nstest.Wait(t, 3*time.Second, "client connected again", client.Connected)
		time.Sleep(ms(600)) // more than a detection time
	}
	for _, k := range keys {
		now := statusOf(t, client, k)
		if now.State != StateUp || now.Downs != 0 || now.Discr != before[k].Discr || now.Sent <= before[k].Sent || now.Since.Sub(before[k].Since).Abs() > ms(5) {
			t.Errorf("before %+v\nafter %+v", before[k], now)
		}
	}
	list, err := remote.Sessions()
	if err != nil || len(list) != len(keys) {
		t.Fatal(len(list), err)
	}
	for _, s := range list {
		if s.State != StateUp || s.Downs != 0 {
			t.Errorf("remote end: %+v", s)
		}
	}
}

// TestEcho: a next hop that speaks no BFD and merely forwards is watched, in both
// families; it goes Down when it stops forwarding, and survives a handover.
func TestEcho(t *testing.T) { nstest.Steady(t, stillness, testEcho) }

func testEcho(t testing.TB) {
	p := newPair(t)
	p.b.Sysctl("net/ipv4/ip_forward", "1")
	p.b.Sysctl("net/ipv6/conf/all/forwarding", "1")
	path := filepath.Join(t.TempDir(), "bfd.sock")
	proc := newChild(t, path, time.Minute)
	client := newClient(t, path, "daemon")
	runClient(t, client)
	var keys []Key
	for _, peer := range []string{"10.9.0.2", "fd09::2"} {
		cfg := fast(p.key(peer))
		cfg.Echo = true
		if err := client.Add(cfg); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, cfg.Key)
	}
	all := func(what string, ok func(Status) bool) {
		t.Helper()
		for _, k := range keys {
			waitStatus(t, client, k, what, ok)
		}
	}
	all("Up", func(s Status) bool { return s.State == StateUp && s.TxInterval == ms(100) && s.DetectTime == ms(300) })
	next := newChild(t, path, time.Minute, "HYPERFIB_BFD_TAKEOVER=1")
	if err := <-proc.done; err != nil {
		t.Fatal(err)
	}
	nstest.Wait(t, 3*time.Second, "client connected again", client.Connected)
	time.Sleep(time.Second)
	all("Up after a handover", func(s Status) bool { return s.State == StateUp && s.Downs == 0 })
	p.b.Sysctl("net/ipv4/ip_forward", "0")
	p.b.Sysctl("net/ipv6/conf/all/forwarding", "0")
	all("Down", func(s Status) bool {
		return s.State == StateDown && s.Reason == ReasonEchoFailed && s.Diag == DiagEchoFailed
	})
	p.b.Sysctl("net/ipv4/ip_forward", "1")
	p.b.Sysctl("net/ipv6/conf/all/forwarding", "1")
	all("Up again", func(s Status) bool { return s.State == StateUp })
	_ = next
}

// TestStopped: the BFD process does not run for 0.9 of the detection time while
// the peer goes on sending. What waits in the socket counts before anybody is
// declared dead. A client that is stopped meanwhile holds nobody up.
func TestStopped(t *testing.T) { nstest.Steady(t, stillness, testStopped) }

func testStopped(t testing.TB) {
	p := newPair(t)
	path := filepath.Join(t.TempDir(), "bfd.sock")
	proc := newChild(t, path, time.Minute)
	client := newClient(t, path, "daemon")
	runClient(t, client)
	cfg := fast(p.key("10.9.0.2"))
	cfg.Multiplier = 20 // for the peer's patience with us
	there := p.mirror(cfg)
	there.Multiplier = 5
	remote := p.remote(t, there)
	if err := client.Add(cfg); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, client, cfg.Key, "Up", func(s Status) bool { return s.State == StateUp && s.DetectTime == ms(500) })
	for range 3 {
		_ = proc.cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(ms(450))
		_ = proc.cmd.Process.Signal(syscall.SIGCONT)
		time.Sleep(ms(300))
	}
	if s := statusOf(t, client, cfg.Key); s.State != StateUp || s.Downs != 0 {
		t.Errorf("%+v", s)
	}
	remote.statusIs(there.Key, "Up", func(s Status) bool { return s.State == StateUp && s.Downs == 0 })
}

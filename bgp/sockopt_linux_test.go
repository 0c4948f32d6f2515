package bgp

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"golang.org/x/sys/unix"
)

// TestProbes: TCP asks the peer of a connection whether it is there until that has become a session, and only
// then.
func TestProbes(t *testing.T) {
	for _, hold := range []time.Duration{0, 90 * time.Second} {
		nc, _ := tcpPair(t)
		e := &env{ctx: t.Context()}
		s := (&netSocket{nc: nc, env: e}).start()
		if on, limit := probed(t, nc); !on || limit != probeTime {
			t.Errorf("before: keepalives %v, user timeout %v", on, limit)
		}
		s.established(hold, 0)
		if on, limit := probed(t, nc); on || limit != 2*hold {
			t.Errorf("hold time %v: keepalives %v, user timeout %v", hold, on, limit)
		}
		s.close(nil, 0)
		e.wg.Wait()
	}
}

// probed returns whether TCP sends keepalives on a connection, and its user timeout.
func probed(t *testing.T, nc net.Conn) (on bool, limit time.Duration) {
	t.Helper()
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var enabled, ms int
	err = rawControl(raw, func(fd int) (err error) {
		if enabled, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE); err == nil {
			ms, err = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return enabled != 0, time.Duration(ms) * time.Millisecond
}

// TestOpenLost: a router that took our connection is gone by the time that it would have sent its OPEN, and
// what its kernel says of that is lost. Nothing is to be sent again on that connection, and the hold timer has
// four minutes; the router, which only listens, has its session all the same.
func TestOpenLost(t *testing.T) {
	l := newLAN(t)
	nstest.Need(t, "nft")
	r := startReal(t, l.hub, Config{})
	b := startBIRD(l, 2, birdPeer("passive on;"))
	b.waitFor("BIRD listens", "show protocols", "hub")
	if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil { // its kernel takes connections
		t.Fatal(err)
	}
	r.must(r.AddPeer(PeerConfig{Addr: netip.MustParseAddr("10.77.0.2")}))
	nstest.Wait(t, time.Minute, "OpenSent", func() bool { return r.Peers()[0].State == OpenSent })
	b.ns.Exec("nft", "add table ip cut; add chain ip cut in { type filter hook input priority 0; policy drop; }; add chain ip cut out { type filter hook output priority 0; policy drop; }")
	b.kill()
	b.start()
	b.waitFor("BIRD listens", "show protocols", "hub")
	b.ns.Exec("nft", "delete table ip cut")
	nstest.Wait(t, 2*time.Minute, "Established", func() bool { return r.Peers()[0].State == Established })
	if e := r.Peers()[0].LastError; e == nil || e.Sent != nil {
		t.Errorf("not TCP has ended the connection, but: %v", e)
	}
}

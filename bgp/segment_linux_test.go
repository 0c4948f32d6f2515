package bgp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// segmentRoutes is how many routes go through the proxies.
const segmentRoutes = 1_000_000

// TestSegmentsBIRD and TestSegmentsFRR send a million routes from one speaker of ours to
// another, by way of a real reflector with extended messages, through proxies that cut both
// connections at random in both directions: all arrive, in one session each.
func TestSegmentsBIRD(t *testing.T) {
	l := newLAN(t)
	session := `protocol bgp c%d { local 10.77.0.2 as 65000; neighbor 10.77.0.%d as 65000; direct; passive; rr client;
  enable extended messages on; ipv4 { import all; export all; }; }
`
	startBIRD(l, 2, fmt.Sprintf(session+session, 1, 1, 3, 3))
	passSegments(t, l)
}

func TestSegmentsFRR(t *testing.T) {
	l := newLAN(t)
	conf := "router bgp 65000\n bgp router-id ROUTERID\n bgp cluster-id 10.77.0.2\n no bgp default ipv4-unicast\n"
	for _, n := range []int{1, 3} {
		conf += fmt.Sprintf(" neighbor 10.77.0.%[1]d remote-as 65000\n neighbor 10.77.0.%[1]d passive\n address-family ipv4 unicast\n  neighbor 10.77.0.%[1]d activate\n"+
			"  neighbor 10.77.0.%[1]d route-reflector-client\n exit-address-family\n", n)
	}
	startFRR(l, 2, conf)
	passSegments(t, l)
}

func passSegments(t *testing.T, l *lan) {
	l.hub.IP("addr add 10.77.0.3/24 dev br0")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	peer := netip.MustParseAddr("10.77.0.2")
	speaker := func(n byte) *real {
		p := proxy{ns: l.hub.Path, rand: rand.New(rand.NewPCG(seed, uint64(n)))}
		addr := netip.AddrFrom4([4]byte{10, 77, 0, n})
		r := startReal(t, l.hub, Config{RouterID: addr, Listen: []netip.AddrPort{netip.AddrPortFrom(addr, Port)}, Dialer: p.dial})
		r.must(r.AddPeer(PeerConfig{Addr: peer, LocalAddr: addr, NextHop4: addr}))
		nstest.Wait(t, 30*time.Second, fmt.Sprintf("session of %v", addr), func() bool { return r.Peers()[0].State == Established })
		if !r.Peers()[0].Negotiated.ExtendedMessage {
			t.Fatal("no extended messages")
		}
		return r
	}
	from, to := speaker(1), speaker(3)
	for i := range segmentRoutes {
		n := i % 300 // attribute sets
		from.must(from.Table().Originate(rib.LocalPath{Prefix: segmentRoute(i), Attrs: wire.PathAttrs{Communities: []wire.Community{wire.Community(n + 1)}}}))
	}
	nstest.Wait(t, 5*time.Minute, "all routes", func() bool { return to.Peers()[0].Families[0].Paths == segmentRoutes })
	for i := range segmentRoutes {
		paths := to.Table().Lookup(segmentRoute(i))
		if len(paths) != 1 || !paths[0].Attrs.Communities().Contains(wire.Community(i%300+1)) {
			t.Fatalf("%v: %+v", segmentRoute(i), paths)
		}
	}
	for i := range segmentRoutes {
		from.Table().Withdraw(segmentRoute(i), 0)
	}
	nstest.Wait(t, 5*time.Minute, "the withdrawals", func() bool { return to.Peers()[0].Families[0].Paths == 0 })
	for _, r := range []*real{from, to} {
		if st := r.Peers()[0]; st.Established != 1 || st.State != Established {
			t.Errorf("%v: %v, %d sessions, %v", r.env.cfg.RouterID, st.State, st.Established, st.LastError)
		}
	}
}

func segmentRoute(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(i>>16), byte(i >> 8), byte(i), 0}), 32)
}

// proxy dials for a speaker, and sends what comes in either direction on in pieces of
// random size.
type proxy struct {
	ns   string
	rand *rand.Rand
}

func (p *proxy) dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	var far net.Conn
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local)}
	err := netns.Do(p.ns, func() (err error) {
		far, err = d.DialContext(ctx, "tcp4", remote.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	ours, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return nil, err
	}
	near, err := l.Accept()
	if err != nil {
		return nil, err
	}
	go p.copy(near, far, rand.New(rand.NewPCG(p.rand.Uint64(), 1)))
	go p.copy(far, near, rand.New(rand.NewPCG(p.rand.Uint64(), 2)))
	return ours, nil
}

// copy writes pieces of sizes that come in runs, with a pause now and then, so that the
// kernel cannot put them together again.
func (p *proxy) copy(to, from net.Conn, r *rand.Rand) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 1<<20)
	size := 1448
	for {
		n, err := from.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			if r.IntN(100) == 0 {
				size = []int{19, 536, 1448, 4096, 20000, 65536}[r.IntN(6)]
			}
			k := min(len(b), size)
			if r.IntN(50) == 0 {
				k = min(len(b), 1+r.IntN(65536))
			}
			if _, err := to.Write(b[:k]); err != nil {
				return
			}
			if r.IntN(10) == 0 {
				time.Sleep(time.Duration(r.IntN(200)) * time.Microsecond)
			}
			b = b[k:]
		}
		if err != nil {
			return
		}
	}
}

package bgp_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/malformed"
)

// The routes that every case starts from, and one to see that the session lives.
const (
	route4 = "203.0.113.0/24"
	route6 = "2001:db8:1::/48"
	probe  = "198.18.0.0/15"
)

// mark is in the communities of the routes before the case.
var mark = wire.NewCommunity(65000, 9999)

// TestRobustness sends each message of the table to a route reflector, in a session
// that has announced a route of each family, and looks at what a second client then
// has: no stale route, no stuck session, nobody else harmed.
func TestRobustness(t *testing.T) {
	for _, c := range malformed.Cases() {
		for _, m := range manners {
			if m.dynamic && c.Peer == "ebgp" {
				continue // the ranges here are internal
			}
			t.Run(c.Name+m.name, func(t *testing.T) {
				inStage(t, c, m, func(s *stage) {
					if c.Peer == "open" {
						s.judgeOpen()
					} else {
						s.judge()
					}
				})
			})
		}
	}
}

// manner is a way to play a case.
type manner struct {
	name    string
	size    int  // octets that the culprit writes at a time
	dynamic bool // the peers come from a range, and graceful restart is on
}

var manners = []manner{
	{"", wire.MaxExtendedLen, false},
	{" by octets", 1, false},
	{" dynamic", wire.MaxExtendedLen, true},
}

// inStage runs f in virtual time, with a reflector and a witness.
func inStage(t *testing.T, c malformed.Case, m manner, f func(*stage)) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, c, m)
		defer s.stop()
		f(s)
	})
}

// stage is a reflector with a culprit and a witness.
type stage struct {
	t       *testing.T
	c       malformed.Case
	net     *bgptest.Network
	speaker *bgp.Speaker
	cancel  context.CancelFunc
	ran     chan error
	witness *rawPeer
	culprit *rawPeer
	as      uint32 // of the culprit
	manner  manner
	b       wire.Builder
}

func newStage(t *testing.T, c malformed.Case, m manner) *stage {
	s := &stage{t: t, c: c, net: &bgptest.Network{}, ran: make(chan error, 1), as: 65000, manner: m}
	if m.size == 1 {
		s.net.Segment(1, 1)
	}
	if c.Peer == "ebgp" {
		s.as = 64512
	}
	s.b = wire.Builder{AS4: c.Options.AS4, AddPath: c.Options.AddPath}
	both := []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}
	var err error
	s.speaker, err = bgp.New(bgp.Config{AS: 65000, RouterID: netip.MustParseAddr("10.9.0.1"),
		Listen: []netip.AddrPort{hub}, Listener: s.net.Listen, GracefulRestart: bgp.GracefulRestart{Enabled: m.dynamic}})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"10.9.0.2", "10.9.0.3"} {
		p := bgp.PeerConfig{Addr: netip.MustParseAddr(addr), Passive: true, Families: both, RouteReflectorClient: true}
		if addr == "10.9.0.2" {
			p.AS, p.RouteReflectorClient, p.AddPathReceive = s.as, s.as == 65000, c.Options.AddPath.Slice()
		}
		if s.as != 65000 && addr == "10.9.0.2" {
			p.Import, p.Export = rib.AcceptAll, rib.AcceptAll
			p.EBGP.AnyFirstAS = true // what is malformed is no better for its AS
		}
		if m.dynamic {
			prefix := netip.PrefixFrom(p.Addr, 32)
			p.Addr = netip.Addr{}
			err = s.speaker.AddRange(bgp.RangeConfig{Prefix: prefix, Template: p})
		} else {
			err = s.speaker.AddPeer(p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	go func() { s.ran <- s.speaker.Run(ctx) }()
	synctest.Wait()
	s.witness = s.connect("10.9.0.3", rawOpen("10.9.0.3", 65000, true, both...))
	synctest.Wait()
	return s
}

func (s *stage) stop() {
	s.cancel()
	if err := <-s.ran; err != nil && err != context.Canceled {
		s.t.Error(err)
	}
	s.witness.conn.Close()
	if s.culprit != nil {
		s.culprit.conn.Close()
	}
	synctest.Wait()
	if s.witness.problem != nil {
		s.t.Errorf("the witness was sent rubbish: %v", s.witness.problem)
	}
}

// hub is where the reflector listens.
var hub = netip.MustParseAddrPort("10.9.0.1:179")

// dial connects to the reflector from an address.
func (s *stage) dial(from string) *rawPeer {
	s.t.Helper()
	c, err := s.net.Dialer(netip.MustParseAddr(from))(s.t.Context(), netip.AddrPort{}, hub)
	if err != nil {
		s.t.Fatal(err)
	}
	return newRawPeer(c)
}

// connect brings a session up.
func (s *stage) connect(from string, o wire.Open) *rawPeer {
	p := s.dial(from)
	p.send(o.Append(nil))
	p.send(wire.AppendKeepalive(nil))
	return p
}

// culprits brings the session of the case up and announces the routes.
func (s *stage) culprits() {
	families := s.c.Options.Families.Slice()
	if s.c.Options.Families == 0 {
		families = []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}
	}
	o := rawOpen("10.9.0.2", s.as, s.c.Options.AS4, families...)
	for _, f := range s.c.Options.AddPath.Slice() {
		o.Capabilities.AddPath = append(o.Capabilities.AddPath, wire.AddPath{Family: f, Send: true})
	}
	s.culprit = s.connect("10.9.0.2", o)
	s.announce(route4, mark)
	if s.c.Peer != "v4only" {
		s.announce(route6, mark)
	}
	s.settle()
	s.expect(route4, true)
	s.expect(route6, s.c.Peer != "v4only")
}

// offend sends the message of the case.
func (s *stage) offend() {
	for b := s.c.Message; len(b) > 0; {
		n := min(s.manner.size, len(b))
		s.culprit.send(b[:n])
		b = b[n:]
	}
}

// settle lets everything come to rest, and virtual time pass in which the reflector
// may collect changes.
func (s *stage) settle() {
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
}

func (s *stage) announce(prefix string, cc ...wire.Community) {
	s.culprit.send(announce(s.t, s.b, []uint32{64512}, prefix, cc...))
}

func (s *stage) expect(prefix string, want bool) {
	s.t.Helper()
	if _, ok := s.witness.route(prefix); ok != want {
		s.t.Errorf("line %d: the witness has %s: %v", s.c.Line, prefix, ok)
	}
}

// judge plays a case for an established session.
func (s *stage) judge() {
	s.culprits()
	s.offend()
	s.settle()
	if s.c.Want.Disposition == wire.SessionReset {
		s.reset()
		s.expect(route4, false)
		s.expect(route6, false)
	} else {
		s.keeps()
	}
	if s.witness.ended() {
		s.t.Errorf("line %d: the witness lost its session", s.c.Line)
	}
	if s.culprit.ended() {
		s.culprits() // it may come back at once
	}
	s.announce(probe)
	s.announce(route4)
	s.settle()
	s.expect(probe, true)
	s.expect(route4, true)
	if a, _ := s.witness.route(route4); a.Communities().Contains(mark) {
		s.t.Errorf("line %d: the route from before is still there", s.c.Line)
	}
}

// reset checks that the culprit was sent the right NOTIFICATION and the session
// ended.
func (s *stage) reset() {
	if !s.culprit.ended() || s.culprit.notification == nil {
		s.t.Fatalf("line %d: session ended: %v, notification %v", s.c.Line, s.culprit.ended(), s.culprit.notification)
	}
	if n := s.culprit.notification; uint8(n.Code) != s.c.Want.Code || n.Subcode != s.c.Want.Subcode {
		s.t.Errorf("line %d: %v, want %v", s.c.Line, n, s.c.Want)
	}
}

// keeps checks that the session stays, and that the witness has what the message
// announces and lacks what it withdraws.
func (s *stage) keeps() {
	if s.culprit.ended() || s.culprit.notification != nil {
		s.t.Fatalf("line %d: the session ended: %v", s.c.Line, s.culprit.notification)
	}
	if wire.MessageType(s.c.Message[18]) != wire.TypeUpdate {
		return
	}
	var u wire.Update
	_ = u.Parse(s.c.Message[wire.HeaderLen:], s.c.Options)
	reached := map[netip.Prefix]bool{}
	elsewhere := u.MPNextHop.Addr.IsLinkLocalUnicast() // the session is on no link
	for _, f := range []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast} {
		for n, err := range u.Reach(f) {
			if err == nil {
				reached[n.Prefix] = true
			}
		}
		for n := range u.Unreach(f) {
			if !reached[n.Prefix] {
				s.expect(n.Prefix.String(), false)
			}
		}
	}
	for p := range reached {
		s.expect(p.String(), s.c.Want.Disposition < wire.TreatAsWithdraw && !(p.Addr().Is6() && elsewhere))
		if a, ok := s.witness.route(p.String()); ok {
			s.attributes(a)
		}
	}
}

// attributes compares what the witness got with the table.
func (s *stage) attributes(a wire.Attrs) {
	if a.Communities().Contains(mark) {
		s.t.Errorf("line %d: stale route", s.c.Line)
	}
	flags := map[wire.AttrType]uint8{}
	for x := range a.All() {
		flags[x.Type] = x.Flags | 1
	}
	for _, t := range s.c.Want.Has {
		if flags[t] == 0 && (s.c.Peer != "ebgp" || t != wire.AttrMED) {
			s.t.Errorf("line %d: %v was not passed on", s.c.Line, t)
		}
	}
	for _, t := range s.c.Want.Partial {
		if flags[t]&wire.FlagPartial == 0 {
			s.t.Errorf("line %d: %v is not partial", s.c.Line, t)
		}
	}
	for _, t := range s.c.Want.Lacks {
		if flags[t] != 0 && t != wire.AttrLocalPref { // which every internal peer is sent
			s.t.Errorf("line %d: %v was passed on", s.c.Line, t)
		}
	}
}

// judgeOpen plays a case whose message is the first of its connection.
func (s *stage) judgeOpen() {
	s.culprit = s.dial("10.9.0.2")
	s.offend()
	s.culprit.send(wire.AppendKeepalive(nil))
	s.settle()
	if s.c.Want.Disposition == wire.SessionReset {
		s.reset()
	} else if s.culprit.ended() || s.culprit.keepalives == 0 {
		s.t.Fatalf("line %d: not Established: %v", s.c.Line, s.culprit.notification)
	} else {
		s.culprit.conn.Close()
	}
	synctest.Wait()
	s.c.Options = wire.Options{AS4: true}
	s.b = wire.Builder{AS4: true}
	s.culprits() // a proper OPEN after it
}

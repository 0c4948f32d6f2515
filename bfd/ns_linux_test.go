package bfd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const birdTimers = `interface "*" { min rx interval %s; min tx interval %s; multiplier %d; %s };
multihop { min rx interval %s; min tx interval %s; multiplier %d; };
neighbor 10.9.0.1; neighbor fd09::1; neighbor fe80::1 dev "v0"; neighbor 10.99.0.1 local 10.99.0.2 multihop on;`

func birdBFD(interval string, mult int, extra string) string {
	return fmt.Sprintf(birdTimers, interval, interval, mult, extra, interval, interval, mult)
}

// TestBIRD: IPv4, IPv6, link-local and multihop at once; timers changed on either
// side; AdminDown; BIRD killed and started again.
func TestBIRD(t *testing.T) { nstest.Steady(t, stillness, testBIRD) }

func testBIRD(t testing.TB) {
	p := newPair(t)
	bird := p.bird(t, birdBFD("100 ms", 3, ""))
	s := newServer(t)
	keys := []Key{p.key("10.9.0.2"), p.key("fd09::2"), p.key("fe80::2"), p.key("10.99.0.2")}
	for _, k := range keys {
		s.add(fast(k))
	}
	for _, k := range keys {
		s.statusIs(k, "Up", func(st Status) bool { return st.State == StateUp && st.RemoteState == StateUp })
	}
	for _, who := range []string{"10.9.0.1", "fd09::1", "fe80::1", "10.99.0.1"} {
		bird.birdSays(who+" ", "Up", "0.100", "0.300")
	}
	k := keys[0]

	t.Log("our timers change")
	c := fast(k)
	c.DesiredMinTx, c.RequiredMinRx, c.Multiplier = ms(200), ms(300), 4
	s.add(c)
	bird.birdSays("10.9.0.1 ", "Up", "0.300", "0.800") // BIRD's interval, its timeout
	s.statusIs(k, "timers", func(st Status) bool { return st.TxInterval == ms(200) && st.DetectTime == ms(900) })
	c.DesiredMinTx, c.RequiredMinRx = ms(50), ms(50)
	s.add(c)
	s.statusIs(k, "timers", func(st Status) bool { return st.TxInterval == ms(100) && st.DetectTime == ms(300) })

	t.Log("BIRD's timers change")
	bird.birdConfig(birdBFD("50 ms", 5, ""))
	bird.birdc("configure")
	s.statusIs(k, "timers", func(st Status) bool { return st.TxInterval == ms(50) && st.DetectTime == ms(250) })

	t.Log("AdminDown here")
	c.AdminDown = true
	s.add(c)
	bird.birdSays("10.9.0.1 ", "Down")
	c.AdminDown = false
	s.add(c)
	s.statusIs(k, "fast again", func(st Status) bool { return st.DetectTime == ms(250) })
	for _, k := range keys {
		s.statusIs(k, "Up", func(st Status) bool { return st.State == StateUp })
		if st := s.status(k); k != keys[0] && st.Downs != 0 {
			t.Errorf("%v flapped: %+v", k, st)
		}
	}

	t.Log("BIRD dies and comes back")
	s.clear()
	bird.kill()
	if e := s.down(k); e.Reason != ReasonExpired || e.Diag != DiagExpired {
		t.Errorf("BIRD killed: %+v", e)
	}
	bird.birdRun()
	s.until(k, StateUp)

	t.Log("removed here")
	if err := s.Remove(k); err != nil {
		t.Fatal(err)
	}
	bird.birdSays("10.9.0.1 ", "Down")
}

// down waits until a session that was Up leaves Up.
func (r *trial) down(k Key) Event {
	r.tb.Helper()
	for {
		if e := r.until(k, StateDown); e.Reason != ReasonNone {
			return e
		}
	}
}

// TestBIRDAuth: every type of authentication, a wrong key, and a key changed
// while the session is Up.
func TestBIRDAuth(t *testing.T) {
	p := newPair(t)
	types := map[AuthType]string{AuthSimple: "simple", AuthMD5: "keyed md5", AuthMeticulousMD5: "meticulous keyed md5", AuthSHA1: "keyed sha1", AuthMeticulousSHA1: "meticulous keyed sha1"}
	auth := func(typ AuthType) string {
		return fmt.Sprintf(`authentication %s; password "good" { id 3; };`, types[typ])
	}
	bird := p.bird(t, birdBFD("100 ms", 10, auth(AuthSimple)))
	for typ := AuthSimple; typ <= AuthMeticulousSHA1; typ++ {
		t.Run(typ.String(), func(t *testing.T) {
			nstest.Steady(t, stillness, func(t testing.TB) {
				bird.kill()
				bird.birdConfig(birdBFD("100 ms", 10, auth(typ)))
				bird.birdRun()
				s := newServer(t)
				k := p.key("10.9.0.2")
				c := fast(k)
				c.Auth = Auth{Type: typ, Keys: []AuthKey{{3, "wrong"}}}
				s.add(c)
				s.statusIs(k, "packets refused", func(st Status) bool { return st.Refused > 0 && st.State == StateDown })
				c.Auth.Keys = []AuthKey{{3, "good"}}
				s.add(c)
				s.until(k, StateUp)
				bird.birdSays("10.9.0.1 ", "Up")
				c.Auth.Keys = []AuthKey{{3, "good"}, {4, "next"}}
				s.add(c)
				before := s.status(k)
				s.statusIs(k, "20 packets more", func(st Status) bool { return st.Received > before.Received+20 })
				if st := s.status(k); st.Downs != 0 {
					t.Errorf("flapped: %+v", st)
				}
			})
		})
	}
}

const frrTimers = `bfd
 profile fast
  receive-interval %d
  transmit-interval %d
  detect-multiplier %d
 !
 peer 10.9.0.1 local-address 10.9.0.2 interface v0
  profile fast
 !
 peer fd09::1 local-address fd09::2 interface v0
  profile fast
 !
 peer fe80::1 local-address fe80::2 interface v0
  profile fast
 !
 peer 10.99.0.1 multihop local-address 10.99.0.2
  profile fast
 !
!
`

// TestFRR is TestBIRD with FRR's bfdd.
func TestFRR(t *testing.T) { nstest.Steady(t, stillness, testFRR) }

func testFRR(t testing.TB) {
	p := newPair(t)
	frr := p.frr(t, fmt.Sprintf(frrTimers, 100, 100, 3))
	s := newServer(t)
	keys := []Key{p.key("10.9.0.2"), p.key("fd09::2"), p.key("fe80::2"), p.key("10.99.0.2")}
	for _, k := range keys {
		s.add(fast(k))
	}
	for _, k := range keys {
		s.statusIs(k, "Up", func(st Status) bool { return st.State == StateUp && st.RemoteState == StateUp })
	}
	for _, who := range []string{"10.9.0.1", "fd09::1", "fe80::1", "10.99.0.1"} {
		frr.frrSays(who+" ", "up")
	}
	k := keys[0]

	t.Log("our timers change")
	c := fast(k)
	c.DesiredMinTx, c.RequiredMinRx, c.Multiplier = ms(200), ms(300), 4
	s.add(c)
	s.statusIs(k, "timers", func(st Status) bool { return st.TxInterval == ms(200) && st.DetectTime == ms(900) })
	c.DesiredMinTx, c.RequiredMinRx = ms(50), ms(50)
	s.add(c)
	s.statusIs(k, "timers", func(st Status) bool { return st.TxInterval == ms(100) && st.DetectTime == ms(300) })

	t.Log("FRR's timers change")
	frr.vtysh("configure", "bfd", "profile fast", "receive-interval 50", "transmit-interval 50", "detect-multiplier 5")
	s.statusIs(k, "timers", func(st Status) bool { return st.TxInterval == ms(50) && st.DetectTime == ms(250) })

	t.Log("AdminDown here")
	c.AdminDown = true
	s.add(c)
	frr.frrSays("10.9.0.1 ", "down")
	c.AdminDown = false
	s.add(c)
	frr.frrSays("10.9.0.1 ", "up")

	t.Log("AdminDown there")
	s.statusIs(k, "Up", func(st Status) bool { return st.State == StateUp })
	frr.vtysh("configure", "bfd", "profile fast", "shutdown")
	s.statusIs(k, "remote AdminDown", func(st Status) bool { return st.State == StateDown && st.Reason == ReasonRemoteAdminDown })
	frr.vtysh("configure", "bfd", "profile fast", "no shutdown")
	s.statusIs(k, "Up", func(st Status) bool { return st.State == StateUp })

	t.Log("FRR dies and comes back")
	frr.kill()
	s.statusIs(k, "expired", func(st Status) bool { return st.State == StateDown && st.Reason == ReasonExpired })
	for _, name := range []string{"zebra.vty", "bfdd.vty"} {
		frr.remove(name)
	}
	frr.frrRun()
	for _, k := range keys {
		s.statusIs(k, "Up", func(st Status) bool { return st.State == StateUp })
	}
	if !strings.Contains(frr.vtysh("show bfd peer 10.9.0.1 local-address 10.9.0.2 interface v0"), "up") {
		t.Error("FRR does not see the session up")
	}
	s.quietFor(time.Second)
}

// TestCoexist: BIRD serves another address of the same namespace, whichever of
// the two came first.
func TestCoexist(t *testing.T) {
	for _, first := range []string{"bird", "us"} {
		t.Run(first+" first", func(t *testing.T) {
			nstest.Steady(t, stillness, func(t testing.TB) {
				p := newPair(t)
				p.a.IP("addr add 10.9.0.101/24 dev v0")
				ours := fast(p.key("10.9.0.2"))
				birds := ours
				birds.Local = netip.MustParseAddr("10.9.0.101")
				remote := p.remote(t, p.mirror(ours), p.mirror(birds))
				bird := newDaemon(t, p.a, "bird")
				bird.birdConfig(`strict bind yes; interface "*" { interval 100 ms; multiplier 3; }; neighbor 10.9.0.2 dev "v0" local 10.9.0.101;`)
				if first == "bird" {
					bird.birdRun()
					remote.statusIs(p.mirror(birds).Key, "Up", func(s Status) bool { return s.State == StateUp })
				}
				server, err := NewServer(Config{Coexist: true})
				if err != nil {
					t.Fatal(err)
				}
				s := start(t, server)
				s.add(ours)
				s.statusIs(ours.Key, "Up", func(s Status) bool { return s.State == StateUp })
				if first == "us" {
					bird.birdRun()
				}
				for _, k := range []Key{p.mirror(ours).Key, p.mirror(birds).Key} {
					remote.statusIs(k, "Up", func(s Status) bool { return s.State == StateUp && s.TxInterval == ms(100) })
				}
				time.Sleep(time.Second)
				for _, k := range []Key{p.mirror(ours).Key, p.mirror(birds).Key} {
					if s := remote.status(k); s.State != StateUp || s.Downs != 0 {
						t.Errorf("%+v", s)
					}
				}
			})
		})
	}
}

// TestInterfaceReturns: the link is deleted and made anew under the same name,
// with another index.
func TestInterfaceReturns(t *testing.T) { nstest.Steady(t, stillness, testInterfaceReturns) }

func testInterfaceReturns(t testing.TB) {
	p := newPair(t)
	cfg := fast(p.key("10.9.0.2"))
	v6 := fast(p.key("fe80::2"))
	remote := p.remote(t, p.mirror(cfg), p.mirror(v6))
	s := newServer(t)
	s.add(cfg)
	s.add(v6)
	for _, k := range []Key{cfg.Key, v6.Key} {
		s.statusIs(k, "Up", func(st Status) bool { return st.State == StateUp })
	}
	p.a.IP("link del v0")
	for _, k := range []Key{cfg.Key, v6.Key} {
		s.statusIs(k, "Down", func(st Status) bool { return st.State == StateDown && st.Reason == ReasonExpired })
	}
	p.a.IP("link add other type bridge") // takes the index
	nstest.Veth(p.a, "v0", "10.9.0.1/24 fd09::1/64 fe80::1/64", p.b, "v0", "10.9.0.2/24 fd09::2/64 fe80::2/64")
	for _, k := range []Key{cfg.Key, v6.Key} {
		s.statusIs(k, "Up", func(st Status) bool { return st.State == StateUp })
		remote.statusIs(p.mirror(SessionConfig{Key: k}).Key, "Up", func(st Status) bool { return st.State == StateUp })
	}
}

package bgp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// serve listens at an address and gives each connection to f.
func serve(t *testing.T, n *bgptest.Network, addr netip.Addr, f func(p *rawPeer)) net.Listener {
	t.Helper()
	l, err := n.Listen(t.Context(), netip.AddrPortFrom(addr, Port))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(&rawPeer{c, t})
		}
	}()
	t.Cleanup(func() { l.Close() })
	return l
}

// refusals are the ways to refuse a connection that was made.
var refusals = map[string]func(p *rawPeer){
	"Cease/Connection Rejected at once": func(p *rawPeer) {
		p.Write(wire.Notification{Code: wire.CodeCease, Subcode: wire.SubRejected}.Append(nil))
		p.Close()
	},
	"reset at once": func(p *rawPeer) { p.Close() },
	"closed after our OPEN": func(p *rawPeer) {
		p.message()
		p.Close()
	},
	"Bad Peer AS": func(p *rawPeer) {
		p.message()
		p.Write(wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubBadPeerAS}.Append(nil))
		p.Close()
	},
	"no capabilities": func(p *rawPeer) {
		p.message()
		p.Write(wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubOptionalParameter}.Append(nil))
		p.Close()
	},
	"another AS": func(p *rawPeer) {
		p.message()
		o := rawOpenOf(addr2)
		o.AS = 64999
		p.Write(o.Append(nil))
		io.Copy(io.Discard, p)
		p.Close()
	},
	"closed after both OPENs": func(p *rawPeer) {
		p.message()
		o := rawOpenOf(addr2)
		p.Write(o.Append(nil))
		p.message()
		p.Close()
	},
	"closed once established": func(p *rawPeer) {
		p.message()
		o := rawOpenOf(addr2)
		p.Write(o.Append(nil))
		p.message()
		p.Write(wire.AppendKeepalive(nil))
		p.Close()
	},
}

func rawOpenOf(id netip.Addr) *wire.Open {
	o := &wire.Open{AS: 65000, ID: id, HoldTime: 90 * time.Second}
	o.Capabilities.AS4, o.Capabilities.Families = true, bothFamilies
	return o
}

// TestRefusedDials: a peer that refuses is called less and less often, makes few events,
// and is met soon when it relents and calls.
func TestRefusedDials(t *testing.T) {
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &bgptest.Network{}
				a := run(t, n, addr1, Config{})
				l := serve(t, n, addr2, refuse)
				a.peer(PeerConfig{Addr: addr2, IdleHold: 30 * time.Second})
				settle(time.Hour)
				if k := len(n.Dials()); k < 110 || k > 180 {
					t.Errorf("%d attempts in an hour", k)
				}
				gaps(t, n.Dials(), 31*time.Second)
				events := news(drain(t, a.events))
				if len(events) > 40 {
					t.Errorf("%d events: %s", len(events), names(events))
				}
				st := mustPeer(t, a, addr2)
				if st.Attempts < len(n.Dials())-1 || st.LastError == nil {
					t.Errorf("%d failures of %d attempts, last %v", st.Attempts, len(n.Dials()), st.LastError)
				}
				l.Close()
				b := run(t, n, addr2, Config{})
				b.peer(PeerConfig{Addr: addr1})
				settle(2 * time.Second)
				a.mustBe(addr2, Established)
				settle(fsm.StableTime)
				up := drain(t, a.events)
				i := slices.IndexFunc(up, func(e Event) bool { return e.Kind == EventStable })
				if i < 0 || up[i].Failures < st.Attempts || up[i].Time.Sub(up[i].Since) < 59*time.Minute {
					t.Errorf("%+v", up)
				}
				if st := mustPeer(t, a, addr2); st.Established == 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// TestLastError: what a peer has said remains the last error while it closes the next connections
// without a word, until it cannot be reached, or a session has been up.
func TestLastError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a := run(t, n, addr1, Config{})
		a.peer(PeerConfig{Addr: addr2, IdleHold: 3 * time.Second})
		last := func() *PeerError {
			t.Helper()
			settle(time.Minute)
			st := mustPeer(t, a, addr2)
			if st.LastError == nil {
				t.Fatalf("no last error: %+v", st)
			}
			return st.LastError
		}
		var calls atomic.Int32
		said := func(p *rawPeer) {
			if calls.Add(1) == 1 {
				refusals["Bad Peer AS"](p)
			} else {
				refusals["closed after both OPENs"](p)
			}
		}
		l := serve(t, n, addr2, said)
		first := last()
		if first.Received == nil || calls.Load() < 3 {
			t.Errorf("after %d connections: %v", calls.Load(), first)
		}
		l.Close()
		if e := last(); e.Received != nil || !e.Time.After(first.Time) {
			t.Errorf("nobody listens: %v", e)
		}
		l = serve(t, n, addr2, said)
		if e := last(); e.Received != nil || e.State == Connect {
			t.Errorf("closed again, after it could not be reached: %v", e)
		}
		l.Close()
		calls.Store(0)
		l = serve(t, n, addr2, func(p *rawPeer) {
			if calls.Load() > 0 {
				refusals["closed once established"](p)
				return
			}
			said(p)
		})
		if e := last(); e.Received != nil || e.State != Established || mustPeer(t, a, addr2).Established == 0 {
			t.Errorf("closed once Established: %v", e)
		}
		l.Close()
	})
}

// news leaves out what repeats itself.
func news(events []Event) []Event {
	return slices.DeleteFunc(events, func(e Event) bool { return e.Flapping && e.Kind != EventError && e.Kind != EventStable })
}

// gaps reports whether attempts become rarer, up to a limit.
func gaps(t *testing.T, dials []time.Time, most time.Duration) {
	t.Helper()
	for i := 1; i < len(dials); i++ {
		if d := dials[i].Sub(dials[i-1]); d > most {
			t.Errorf("%v between attempts", d)
		}
	}
	if first, last := dials[1].Sub(dials[0]), dials[len(dials)-1].Sub(dials[len(dials)-2]); first > 3*time.Second || last < most*2/3 {
		t.Errorf("first %v between attempts, at last %v", first, last)
	}
}

// TestUnansweredDials: nobody is there for an hour, or a peer that holds on to a session of
// which we know nothing.
func TestUnansweredDials(t *testing.T) {
	for name, deaf := range map[string]bool{"nobody listens": false, "nobody answers": true, "a collision": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &bgptest.Network{}
				if deaf {
					n.Cut(everybody, everybody)
				}
				a := run(t, n, addr1, Config{})
				if name == "a collision" {
					l := serve(t, n, addr2, func(p *rawPeer) {
						p.message()
						p.Write(wire.Notification{Code: wire.CodeCease, Subcode: wire.SubCollision}.Append(nil))
						p.Close()
					})
					time.AfterFunc(time.Hour-time.Second, func() { l.Close() })
				}
				a.peer(PeerConfig{Addr: addr2})
				settle(time.Hour)
				gaps(t, n.Dials(), 7*time.Second)
				events := drain(t, a.events)
				if len(events) > 20 || len(events) < 5 {
					t.Errorf("%d events: %s", len(events), names(events))
				}
				if st := mustPeer(t, a, addr2); st.LastError == nil || time.Since(st.LastError.Time) > 10*time.Second {
					t.Errorf("last error %v", st.LastError)
				}
				n.Join(everybody, everybody)
				b := run(t, n, addr2, Config{})
				b.peer(PeerConfig{Addr: addr1, Passive: true})
				settle(6 * time.Second)
				a.mustBe(addr2, Established)
			})
		})
	}
}

// TestRefusedConnections: a peer calls five times a second and refuses each time, as a
// configured peer and as a client of a range.
func TestRefusedConnections(t *testing.T) {
	for name, refuse := range refusals {
		for _, dynamic := range []bool{false, true} {
			kind := map[bool]string{false: "configured", true: "dynamic"}[dynamic]
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := &bgptest.Network{}
					a := run(t, n, addr1, Config{})
					template := PeerConfig{}
					var err error
					if dynamic {
						err = a.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Template: template})
					} else {
						template.Addr, template.Passive = addr2, true
						err = a.AddPeer(template)
					}
					if err != nil {
						t.Fatal(err)
					}
					for range 600 {
						c, err := n.Dialer(everybody)(context.Background(), netip.AddrPortFrom(addr2, 50000), netip.AddrPortFrom(addr1, Port))
						if err != nil {
							t.Fatal(err)
						}
						go refuse(&rawPeer{c, t})
						settle(200 * time.Millisecond)
						c.Close()
					}
					if events := news(drain(t, a.events)); len(events) > 60 {
						t.Errorf("%d events: %s", len(events), names(events))
					}
					// When it relents, it is in at once.
					b := run(t, n, addr2, Config{})
					b.peer(PeerConfig{Addr: addr1})
					settle(time.Second)
					a.mustBe(addr2, Established)
					settle(fsm.StableTime)
					up := drain(t, a.events)
					if i := slices.IndexFunc(up, func(e Event) bool { return e.Kind == EventStable }); i < 0 || up[i].Failures < 590 {
						t.Errorf("%+v", up)
					}
				})
			})
		}
	}
}

// TestKilledThrice kills a reflector three times: the session is back within six seconds
// each time, however long it was away.
func TestKilledThrice(t *testing.T) {
	for _, away := range []time.Duration{time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second} {
		for _, between := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				n := &bgptest.Network{}
				a := run(t, n, addr1, Config{})
				a.peer(PeerConfig{Addr: addr2})
				for i := range 5 {
					rr := run(t, n, addr2, Config{})
					if err := rr.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24")}); err != nil {
						t.Fatal(err)
					}
					settle(6 * time.Second)
					if got := a.state(addr2); got != Established {
						t.Fatalf("away for %v, killed each %v: %v after start %d", away, between, got, i)
					}
					settle(between)
					rr.kill()
					settle(away)
				}
			})
		}
	}
}

// TestPlainSession: a peer without capabilities gets an OPEN without, and status and an
// event say so; the next session is a full one.
func TestPlainSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a := run(t, n, addr1, Config{GracefulRestart: GracefulRestart{Enabled: true}})
		var opens []wire.Open
		end := make(chan struct{})
		serve(t, n, addr2, func(p *rawPeer) {
			_, body := p.message()
			o, err := wire.ParseOpen(body)
			if err != nil {
				t.Error(err)
			}
			opens = append(opens, o)
			if len(o.Capabilities.Families) > 0 && len(opens) == 1 {
				p.Write(wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubOptionalParameter}.Append(nil))
				p.Close()
				return
			}
			p.Write(rawOpenOf(addr2).Append(nil))
			p.Write(wire.AppendKeepalive(nil))
			p.discard()
			if len(opens) == 2 {
				<-end
				p.Close()
			}
		})
		a.peer(PeerConfig{Addr: addr2, Families: bothFamilies, HoldTime: -1})
		settle(5 * time.Second)
		st := mustPeer(t, a, addr2)
		if st.State != Established || st.Plain == nil || st.Plain.Received.Subcode != wire.SubOptionalParameter || st.Negotiated.Families.Has(wire.IPv6Unicast) {
			t.Fatalf("%v, plain %v, %+v", st.State, st.Plain, st.Negotiated)
		}
		events := drain(t, a.events)
		i := slices.IndexFunc(events, func(e Event) bool { return e.Kind == EventPlain })
		var p *PeerError
		if i < 0 || events[i-1].Kind != EventUp || !errors.As(events[i].Err, &p) || p.Received == nil {
			t.Errorf("%s", names(events))
		}
		late := a.Watch()
		if s := names(drain(t, late)); s != "added Established up plain snapshot" {
			t.Errorf("late: %s", s)
		}
		settle(time.Hour)
		close(end)
		settle(5 * time.Second)
		st = mustPeer(t, a, addr2)
		if len(opens) != 3 || len(opens[2].Capabilities.Families) != 2 || st.Plain != nil || st.Established != 2 {
			t.Errorf("%d OPENs, plain %v, %d sessions", len(opens), st.Plain, st.Established)
		}
	})
}

// TestWideAS: an AS of four octets goes as AS_TRANS to a peer without the capability (RFC
// 6793, Section 4.2.1), and never to one of the same AS, which must have it.
func TestWideAS(t *testing.T) {
	for as, want := range map[uint32][]uint32{4200000001: {4200000001, 4200000001}, 65001: {4200000001, wire.ASTrans}} {
		synctest.Test(t, func(t *testing.T) {
			n := &bgptest.Network{}
			a := run(t, n, addr1, Config{AS: 4200000001})
			var got []uint32
			serve(t, n, addr2, func(p *rawPeer) {
				_, body := p.message()
				o, _ := wire.ParseOpen(body)
				got = append(got, o.AS)
				p.Write(wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubOptionalParameter}.Append(nil))
				p.Close()
			})
			a.peer(PeerConfig{Addr: addr2, AS: as})
			settle(2 * time.Second)
			if !slices.Equal(got, want) {
				t.Errorf("peer in AS %d: OPENs from AS %v, want %v", as, got, want)
			}
		})
	}
}

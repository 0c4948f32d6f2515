package unnumbered

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// forgery is a link with a router, and others that advertise forged addresses and answer for them.
type forgery struct {
	*Tracker
	prober   Prober
	now      time.Time
	router   netip.Addr
	neighbor Neighbor
}

// routerMAC is that of the router.
var routerMAC = [6]byte{2, 0xa}

// newForgery makes a link on which the router has a session.
func newForgery() *forgery {
	f := &forgery{Tracker: New(Config{}), now: scenario.Epoch, router: netip.MustParseAddr("fe80::a")}
	f.SetLink(f.now, Link{Interface: "eth0", IfIndex: 1, Local: netip.MustParseAddr("fe80::1")})
	f.hear(f.router, routerMAC)
	f.neighbor = f.Neighbors()[0]
	f.Session(f.now, f.neighbor, Session{Up: true, RouterID: netip.MustParseAddr("10.0.0.1"), AS: 65001, Synced: true})
	return f
}

// hear has an address advertise and be answered for, by one after the other.
func (f *forgery) hear(a netip.Addr, macs ...[6]byte) {
	if !f.prober.Advertised(f.now, a) {
		return
	}
	for _, mac := range macs {
		if f.prober.Answered(f.now, a) {
			f.Heard(f.now, 1, a, mac)
		}
	}
}

// ends ends the session of the router.
func (f *forgery) ends() { f.Session(f.now, f.neighbor, Session{}) }

// flood has forged addresses advertise for some time, each with another MAC, or with the one that there is.
func (f *forgery) flood(perSecond int, d time.Duration, macs ...[6]byte) {
	for i := range int(d.Seconds() * float64(perSecond)) {
		f.now = f.now.Add(time.Second / time.Duration(perSecond))
		n := int(f.now.Sub(scenario.Epoch) / time.Millisecond)
		mac := [6]byte{4, byte(n >> 16), byte(n >> 8), byte(n)}
		if len(macs) > 0 {
			mac = macs[i%len(macs)]
		}
		f.hear(netip.MustParseAddr(fmt.Sprintf("fe80::f:%x:%x", n>>16, n&0xffff)), mac)
		f.Advance(f.now)
	}
}

// triedWithin has a router that is back at an address advertise each 7 s amid the flood, and returns after how long
// it is tried; a negative time: not within two minutes.
func (f *forgery) triedWithin(perSecond int, back netip.Addr, flood [][6]byte, answers ...[6]byte) time.Duration {
	begin := f.now
	for f.now.Before(begin.Add(2 * time.Minute)) {
		f.hear(back, answers...)
		for range 70 {
			if slices.ContainsFunc(f.Neighbors(), func(n Neighbor) bool { return n.Addr == back }) {
				return f.now.Sub(begin)
			}
			f.flood(perSecond, 100*time.Millisecond, flood...)
		}
	}
	return -1
}

// TestRouterReturns: a router whose MAC had a session is back, at its address or at another one, after it was away for
// longer than it is tried, while others forge addresses with as many MACs and answer for all.
func TestRouterReturns(t *testing.T) {
	for _, perSecond := range []int{30, 300} {
		for _, outage := range []time.Duration{0, 6 * time.Second, 30 * time.Second} {
			for _, back := range []string{"fe80::a", "fe80::a2"} {
				f := newForgery()
				f.flood(perSecond, 20*time.Second)
				f.ends()
				f.flood(perSecond, outage)
				if d := f.triedWithin(perSecond, netip.MustParseAddr(back), nil, routerMAC); d < 0 || d > 12*time.Second {
					t.Errorf("%d a second, away for %v, back at %s: tried after %v", perSecond, outage, back, d)
				}
			}
		}
	}
}

// TestFirstAnswer: who answers for the address of a router before it does, and for his own forgeries, with one MAC, does
// not keep it out.
func TestFirstAnswer(t *testing.T) {
	for _, perSecond := range []int{30, 300} {
		f := newForgery()
		thief := [6]byte{2, 0xee}
		f.flood(perSecond, 20*time.Second, thief)
		f.ends()
		if d := f.triedWithin(perSecond, netip.MustParseAddr("fe80::a2"), [][6]byte{thief}, thief, routerMAC); d < 0 || d > 5*time.Second {
			t.Errorf("%d a second: tried after %v", perSecond, d)
		}
	}
}

// TestChangingMACs: a host that answers for 64 addresses, now with one MAC and now with another, changes who is tried no more
// often than turns end.
func TestChangingMACs(t *testing.T) {
	for pattern, mac := range []func(i int) byte{
		func(i int) byte { return byte((i/64 + i%64/8) % 2) },
		func(i int) byte { return byte((i / 64) % 2) },
		func(i int) byte { return byte((i/64 + i%2) % 2) },
		func(i int) byte { return byte(i*2654435761>>16) % 3 },
	} {
		f, changes := newForgery(), 0
		last := f.Neighbors()
		const perSecond, seconds = 300, 30
		for i := range seconds * perSecond {
			f.now = f.now.Add(time.Second / perSecond)
			f.hear(netip.MustParseAddr(fmt.Sprintf("fe80::f:%x", i%64)), [6]byte{2, mac(i)})
			f.Advance(f.now)
			if l := f.Neighbors(); !slices.Equal(l, last) {
				changes, last = changes+1, l
			}
		}
		if most := 2 * (seconds/5 + 1) * 8; changes > most {
			t.Errorf("pattern %d: who is tried changed %d times in %d s, want at most %d", pattern, changes, seconds, most)
		}
	}
}

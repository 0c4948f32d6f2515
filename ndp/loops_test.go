package ndp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/pktest"
)

var errDown = errors.New("interface is down")

// start runs a loop inside a bubble and returns what ends it and gives its error.
func start(run func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return func() error { cancel(); return <-done }
}

func router() Router {
	return Router{MAC: hostMAC, Source: gateway, Advertisement: guestRA()}
}

func solicit(link int, src netip.Addr) Packet {
	rs := RouterSolicitation{SourceLinkAddr: guestMAC}
	if src.IsUnspecified() {
		rs.SourceLinkAddr = MAC{}
	}
	p := packet(src, AllRouters, rs.append(nil))
	p.IfIndex = link
	return p
}

// only returns the one advertisement in sent, which goes to dst and mac.
func only(t *testing.T, sent []Packet, dst netip.Addr, mac MAC) RouterAdvertisement {
	t.Helper()
	if len(sent) != 1 {
		t.Fatalf("%d packets sent: %+v", len(sent), sent)
	}
	p := sent[0]
	if p.Dst != dst || p.DstMAC != mac || p.Src != gateway || p.SrcMAC != hostMAC || p.HopLimit != 255 {
		t.Errorf("sent %+v", p)
	}
	ra, err := ParseRouterAdvertisement(&p)
	if err != nil || ra.SourceLinkAddr != hostMAC {
		t.Errorf("%+v, %v", ra, err)
	}
	return ra
}

func TestAdvertiser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Packet]()
		a := NewAdvertiser(conn)
		stop := start(a.Run)
		toAll := GroupMAC(AllNodes)
		if err := a.Set(7, router()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		only(t, conn.Take(), AllNodes, toAll) // at once
		if !conn.Has(7) {
			t.Error("not listening")
		}

		// The same again is not news.
		if err := a.Set(7, router()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if sent := conn.Take(); len(sent) != 0 {
			t.Errorf("sent %+v", sent)
		}

		// Solicitations are answered without time passing, also from ::.
		before := time.Now()
		conn.Deliver(solicit(7, own))
		synctest.Wait()
		only(t, conn.Take(), own, guestMAC)
		conn.Deliver(solicit(7, netip.IPv6Unspecified()))
		synctest.Wait()
		only(t, conn.Take(), AllNodes, guestMAC)
		if time.Since(before) != 0 {
			t.Errorf("answered after %v", time.Since(before))
		}

		// Not for us: another link, another message, a malformed one.
		bad := solicit(7, own)
		bad.Body = append(bad.Body, 1, 0)
		group := solicit(7, own)
		group.SrcMAC = toAll
		conn.Deliver(solicit(8, own), solicitation(vm1, vm3), bad, group)
		synctest.Wait()
		if sent := conn.Take(); len(sent) != 0 {
			t.Errorf("sent %+v", sent)
		}

		time.Sleep(40 * time.Second)
		if n := len(conn.Take()); n != 2 {
			t.Errorf("%d more of the initial burst", n)
		}
		changed := router()
		changed.Advertisement.MTU = 1400
		if err := a.Set(7, changed); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if ra := only(t, conn.Take(), AllNodes, toAll); ra.MTU != 1400 {
			t.Errorf("%+v", ra)
		}
		a.Restart(7)
		a.Restart(9)
		synctest.Wait()
		only(t, conn.Take(), AllNodes, toAll)

		a.Remove(7)
		a.Remove(9)
		time.Sleep(time.Second)
		sent := conn.Take()
		for _, p := range sent {
			if ra, _ := ParseRouterAdvertisement(&p); ra.Lifetime != 0 {
				t.Errorf("final: %+v", ra)
			}
		}
		if len(sent) != FinalCount || conn.Has(7) {
			t.Errorf("%d final advertisements, listening: %v", len(sent), conn.Has(7))
		}
		want := AdvertiserStats{Multicast: 5, Answers: 2, Final: 3, Invalid: 1}
		if got := a.Stats(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A restart is not the end of a router, and a dropped link not either.
func TestNoFinalOnRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Packet]()
		a := NewAdvertiser(conn)
		stop := start(a.Run)
		for link := range 3 {
			if err := a.Set(link, router()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		conn.Take()
		a.Drop(2)
		a.Drop(9)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if sent := conn.Take(); len(sent) != 0 {
			t.Errorf("sent %+v", sent)
		}
		if err := a.Run(t.Context()); err != ErrClosed {
			t.Errorf("a second Run: %v", err)
		}
	})
}

func TestAdvertiserFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Packet]()
		a := NewAdvertiser(conn)
		defer start(a.Run)()
		if err := a.Set(7, router()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		conn.Take()
		for range 1000 {
			conn.Deliver(solicit(7, own))
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := len(conn.Take()); n != SolicitedBurst+1 {
			t.Errorf("%d packets, want the burst and one for all", n)
		}
		if s := a.Stats(); s.Deferred != 1000-SolicitedBurst {
			t.Errorf("%+v", s)
		}
	})
}

func TestAdvertiserErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Packet]()
		a := NewAdvertiser(conn)
		for name, change := range map[string]func(*Router){
			"MAC":    func(r *Router) { r.MAC = MAC{} },
			"source": func(r *Router) { r.Source = vm1 },
			"MTU":    func(r *Router) { r.Advertisement.MTU = 1 },
		} {
			r := router()
			change(&r)
			if err := a.Set(7, r); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if conn.Has(7) {
			t.Error("listening")
		}
		conn.FailWrites(errDown)
		r := router()
		r.Source = netip.Addr{}
		if err := a.Set(7, r); err != nil {
			t.Error(err)
		}
		stop := start(a.Run)
		time.Sleep(time.Second)
		conn.Close()
		synctest.Wait()
		if err := stop(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestResponderLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Packet]()
		r := NewResponder(conn)
		if err := r.SetGuest(7, Guest{}); err == nil || conn.Has(7) {
			t.Errorf("a guest whose router has no Ethernet address: %v", err)
		}
		stop := start(r.Run)
		guest := Guest{MAC: guestMAC, Router: hostMAC, Source: gateway, Addresses: []netip.Prefix{netip.PrefixFrom(vm1, 128)}}
		if err := r.SetGuest(7, guest); err != nil || !conn.Has(7) {
			t.Fatal(err)
		}
		r.SetTarget(netip.PrefixFrom(vm3, 128), 0)
		ask := solicitation(vm1, vm3)
		ask.IfIndex = 7
		other := solicitation(vm1, vm4)
		other.IfIndex = 7
		conn.Deliver(ask, other, ask)
		synctest.Wait()
		if sent := conn.Take(); len(sent) != 2 || sent[0].Dst != vm1 || sent[1].DstMAC != guestMAC {
			t.Errorf("%+v", sent)
		}
		// What is counted of a guest outlives a change of it, and ends with it.
		spoofed := solicitation(vm4, vm3)
		spoofed.IfIndex = 7
		conn.Deliver(spoofed)
		synctest.Wait()
		guest.Rate, guest.Burst = 1, 1
		if err := r.SetGuest(7, guest); err != nil {
			t.Fatal(err)
		}
		conn.Deliver(ask, ask)
		synctest.Wait()
		conn.Take()
		if s, ok := r.GuestStats(7); !ok || s != (Stats{VerdictAnswered: 3, VerdictUnallocated: 1, VerdictSpoofed: 1, VerdictLimited: 1}) {
			t.Errorf("of the guest: %v", s)
		}
		r.DeleteTarget(netip.PrefixFrom(vm3, 128))
		conn.Deliver(ask)
		synctest.Wait()
		r.RemoveGuest(7)
		conn.Deliver(ask)
		synctest.Wait()
		if _, ok := r.GuestStats(7); ok {
			t.Error("of a guest that is gone something is counted")
		}
		s := r.Stats()
		if s[VerdictAnswered] != 3 || s[VerdictUnallocated] != 2 || s[VerdictUnknownLink] != 1 || conn.Has(7) || len(conn.Take()) != 0 {
			t.Errorf("%v", s)
		}
		_ = conn.SetReadDeadline(time.Now()) // somebody else's does no harm
		synctest.Wait()
		_ = conn.SetReadDeadline(time.Time{})
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := r.Run(t.Context()); err != ErrClosed {
			t.Errorf("a second Run: %v", err)
		}
		stop = start(NewResponder(conn).Run)
		synctest.Wait()
		conn.Close()
		synctest.Wait()
		if err := stop(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
}

// A guest is limited alone; a change of anything else does not refill its bucket.
func TestResponderRate(t *testing.T) {
	p := conformancePolicy(7, hostMAC)
	guest := Guest{MAC: guestMAC, Router: hostMAC, Source: gateway, Rate: 10, Burst: 5}
	p.SetGuest(7, guest)
	p.SetGuest(8, Guest{Router: hostMAC, Rate: -1})
	now := time.Unix(1000, 0)
	ask := func(link int) (n int) {
		in := packet(vm1, SolicitedNode(vm3), NeighborSolicitation{Target: vm3}.append(nil))
		in.DstMAC, in.IfIndex = GroupMAC(in.Dst), link
		for range 100 {
			if _, v := p.Decide(now, &in, nil); v == VerdictAnswered {
				n++
			} else if v != VerdictLimited {
				t.Fatal(v)
			}
		}
		return n
	}
	if n := ask(7); n != 5 {
		t.Errorf("%d answers in a burst of 5", n)
	}
	guest.Addresses = []netip.Prefix{netip.PrefixFrom(vm1, 128)}
	p.SetGuest(7, guest)
	if n := ask(7); n != 0 {
		t.Errorf("%d answers from an empty bucket", n)
	}
	now = now.Add(200 * time.Millisecond)
	if n := ask(7); n != 2 {
		t.Errorf("%d answers after 200 ms at 10 a second", n)
	}
	p.SetTarget(netip.PrefixFrom(vm1, 128), 8)
	if n := ask(8); n != 100 {
		t.Errorf("%d of 100 without limit", n)
	}
}

func TestAnnounceBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := pktest.New[Packet]()
		begin := time.Now()
		if err := Announce(t.Context(), conn, 7, hostMAC, true, vm1, vm2); err != nil {
			t.Fatal(err)
		}
		sent := conn.Take()
		if len(sent) != 2*AnnounceCount || time.Since(begin) != (AnnounceCount-1)*AnnounceInterval {
			t.Errorf("%d packets in %v", len(sent), time.Since(begin))
		}
		na, err := ParseNeighborAdvertisement(&sent[1])
		want := NeighborAdvertisement{Router: true, Override: true, Target: vm2, TargetLinkAddr: hostMAC}
		if err != nil || na != want || sent[1].Src != vm2 || sent[1].Dst != AllNodes {
			t.Errorf("%+v, %v", sent[1], err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Announce(ctx, conn, 7, hostMAC, true, vm1); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		conn.FailWrites(errDown)
		if err := Announce(t.Context(), conn, 7, hostMAC, true, vm1); !errors.Is(err, errDown) {
			t.Error(err)
		}
	})
}

func TestNames(t *testing.T) {
	for v := range verdictCount {
		if strings.HasPrefix(v.String(), "Verdict(") {
			t.Errorf("verdict %d has no name", v)
		}
	}
	if Verdict(99).String() != "Verdict(99)" || ScheduleEvent(99).String() != "ScheduleEvent(99)" {
		t.Error("out of range")
	}
}

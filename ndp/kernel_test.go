package ndp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// The kernel answers whom it hears; the policy answers who else asks for the hypervisor's
// own address, and reports them until the kernel is let hear them.
func TestSharedWithKernel(t *testing.T) {
	gateway := netip.MustParseAddr("fe80::1")
	private := netip.MustParseAddr("fe80::aaaa:1") // not made from the MAC
	var p Policy
	g := Guest{MAC: guestMAC, Router: hostMAC, Source: gateway, Addresses: []netip.Prefix{netip.PrefixFrom(vm1, 64)}, AnswerSource: true, Known: []netip.Addr{own}}
	p.SetGuest(5, g)
	ask := func(src netip.Addr) (Packet, Verdict) {
		in := solicitation(src, gateway)
		in.IfIndex = 5
		return p.Decide(testTime, &in, make([]byte, 0, answerLen))
	}
	for _, c := range []struct {
		src  netip.Addr
		want Verdict
	}{{own, VerdictKernel}, {netip.IPv6Unspecified(), VerdictKernel}, {private, VerdictAnswered}, {vm3, VerdictAnswered}, {routed, VerdictSpoofed}, {gateway, VerdictSpoofed}} {
		out, got := ask(c.src)
		if got != c.want {
			t.Errorf("from %v: %v, want %v", c.src, got, c.want)
		}
		if got != VerdictAnswered {
			continue
		}
		na, err := ParseNeighborAdvertisement(&out)
		if err != nil || !na.Router || !na.Solicited || !na.Override || na.Target != gateway || na.TargetLinkAddr != hostMAC || out.Src != gateway || out.Dst != c.src {
			t.Errorf("answer to %v: %+v %v", c.src, na, err)
		}
	}
	ask(private) // twice is not two
	heard := p.Heard()
	slices.SortFunc(heard, func(a, b Sender) int { return a.Addr.Compare(b.Addr) })
	if want := []Sender{{5, vm3}, {5, private}}; !slices.Equal(heard, want) || len(p.Heard()) > 0 {
		t.Errorf("heard %v, want %v", heard, want)
	}
	p.SetKnown(5, []netip.Addr{own, private})
	if _, got := ask(private); got != VerdictKernel || len(p.Heard()) > 0 {
		t.Errorf("known now: %v", got)
	}
	for i := range 100 {
		ask(netip.MustParseAddr(fmt.Sprintf("fe80::b%x", i)))
	}
	if n := len(p.Heard()); n != mostHeard {
		t.Errorf("%d reported of a hundred, want %d", n, mostHeard)
	}
	g.AnswerSource = false
	p.SetGuest(5, g)
	if _, got := ask(private); got != VerdictKernel {
		t.Errorf("where the kernel hears everybody: %v", got)
	}
	g.AnswerSource, g.Rate, g.Burst = true, 1, 2
	p.SetGuest(5, g)
	for i, want := range []Verdict{VerdictAnswered, VerdictAnswered, VerdictLimited} {
		in := solicitation(private, gateway)
		in.IfIndex = 5
		if _, got := p.Decide(testTime.Add(time.Hour), &in, nil); got != want {
			t.Errorf("question %d of a flood: %v, want %v", i, got, want)
		}
	}
}

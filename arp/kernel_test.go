package arp

import (
	"net/netip"
	"testing"
	"time"
)

// Who answers what: the kernel the senders that it hears, for the gateway and, as a proxy,
// for others; the policy everything else that is the guest's to ask. No question has two
// answers, and none that deserves one goes without.
func TestSharedWithKernel(t *testing.T) {
	subnet := netip.MustParseAddr("203.0.113.130") // of one that is routed to the guest
	for _, c := range []struct {
		name           string
		sender, target netip.Addr
		responder      Verdict // the kernel hears vm1, and answers for the gateway
		proxy          Verdict // and for others
		deaf           Verdict // and hears everybody
	}{
		{"known, for the gateway", vm1, gateway, VerdictKernel, VerdictKernel, VerdictKernel},
		{"known, for a remote guest", vm1, vm3, VerdictAnswered, VerdictKernel, VerdictKernel},
		{"of its subnet, for the gateway", subnet, gateway, VerdictAnswered, VerdictAnswered, VerdictKernel},
		{"of its subnet, for a remote guest", subnet, vm3, VerdictAnswered, VerdictAnswered, VerdictKernel},
		{"a probe of the gateway", zero, gateway, VerdictKernel, VerdictKernel, VerdictKernel},
		{"a probe of a remote guest", zero, vm3, VerdictAnswered, VerdictAnswered, VerdictAnswered},
		{"a probe of its own", zero, vm1, VerdictOwn, VerdictOwn, VerdictOwn},
		{"a probe of nobody's", zero, ghost, VerdictUnallocated, VerdictUnallocated, VerdictUnallocated},
		{"nobody's, for the gateway", ghost, gateway, VerdictSpoofed, VerdictSpoofed, VerdictSpoofed},
		{"another guest's, for the gateway", vm2, gateway, VerdictSpoofed, VerdictSpoofed, VerdictSpoofed},
		{"known, for nobody's", vm1, ghost, VerdictUnallocated, VerdictKernel, VerdictKernel}, // proxy_arp has a route to it, or has not
	} {
		g := Guest{MAC: guestMAC, Router: MAC{2, 0, 0, 0, 0, 0xfe}, Gateway: gateway, Known: []netip.Addr{vm1},
			Addresses: []netip.Prefix{netip.PrefixFrom(vm1, 32), netip.MustParsePrefix("203.0.113.128/28")}}
		proxy, deaf := g, g
		proxy.KernelProxy = true
		deaf.KernelProxy, deaf.KernelHears = true, true
		for _, try := range []struct {
			what string
			g    Guest
			want Verdict
		}{{"responder", g, c.responder}, {"proxy_arp", proxy, c.proxy}, {"proxy_arp, no firewall", deaf, c.deaf}} {
			var p Policy
			p.SetTarget(netip.PrefixFrom(vm3, 32), 0)
			p.SetGuest(5, try.g)
			f := NewRequest(guestMAC, c.sender, c.target).On(5)
			reply, got := p.Decide(testTime, &f)
			if got != try.want || got == VerdictAnswered && (reply.SenderIP.Addr() != c.target || reply.SenderMAC != g.Router) {
				t.Errorf("%s, %s: %v %v, want %v", try.what, c.name, got, reply, try.want)
			}
		}
	}
}

// What a guest asked while the kernel answered has its answer already.
func TestKernelUntil(t *testing.T) {
	var p Policy
	p.SetTarget(netip.PrefixFrom(vm3, 32), 0)
	p.SetGuest(5, Guest{MAC: guestMAC, Router: MAC{2, 0, 0, 0, 0, 0xfe}, Gateway: gateway, Known: []netip.Addr{vm1},
		Addresses: []netip.Prefix{netip.PrefixFrom(vm1, 32)}, KernelUntil: testTime})
	for _, c := range []struct {
		sender   netip.Addr
		received time.Time
		want     Verdict
	}{
		{vm1, time.Time{}, VerdictAnswered},
		{vm1, testTime, VerdictAnswered},
		{vm1, testTime.Add(-1), VerdictKernel},
		{zero, testTime.Add(-1), VerdictAnswered}, // no proxy answers a probe
	} {
		f := NewRequest(guestMAC, c.sender, vm3).On(5)
		f.Received = c.received
		if _, got := p.Decide(testTime, &f); got != c.want {
			t.Errorf("from %v, received %v: %v, want %v", c.sender, c.received, got, c.want)
		}
	}
}

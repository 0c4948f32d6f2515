package edge

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/fib"
)

// Answers decide as the responders of an Edge do: a guest is answered for what is behind another
// interface, until it leaves.
func TestAnswers(t *testing.T) {
	c, err := configtest.Sample("hv1.yaml", "arp:_kernel=>arp:_responder")
	if err != nil {
		t.Fatal(err)
	}
	var a Answers
	p := guest.Port{Guest: c.Guests[0], Link: fib.Link{IfIndex: 20, Interface: "vm1", MAC: [6]byte{0xfe, 0, 0, 0, 0, 1}}}
	for prefix, link := range map[string]int{"203.0.113.1/32": 20, "203.0.113.2/32": 21, "203.0.113.77/32": 0, "2001:db8:cb00:7101::/64": 21} {
		a.Target(netip.MustParsePrefix(prefix), link)
	}
	a.Serve(c, p)
	if len(a.Ports()) != 1 || len(a.Targets()) != 4 {
		t.Errorf("serves %v for %v", a.Ports(), a.Targets())
	}
	ask := func(target string) arp.Verdict {
		f := arp.NewRequest(arp.MAC(p.MAC), netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr(target)).On(20)
		_, v := a.ARP.Decide(time.Time{}, &f)
		return v
	}
	want := map[string]arp.Verdict{"203.0.113.10": arp.VerdictOwn, "203.0.113.2": arp.VerdictAnswered, "203.0.113.77": arp.VerdictAnswered, "203.0.113.78": arp.VerdictUnallocated}
	for target, v := range want {
		if got := ask(target); got != v {
			t.Errorf("asked for %s: %v, want %v", target, got, v)
		}
	}
	a.NoTarget(netip.MustParsePrefix("203.0.113.77/32"))
	if got := ask("203.0.113.77"); got != arp.VerdictUnallocated {
		t.Errorf("a target that is gone: %v", got)
	}
	a.Leave(p, true)
	if got := ask("203.0.113.2"); got != arp.VerdictUnknownLink || len(a.Ports()) > 0 {
		t.Errorf("a guest that is gone: %v", got)
	}
}

// What was seen comes once; without anything there is the end of the context.
func TestAnswersSee(t *testing.T) {
	var a Answers
	done, end := context.WithCancel(t.Context())
	end()
	a.See(Sighting{IfIndex: 20})
	if list, err := a.Sightings(done); len(list) != 1 || err != nil {
		t.Errorf("seen %v, %v", list, err)
	}
	if list, err := a.Sightings(done); list != nil || err != context.Canceled {
		t.Errorf("seen %v, %v", list, err)
	}
	if list, err := a.Heard(done); list != nil || err != context.Canceled {
		t.Errorf("heard %v, %v", list, err)
	}
}

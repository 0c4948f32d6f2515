package daemon

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Dead next hops are not used where there is another.
func TestWithoutDead(t *testing.T) {
	var states failover.NextHops
	states.Set([]peering.NextHop{{Domain: "public", Link: "b.public"}}, true)
	g := &routing{name: "public", dead: states.Dead()}
	hop := func(gw, link string) domain.NextHop {
		return domain.NextHop{Gateway: netip.MustParseAddr(gw), Link: link}
	}
	a, b, b6 := hop("198.51.100.102", "a.public"), hop("198.51.100.202", "b.public"), hop("2001:db8:c633:6401::2", "b.public")
	if got := g.withoutDead([]domain.NextHop{a, b, b6}); !slices.Equal(got, []domain.NextHop{a, b6}) {
		t.Errorf("used: %v", got)
	}
	if got := g.withoutDead([]domain.NextHop{b}); !slices.Equal(got, []domain.NextHop{b}) {
		t.Errorf("the last one stays, since nothing better is known: %v", got)
	}
	g.dead = failover.Dead{}
	if got := g.withoutDead([]domain.NextHop{a, b}); len(got) != 2 {
		t.Errorf("nothing is dead: %v", got)
	}
}

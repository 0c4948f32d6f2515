package golden

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The whole lab in one file for each shape of its tables, for people to read.
func TestGolden(t *testing.T) {
	testGolden(t, "testdata/lab.txt", Expect{})
	testGolden(t, "testdata/host128.txt", Expect{Lab: plan.Lab{Variant: plan.Variant{Guests: plan.GuestsHost}}})
	testGolden(t, "testdata/ebgp-tor.txt", Expect{Lab: plan.Lab{Variant: plan.Variant{Mode: plan.ModeEBGPToR}}})
	testGolden(t, "testdata/mixed.txt", Expect{Lab: plan.Lab{Variant: plan.Variant{Mode: plan.ModeEBGPToR}, Stay: []int{2}}})
	testGolden(t, "testdata/evpn.txt", Expect{Lab: plan.Lab{Variant: plan.Variant{Overlay: plan.OverlayEVPN}}})
	testGolden(t, "testdata/netns.txt", Expect{Lab: plan.Lab{Variant: plan.Variant{Mode: plan.ModeNetNS}}})
}

func testGolden(t *testing.T, path string, x Expect) {
	t.Helper()
	var b strings.Builder
	section := func(node string, t Table, lines []string) {
		b.WriteString("# " + node + " " + t.String() + "\n" + strings.Join(lines, "\n") + "\n\n")
	}
	for n := 1; n <= plan.HVs; n++ {
		for _, t := range HypervisorTables {
			section(plan.HVName(n), t, x.Hypervisor(n, t))
		}
	}
	for n := 1; n <= plan.HVs && x.EVPN(); n++ {
		b.WriteString("# " + plan.HVName(n) + " " + plan.OverlayDevice + "\n" + strings.Join(x.Overlay(n), "\n") + "\n\n")
	}
	for _, t := range EdgeTables {
		section(plan.EdgeName, t, x.Edge(t))
	}
	for _, r := range x.UnderlayRouters() {
		for _, t := range EdgeTables {
			if len(x.Border(r)) > 0 {
				section(r.Name, t, x.Spine(r, t))
			}
		}
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		section("rules", Table{Family: family}, RuleLines(Rules(family, x.Variant)))
	}
	scenario.Golden(t, path, b.String())
}

func TestDiff(t *testing.T) {
	for _, c := range []struct{ want, have, diff string }{
		{"a b c", "a b c", ""},
		{"", "", ""},
		{"a b", "b c", "- a,+ c"},
		{"a", "a a", "+ a"}, // a duplicate is a difference
		{"a a", "a", "- a"},
		{"", "a", "+ a"},
		{"a", "", "- a"},
	} {
		got := strings.Join(Diff(strings.Fields(c.want), strings.Fields(c.have)), ",")
		if got != c.diff {
			t.Errorf("Diff(%q, %q) = %q, want %q", c.want, c.have, got, c.diff)
		}
	}
}

// What is compared, and what is nobody's business.
func TestLine(t *testing.T) {
	public := Table{unix.AF_INET, plan.TablePublic}
	base := nl.Route{Table: plan.TablePublic, Type: unix.RTN_UNICAST, Dst: netip.MustParsePrefix("203.0.113.3/32"), Metric: 32,
		Hops: []nl.Hop{{Gateway: netip.MustParseAddr("198.51.100.102"), Link: "a.public"}, {Gateway: netip.MustParseAddr("198.51.100.202"), Link: "b.public"}}}
	change := func(f func(*nl.Route)) nl.Route {
		r := base
		r.Hops = slices.Clone(base.Hops)
		f(&r)
		return r
	}
	for name, same := range map[string]nl.Route{
		"another metric that loses": change(func(r *nl.Route) { r.Metric = 1024 }),
		"another protocol":          change(func(r *nl.Route) { r.Proto = 12 }),
		"gateways in another order": change(func(r *nl.Route) { slices.Reverse(r.Hops) }),
	} {
		if line(public, same) != line(public, base) {
			t.Errorf("%s makes a difference: %q", name, line(public, same))
		}
	}
	for name, other := range map[string]nl.Route{
		"metric of a guest":     change(func(r *nl.Route) { r.Metric = plan.GuestMetric }),
		"no metric":             change(func(r *nl.Route) { r.Metric = 0 }),
		"metric of last resort": change(func(r *nl.Route) { r.Metric = plan.LastResort }),
		"type":                  change(func(r *nl.Route) { r.Type = unix.RTN_BLACKHOLE }),
		"scope":                 change(func(r *nl.Route) { r.Scope = unix.RT_SCOPE_LINK }),
		"source":                change(func(r *nl.Route) { r.PrefSrc = plan.Loopback(1) }),
		"onlink":                change(func(r *nl.Route) { r.Hops[0].OnLink = true }),
		"one gateway":           change(func(r *nl.Route) { r.Hops = r.Hops[:1] }),
		"a gateway twice":       change(func(r *nl.Route) { r.Hops[1] = r.Hops[0] }),
		"link":                  change(func(r *nl.Route) { r.Hops[0].Link = "b.public" }),
		"length":                change(func(r *nl.Route) { r.Dst = netip.MustParsePrefix("203.0.113.0/24") }),
	} {
		if line(public, other) == line(public, base) {
			t.Errorf("%s makes no difference: %q", name, line(public, other))
		}
	}
}

func TestBulk(t *testing.T) {
	table := Table{unix.AF_INET, plan.TablePublic}
	gw := []nl.Hop{{Gateway: plan.EdgePublic4(plan.A), Link: "a.public"}}
	routes := []nl.Route{{Type: unix.RTN_UNICAST, Dst: netip.MustParsePrefix("0.0.0.0/0"), Hops: gw}}
	for i := range 300 {
		routes = append(routes, nl.Route{Type: unix.RTN_UNICAST, Dst: plan.Bulk(i), Hops: gw})
	}
	if rest, wrong := Bulk(table, routes, 300); len(rest) != 1 || len(wrong) != 0 {
		t.Errorf("%d others, wrong %v", len(rest), wrong)
	}
	if _, wrong := Bulk(table, routes[:200], 300); len(wrong) != 1 {
		t.Errorf("missing ones: %v", wrong)
	}
	routes[7].Hops = nil
	if _, wrong := Bulk(table, routes, 300); len(wrong) != 1 {
		t.Errorf("one that leads elsewhere: %v", wrong)
	}
}

// Whose next hops count as a hypervisor's: its addresses where the fabrics are networks, its
// own prefixes by way of the fabric's router where they are routed.
func TestLeads(t *testing.T) {
	routed := Expect{Lab: plan.Lab{Variant: plan.Variant{Mode: plan.ModeEBGPToR}}}
	mixed := Expect{Lab: plan.Lab{Variant: plan.Variant{Mode: plan.ModeEBGPToR}, Stay: []int{2}}}
	mixedTor := nl.Hop{Gateway: mixed.Upstream(plan.HVName(3), plan.A, false), Link: plan.A.Public()}
	tor := nl.Hop{Gateway: routed.Upstream(plan.HVName(2), plan.A, false), Link: plan.A.Public()}
	vm1, vm3 := host(plan.Lab{}.Guests()[0].IPv4), host(plan.Lab{}.Guests()[2].IPv4)
	for _, c := range []struct {
		x    Expect
		f    plan.Fabric
		p    netip.Prefix
		h    nl.Hop
		want bool
	}{
		{Expect{}, plan.A, vm1, nl.Hop{Gateway: plan.HVPublic4(1, plan.A), Link: plan.A.Public()}, true},
		{Expect{}, plan.A, vm1, nl.Hop{Gateway: plan.HVPublic4(1, plan.B), Link: plan.B.Public()}, false},
		{Expect{}, plan.A, vm3, nl.Hop{Gateway: plan.HVPublic4(2, plan.A), Link: plan.A.Public()}, false},
		{routed, plan.A, vm1, tor, true},
		{routed, plan.B, vm1, tor, false},
		{routed, plan.A, vm3, tor, false},
		{routed, plan.A, host(plan.Loopback(1)), nl.Hop{Link: plan.A.Private()}, true},
		{routed, plan.A, host(plan.Loopback(2)), nl.Hop{Link: plan.A.Private()}, false},
		{routed, plan.A, host(plan.Anycast4), tor, false}, // another has it, too
		{mixed, plan.A, vm1, nl.Hop{Gateway: plan.SpinePublic4(plan.A), Link: plan.A.Public()}, true},
		{mixed, plan.A, vm3, nl.Hop{Gateway: plan.SpinePublic4(plan.A), Link: plan.A.Public()}, false},
		{mixed, plan.A, vm1, nl.Hop{Gateway: plan.HVPublic4(2, plan.A), Link: plan.A.Public()}, false},
		{mixed, plan.A, vm1, mixedTor, true},
	} {
		if have := c.x.Leads(1, c.f, c.p, c.h); have != c.want {
			t.Errorf("%s by %v leads to hypervisor 1 over %s: %v", c.p, c.h, c.f, have)
		}
	}
}

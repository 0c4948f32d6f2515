// Package golden knows what every kernel table and every policy rule of the lab
// must look like when all is well, and compares that with what a kernel says.
//
// Both sides are brought to one line a route, in a form that leaves out what is
// nobody's business: next-hop object ids, protocol numbers, and the metric of
// routes that BGP brought (it only has to lose against the guests').
package golden

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Table names one kernel table of one family.
type Table struct {
	Family uint8 // unix.AF_INET or AF_INET6
	ID     uint32
}

// String returns, for example, "v4 table 90".
func (t Table) String() string {
	if t.Family == unix.AF_INET {
		return fmt.Sprintf("v4 table %d", t.ID)
	}
	return fmt.Sprintf("v6 table %d", t.ID)
}

// Tables of a hypervisor, and of the edge router.
var (
	HypervisorTables = []Table{{unix.AF_INET, plan.TablePublic}, {unix.AF_INET, plan.TablePrivate},
		{unix.AF_INET, plan.TableLocal}, {unix.AF_INET6, plan.TablePublic}}
	EdgeTables = []Table{{unix.AF_INET, plan.TablePublic}, {unix.AF_INET6, plan.TablePublic}}
)

// Lines brings routes of one table to their canonical, sorted form.
func Lines(t Table, routes []nl.Route) []string {
	out := make([]string, 0, len(routes))
	for _, r := range routes {
		out = append(out, line(t, r))
	}
	slices.Sort(out)
	return out
}

// Bulk takes the prefixes that were announced in bulk out of a table and checks
// that there are n, each with the next hops of the default route. It returns the
// other routes, and what is wrong.
func Bulk(t Table, routes []nl.Route, n int) (rest []nl.Route, wrong []string) {
	var bulk []nl.Route
	want := ""
	for _, r := range routes {
		switch {
		case plan.BulkRange.Overlaps(r.Dst) && r.Dst.Bits() > 0:
			bulk = append(bulk, r)
			continue
		case r.Dst.Bits() == 0 && r.Type == unix.RTN_UNICAST:
			want = hops(r)
		}
		rest = append(rest, r)
	}
	if len(bulk) != n {
		wrong = append(wrong, fmt.Sprintf("%d prefixes of %s, want %d", len(bulk), plan.BulkRange, n))
	}
	for _, r := range bulk {
		if hops(r) != want && len(wrong) < 10 {
			wrong = append(wrong, "+ "+line(t, r))
		}
	}
	return rest, wrong
}

// Diff compares two sorted lists: lines that are missing from the kernel start
// with "-", those that should not be there with "+".
func Diff(want, have []string) []string {
	var out []string
	for len(want)+len(have) > 0 {
		switch {
		case len(have) == 0 || len(want) > 0 && want[0] < have[0]:
			out, want = append(out, "- "+want[0]), want[1:]
		case len(want) == 0 || have[0] < want[0]:
			out, have = append(out, "+ "+have[0]), have[1:]
		default:
			want, have = want[1:], have[1:]
		}
	}
	return out
}

func line(t Table, r nl.Route) string {
	var b strings.Builder
	if kind := typeName(r.Type); kind != "" {
		b.WriteString(kind + " ")
	}
	b.WriteString(r.Dst.String())
	b.WriteString(hops(r))
	if r.Type == unix.RTN_UNICAST && r.Scope == unix.RT_SCOPE_LINK {
		b.WriteString(" scope link")
	}
	if r.PrefSrc.IsValid() {
		b.WriteString(" src " + r.PrefSrc.String())
	}
	switch {
	case r.Metric == plan.LastResort:
		b.WriteString(" metric last")
	case t.ID == plan.TablePublic && r.Type == unix.RTN_UNICAST && r.Metric <= plan.GuestMetric:
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	return b.String()
}

func hops(r nl.Route) string {
	parts := make([]string, 0, len(r.Hops))
	for _, h := range r.Hops {
		s := ""
		if h.Gateway.IsValid() {
			s = " via " + h.Gateway.String()
		}
		s += " dev " + h.Link
		// A link-local gateway is on its link by definition.
		if h.OnLink && !h.Gateway.IsLinkLocalUnicast() {
			s += " onlink"
		}
		parts = append(parts, s)
	}
	slices.Sort(parts)
	return strings.Join(parts, " +")
}

func typeName(t uint8) string {
	switch t {
	case unix.RTN_UNICAST:
		return ""
	case unix.RTN_BLACKHOLE:
		return "blackhole"
	case unix.RTN_UNREACHABLE:
		return "unreachable"
	case unix.RTN_PROHIBIT:
		return "prohibit"
	case unix.RTN_THROW:
		return "throw"
	}
	return fmt.Sprintf("type%d", t)
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

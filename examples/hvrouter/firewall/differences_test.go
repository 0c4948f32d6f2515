package firewall

import (
	"slices"
	"testing"
)

// What another specification changes is named, part by part, and what it does not is not.
func TestDifferences(t *testing.T) {
	base := spec()
	change := func(f func(*Spec)) *Spec {
		s := spec()
		f(&s)
		return &s
	}
	for name, c := range map[string]struct {
		old, new *Spec
		want     []Difference
	}{
		"nothing": {&base, change(func(s *Spec) { slices.Reverse(s.Host) }), nil},
		"none":    {&base, nil, []Difference{{Op: "delete", What: "table inet hvrouter"}, {Op: "delete", What: "table arp hvrouter"}}},
		"first":   {nil, &base, []Difference{{Op: "add", What: "table inet hvrouter"}, {Op: "add", What: "table arp hvrouter"}}},
		"an uplink": {change(func(s *Spec) { s.Uplinks = append(s.Uplinks, "new0") }), change(func(s *Spec) { s.Uplinks = append(s.Uplinks, "new0", "new1") }), []Difference{
			{"replace", "set uplinks of inet hvrouter", "1 added, 0 removed"}, {"replace", "set uplinks of arp hvrouter", "1 added, 0 removed"},
		}},
		"a port": {&base, change(func(s *Spec) { s.Open = append(s.Open, Port{6, 8080}) }), []Difference{
			{"replace", "table inet hvrouter", "as a whole, its counters begin again"}, {"replace", "chain input of inet hvrouter", ""},
		}},
	} {
		got := Differences(c.old, c.new)
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
			continue
		}
		for i, d := range got {
			if d.Op != c.want[i].Op || d.What != c.want[i].What || c.want[i].How != "" && d.How != c.want[i].How {
				t.Errorf("%s: %+v, want %+v", name, d, c.want[i])
			}
		}
	}
}

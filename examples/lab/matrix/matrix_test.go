package matrix

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/lab/experiment"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/report"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// Every kind of reflector and every choice has a line, none twice.
func TestAll(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range All() {
		if seen[c.Name] {
			t.Errorf("%s twice", c.Name)
		}
		seen[c.Name] = true
	}
	for _, k := range topology.ReflectorKinds {
		if !seen["rr "+string(k)] {
			t.Errorf("no reflector %s", k)
		}
	}
	for _, k := range topology.TorKinds[1:] {
		if !seen["mode ebgp-tor tor "+string(k)] {
			t.Errorf("no top-of-rack router %s", k)
		}
	}
	for name, values := range plan.Choices {
		for _, v := range values[1:] {
			if !seen[name+" "+v] {
				t.Errorf("no %s %s", name, v)
			}
		}
	}
	for _, name := range Core {
		if !slices.ContainsFunc(experiment.All(), func(a experiment.Experiment) bool { return a.Name == name }) {
			t.Errorf("no experiment %s", name)
		}
	}
	if c := choose(All(), "rr bird,md5"); len(c) != 2 || c[0].Name != "rr bird" || c[len(c)-1].Name != "security md5" {
		t.Errorf("chosen: %v", c)
	}
}

func TestFold(t *testing.T) {
	r := report.Report{Seconds: 7}
	for _, x := range []report.Result{
		{Experiment: "cut", Name: "gap", Value: 600, Limit: report.AtMost(520), Why: "vm1\nvm3"},
		{Experiment: "cut", Name: "lost"},
		{Experiment: "kill", Verdict: report.Void}, {Experiment: "kill", Limit: report.AtMost(0)},
		{Experiment: "route", Name: "median", Value: 1},
		{Experiment: "anycast", Name: "one copy", Verdict: report.Degraded, Detail: "no ADD-PATH"}, {Experiment: "anycast", Limit: report.AtMost(0)},
	} {
		r.Add(x)
	}
	row := fold("rr x", r)
	for name, want := range map[string]Cell{"cut": Failed, "kill": OK, "route": Measured, "anycast": Degraded} {
		if row.Cells[name] != want {
			t.Errorf("%s is %q, want %q", name, row.Cells[name], want)
		}
	}
	if len(row.Why) != 3 || !slices.Equal(row.Lacks, []string{"one copy: no ADD-PATH"}) || !slices.Equal(row.failed(), []string{"cut"}) {
		t.Errorf("%q, %q, %q", row.Why, row.Lacks, row.failed())
	}
	row.replace(Row{Cells: map[string]Cell{"cut": OK, "sessions": OK}, Seconds: 3}, row.failed())
	if row.Cells["cut"] != OK || row.Seconds != 10 || len(row.Why) != 0 || row.Cells["sessions"] != "" {
		t.Errorf("run again: %+v", row)
	}
	if !slices.Equal(row.Again, []string{"cut"}) || len(row.Earlier) != 3 {
		t.Errorf("nobody would know that it had failed: %+v", row)
	}
	bad := fold("rr x", r)
	bad.replace(Row{Cells: map[string]Cell{"cut": OK, "sessions": Failed}, Why: []string{"sessions"}}, bad.failed())
	if bad.Cells["sessions"] != Failed || len(bad.failed()) != 1 {
		t.Errorf("a failure beside what was run again: %+v", bad)
	}
	var b strings.Builder
	tab := newTable(&b, []Config{{Name: "rr x"}}, []string{"cut", "kill", "stop"})
	tab.head()
	tab.row(row)
	if want := "      cut   kill  stop       s\nrr x  ok    ok    -         10\n"; b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// What the cells abbreviate stands below the table, of each line that has something to say.
func TestNotes(t *testing.T) {
	var b strings.Builder
	newTable(&b, nil, nil).notes([]Row{{Config: "rr fine"}, {Config: "rr x", Lacks: []string{"no BFD: it has none"}, Why: []string{"cut: 600 ms"}},
		{Config: "rr y", Again: []string{"cut", "kill"}, Earlier: []string{"cut: 530 ms"}}})
	const want = legend + `
rr x
  degraded  no BFD: it has none
  FAILED    cut: 600 ms

rr y
  run again: cut, kill
  earlier   cut: 530 ms
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestDied(t *testing.T) {
	row := died("mode x", errors.New("exit status 2"), "lab: no bridge\n", []string{"cut"})
	if row.Cells["cut"] != Failed || !slices.Contains(row.Why, "lab: no bridge") {
		t.Errorf("%+v", row)
	}
}

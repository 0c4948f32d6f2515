package matrix

import (
	"fmt"
	"io"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/experiment"
)

// table prints rows as they come.
type table struct {
	out     io.Writer
	width   int // of the first column
	columns []string
}

func newTable(out io.Writer, configs []Config, experiments []string) *table {
	t := &table{out: out, columns: experiments}
	for _, c := range configs {
		t.width = max(t.width, len(c.Name))
	}
	return t
}

// columns are all experiments, also those that a lab runs only if it is asked to, or those
// that are named.
func columns(only []string) []string {
	if len(only) > 0 {
		return only
	}
	var out []string
	for _, a := range experiment.All() {
		out = append(out, a.Name)
	}
	return out
}

func (t *table) line(first string, cell func(string) string, last string) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s", t.width, first)
	for _, c := range t.columns {
		fmt.Fprintf(&b, "  %-*s", max(len(c), 4), cell(c))
	}
	fmt.Fprintf(t.out, "%s  %6s\n", b.String(), last)
}

func (t *table) head() { t.line("", func(c string) string { return c }, "s") }

func (t *table) row(r Row) {
	t.line(r.Config, func(c string) string {
		if v, ok := r.Cells[c]; ok {
			return string(v)
		}
		return string(NotThere)
	}, fmt.Sprintf("%.0f", float64(r.Seconds)))
}

const legend = `
ok: every limit kept   degr: kept what this peer allows, see below   ~: measured, there is no limit to hold it against
FAILED: a limit was not kept   -: no experiment of this configuration   n/a: not on this machine
`

// notes explain what the cells abbreviate.
func (t *table) notes(rows []Row) {
	fmt.Fprint(t.out, legend)
	for _, r := range rows {
		if len(r.Lacks)+len(r.Why)+len(r.Again) == 0 {
			continue
		}
		fmt.Fprintf(t.out, "\n%s\n", r.Config)
		for _, l := range r.Lacks {
			fmt.Fprintf(t.out, "  degraded  %s\n", l)
		}
		if len(r.Again) > 0 {
			fmt.Fprintf(t.out, "  run again: %s\n", strings.Join(r.Again, ", "))
		}
		for _, l := range r.Earlier {
			fmt.Fprintf(t.out, "  earlier   %s\n", l)
		}
		for _, l := range r.Why {
			fmt.Fprintf(t.out, "  FAILED    %s\n", l)
		}
	}
}

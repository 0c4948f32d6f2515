package matrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/report"
)

// Cell is the verdict of an act in a configuration.
type Cell string

// What a cell may say.
const (
	OK       Cell = "ok"     // every limit was kept
	Measured Cell = "~"      // nothing there to be judged
	Degraded Cell = "degr"   // kept what can be kept with this peer
	Failed   Cell = "FAILED" // a limit was not kept
	NotThere Cell = "-"      // not an act of this configuration
	Nowhere  Cell = "n/a"    // this machine cannot play the configuration
)

// Row is a configuration's line.
type Row struct {
	Config  string          `json:"config"`
	Cells   map[string]Cell `json:"cells"`
	Seconds report.Number   `json:"seconds"`
	// Lacks is what degraded means, Why what failed.
	Lacks []string `json:"lacks,omitempty"`
	Why   []string `json:"why,omitempty"`
	// Again are acts that were played more than once, Earlier is what had failed.
	Again   []string `json:"again,omitempty"`
	Earlier []string `json:"earlier,omitempty"`
}

// fold makes a row of a report.
func fold(name string, r report.Report) Row {
	row := Row{Config: name, Cells: map[string]Cell{}, Seconds: r.Seconds}
	for _, x := range r.Results {
		if x.Verdict == report.Void {
			continue
		}
		row.Cells[x.Act] = worse(row.Cells[x.Act], cellOf(x.Verdict))
		switch x.Verdict {
		case report.Degraded:
			if l := strings.TrimSpace(x.Name + ": " + x.Detail); !slices.Contains(row.Lacks, l) {
				row.Lacks = append(row.Lacks, l)
			}
		case report.Fail:
			row.Why = append(row.Why, fmt.Sprintf("%s: %s", x.Act, strings.Join(strings.Fields(x.String()), " ")))
			for i, l := range strings.Split(strings.TrimSpace(x.Why), "\n") {
				if i < 6 && l != "" {
					row.Why = append(row.Why, "    "+l)
				}
			}
		}
	}
	return row
}

func cellOf(verdict string) Cell {
	switch verdict {
	case report.Pass:
		return OK
	case report.Degraded:
		return Degraded
	case report.Measured:
		return Measured
	}
	return Failed
}

// worse returns the cell that says more about an act: one limit that was kept makes
// more of it than what was only measured.
func worse(a, b Cell) Cell {
	rank := []Cell{"", Measured, OK, Degraded, Failed}
	if slices.Index(rank, a) > slices.Index(rank, b) {
		return a
	}
	return b
}

// failed lists the acts that failed.
func (r Row) failed() (acts []string) {
	for name, c := range r.Cells {
		if c == Failed {
			acts = append(acts, name)
		}
	}
	slices.Sort(acts)
	return acts
}

// replace takes the verdicts of acts that were played again, and whatever failed
// beside them.
func (r *Row) replace(again Row, acts []string) {
	for name, c := range again.Cells {
		if c == Failed || slices.Contains(acts, name) {
			r.Cells[name] = c
		}
	}
	for _, name := range acts {
		if !slices.Contains(r.Again, name) {
			r.Again = append(r.Again, name)
		}
	}
	r.Earlier = append(r.Earlier, r.Why...)
	r.Why = again.Why
	r.Seconds += again.Seconds
}

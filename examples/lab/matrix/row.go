package matrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/report"
)

// Cell is the verdict of an experiment in a configuration.
type Cell string

// What a cell may say.
const (
	OK       Cell = "ok"     // every limit was kept
	Measured Cell = "~"      // nothing there to be judged
	Degraded Cell = "degr"   // kept what can be kept with this peer
	Failed   Cell = "FAILED" // a limit was not kept
	NotThere Cell = "-"      // not an experiment of this configuration
	Nowhere  Cell = "n/a"    // this machine cannot run the configuration
)

// Row is a configuration's line.
type Row struct {
	Config  string          `json:"config"`
	Cells   map[string]Cell `json:"cells"`
	Seconds report.Number   `json:"seconds"`
	// Lacks is what degraded means, Why what failed.
	Lacks []string `json:"lacks,omitempty"`
	Why   []string `json:"why,omitempty"`
	// Again are experiments that were run more than once, Earlier is what had failed.
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
		row.Cells[x.Experiment] = worse(row.Cells[x.Experiment], cellOf(x.Verdict))
		switch x.Verdict {
		case report.Degraded:
			if l := strings.TrimSpace(x.Name + ": " + x.Detail); !slices.Contains(row.Lacks, l) {
				row.Lacks = append(row.Lacks, l)
			}
		case report.Fail:
			row.Why = append(row.Why, fmt.Sprintf("%s: %s", x.Experiment, strings.Join(strings.Fields(x.String()), " ")))
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

// worse returns the cell that says more about an experiment: one limit that was kept makes
// more of it than what was only measured.
func worse(a, b Cell) Cell {
	rank := []Cell{"", Measured, OK, Degraded, Failed}
	if slices.Index(rank, a) > slices.Index(rank, b) {
		return a
	}
	return b
}

// failed lists the experiments that failed.
func (r Row) failed() (experiments []string) {
	for name, c := range r.Cells {
		if c == Failed {
			experiments = append(experiments, name)
		}
	}
	slices.Sort(experiments)
	return experiments
}

// replace takes the verdicts of experiments that were run again, and whatever failed
// beside them.
func (r *Row) replace(again Row, experiments []string) {
	for name, c := range again.Cells {
		if c == Failed || slices.Contains(experiments, name) {
			r.Cells[name] = c
		}
	}
	for _, name := range experiments {
		if !slices.Contains(r.Again, name) {
			r.Again = append(r.Again, name)
		}
	}
	r.Earlier = append(r.Earlier, r.Why...)
	r.Why = again.Why
	r.Seconds += again.Seconds
}
